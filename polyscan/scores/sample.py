"""One unit's evidence as scores see it; clusterings that several scores share are made once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from typing import Literal, NamedTuple, get_args

import numpy as np
from jaxtyping import Float32, Float64, Int64

from polyscan.scores.concepts import Concepts
from polyscan.stats import bic, splits
from polyscan.stats.clustering import gram, kmeans
from polyscan.stats.neighbors import kmeans_large
from polyscan.stats.whitening import Whitening

Evidence = Literal["exemplars", "deflated", "visualizations"]
KRule = Literal["default", "published"]

LEAST_ITEMS = 2
"""Fewer items have no pair to compare: scores are NaN."""
LEAST_SHARE = 0.1
"""Least share of the items in each of two clusters, so that two or three outliers do not make a cluster."""
LEAST_SHARE_OF_MORE = 0.15
"""Least share of the items in each of three or more clusters."""
STARTS = 20
"""Starts of each split for calibrated scores (docs/methods)."""
MOST_PARTS = 5
"""Maximum number of clusters for calibrated scores."""

LARGE = 1000
"""Above this many items, FAISS clusters a set faster than its Gram matrix can be made (docs/performance)."""
_SETS_AT_ONCE, _HALVED_AT_ONCE, _GRAMS_AT_ONCE = 64, 256, 4


class Partition(NamedTuple):
    """One unit's items in clusters: labels [n] from 0 by first appearance, and the sum of squares within."""

    labels: Int64[np.ndarray, " n"]
    sse: float

    @property
    def sizes(self) -> Int64[np.ndarray, " k"]:
        """Items in each cluster."""
        return np.bincount(self.labels)


@dataclass(eq=False)
class Clusterings:
    """The clusterings of one sample so far: made on demand, or by `prepare` for many samples at a time.

    Args:
        gram: inner products of the centred embeddings.
        halves: the items split in two, for calibrated scores.
        best_split: the items split into two or more clusters, for calibrated scores.
        partitions: k-means clusterings by number of clusters, for the published scores.
    """

    gram: Float64[np.ndarray, "n n"] | None = None
    halves: splits.Split | None = None
    best_split: splits.BestSplit | None = None
    partitions: dict[int, Partition] = field(default_factory=dict[int, Partition])


@dataclass(frozen=True, eq=False)
class Sample:
    """One unit's evidence in one space.

    Args:
        embeddings: raw vectors, one per item.
        activations: the unit's activation on each item.
        activation_min: smallest activation of the unit over all images.
        activation_max: largest activation of the unit over all images.
        evidence: what the items are. Exemplars are images of the set, so their activations lie within its bounds.
        max_clusters: maximum number of clusters to try.
        restarts: runs of k-means; the best one counts.
        seed: the unit's seed, from `shards.seed`: not the same for all units, and never from the batch.
        whitening: applied before cosines are taken: from the space's mean, common directions shrunk; None: raw.
        labels: class of each item, -1 for an item without one; None if the data have no classes.
        prototypes: a vector for each label; None if there are no prototypes.
        vocabulary: words in the space of `embeddings`; None if there are no words.
        clusterings: the clusterings made so far; the only mutable field.

    Raises:
        ValueError: if shapes disagree, a number is not finite, or a setting is out of bounds.
    """

    embeddings: Float32[np.ndarray, "n d"]
    activations: Float32[np.ndarray, " n"]
    activation_min: float
    activation_max: float
    evidence: Evidence = "exemplars"
    max_clusters: int = 8
    restarts: int = 10
    seed: int = 0
    whitening: Whitening | None = None
    labels: Int64[np.ndarray, " n"] | None = None
    prototypes: Concepts | None = None
    vocabulary: Concepts | None = None
    clusterings: Clusterings = field(default_factory=Clusterings, repr=False, init=False)

    def __post_init__(self) -> None:
        """Checks shapes, values and settings."""
        self._check_arrays()
        if self.evidence not in get_args(Evidence):
            raise ValueError(f'`evidence` must be one of {", ".join(get_args(Evidence))}, got "{self.evidence}"')
        for name, value, least in (
            ("max_clusters", self.max_clusters, 1),
            ("restarts", self.restarts, 1),
            ("seed", self.seed, 0),
        ):
            if value < least:
                raise ValueError(f"`{name}` must be at least {least}, got {value}")

    def _check_arrays(self) -> None:
        match (self.embeddings.shape, self.activations.shape):
            case ((n, _), (m,)) if n == m:
                pass
            case (embeddings, activations):
                got = f"{embeddings} and {activations}"
                raise ValueError(f"`embeddings` must be [n, d] and `activations` [n], got {got}")
        if self.whitening is not None and self.whitening.mean.shape != self.embeddings.shape[1:]:
            got = f"{self.whitening.mean.shape} and {self.embeddings.shape[1:]}"
            raise ValueError(f"`whitening` and embeddings must have the same dimensions, got {got}")
        if self.labels is not None and len(self.labels) != len(self):
            raise ValueError(f"`labels` must have one entry per item, got {len(self.labels)} for {len(self)} items")
        if not (np.isfinite(self.embeddings).all() and np.isfinite(self.activations).all()):
            raise ValueError("embeddings and activations must be finite, got NaN or infinity; reject the item first")
        self._check_bounds()

    def _check_bounds(self) -> None:
        low, high = self.activation_min, self.activation_max
        if not (np.isfinite(low) and np.isfinite(high) and low <= high):
            raise ValueError(f"`activation_min` and `activation_max` must be finite and in order, got {low} and {high}")
        bounds = (float(self.activations.min()), float(self.activations.max())) if len(self) else (low, high)
        if self.evidence != "visualizations" and not low <= bounds[0] <= bounds[1] <= high:
            got = f"{bounds[0]} to {bounds[1]}"
            raise ValueError(f"exemplars' activations must be in [{low}, {high}], those of all images, got {got}")

    def __len__(self) -> int:
        """Number of items."""
        return len(self.embeddings)

    @property
    def gram(self) -> Float64[np.ndarray, "n n"]:
        """Inner products of the embeddings, centred by their mean."""
        products = self.clusterings.gram
        if products is None:
            products = self.clusterings.gram = gram(self.embeddings[None])[0]
        return products

    @cached_property
    def seen(self) -> Float64[np.ndarray, "n r"]:
        """The embeddings, whitened for cosines."""
        return self.embeddings.astype(np.float64) if self.whitening is None else self.whitening(self.embeddings)

    @cached_property
    def cosines(self) -> Float64[np.ndarray, "n n"]:
        """Cosines of the whitened embeddings."""
        return splits.cosines(self.seen[None])[0]

    @property
    def halves(self) -> splits.Split:
        """The items split in two by 2-means on their unit vectors, each a tenth or more; a batch of one set."""
        if self.clusterings.halves is None:
            uniforms = _uniforms([self], 2, STARTS)
            self.clusterings.halves = splits.two_means(self.cosines[None], uniforms=uniforms, least_share=LEAST_SHARE)
        return self.clusterings.halves

    @property
    def best_split(self) -> splits.BestSplit:
        """The items split into 2 to 5 clusters, one more while the silhouette rises enough; a batch of one set."""
        if self.clusterings.best_split is None:
            uniforms = {k: _uniforms([self], k, STARTS) for k in range(2, MOST_PARTS + 1)}
            self.clusterings.best_split = _best_split(self.cosines[None], uniforms, self.halves)
        return self.clusterings.best_split

    @cached_property
    def n_distinct(self) -> int:
        """Number of distinct embeddings; 0 and -0 are equal."""
        return len({row.tobytes() for row in self.embeddings + np.float32(0)})

    def k_cap(self, k_rule: KRule = "default") -> int:
        """Largest number of clusters to try, by rule, `max_clusters` and distinct embeddings; 1 for 1 item, 0 for 0.

        The published rule goes up to n - 1, the default one up to n / 2, as n - 1 allows nearly one cluster per item.
        """
        by_rule = len(self) - 1 if k_rule == "published" else len(self) // 2
        return min(max(1, by_rule), self.max_clusters, self.n_distinct)

    def clustering(self, k: int) -> Partition:
        """Best of `restarts` runs of k-means into k clusters; computed once."""
        if k not in self.clusterings.partitions:
            _fill([self], k)
        return self.clusterings.partitions[k]

    def best_k(self, k_rule: KRule = "default") -> int:
        """Number of clusters by BIC, 1 to `k_cap`.

        Raises:
            ValueError: if the sample is empty.
        """
        partitions = [self.clustering(k) for k in range(1, self.k_cap(k_rule) + 1)]
        return bic.best_k([(p.sse, p.sizes) for p in partitions], d=self.embeddings.shape[1])

    def means(self, partition: Partition) -> Float64[np.ndarray, "k d"]:
        """Mean raw embedding of each cluster."""
        members = partition.labels == np.arange(len(partition.sizes))[:, None]
        return members.astype(np.float64) @ self.embeddings.astype(np.float64) / partition.sizes[:, None]


def prepare(samples: Iterable[Sample], *, k_rule: KRule = "default") -> None:
    """Computes the clusterings that scores need, many samples at a time: several times faster, with the same bits.

    Samples may have any number of items. Without `prepare`, scores compute clusterings one by one.

    Args:
        samples: the samples to score.
        k_rule: the rule in the scores' settings.
    """
    samples = list(samples)
    prepare_halves(s for s in samples if s.evidence == "deflated")  # the second test needs nothing else
    by_shape = sorted((s for s in samples if len(s) >= LEAST_ITEMS and s.evidence != "deflated"), key=_shape)
    for _, group in groupby(by_shape, key=_shape):
        of_one_shape = list(group)
        for batch in _batches(of_one_shape):
            _fill_splits(batch)
        for batch in _batches([s for s in of_one_shape if s.clusterings.gram is None], _GRAMS_AT_ONCE):
            _fill_grams(batch)
        for k in range(1, max(2, *(s.k_cap(k_rule) for s in of_one_shape)) + 1):
            # SemanticLens' score needs two clusters, whatever the rule.
            unclustered = [
                s for s in of_one_shape if k <= max(2, s.k_cap(k_rule)) and k not in s.clusterings.partitions
            ]
            for batch in _batches(unclustered):
                _fill(batch, k)


def prepare_halves(samples: Iterable[Sample]) -> None:
    """Splits samples in two, many at a time: all that the test "one concept or several" needs of `prepare`."""
    by_shape = sorted((s for s in samples if len(s) >= LEAST_ITEMS), key=_shape)
    for _, group in groupby(by_shape, key=_shape):
        for batch in _batches(list(group), _HALVED_AT_ONCE):
            _fill_halves(batch)


def _shape(sample: Sample) -> tuple[int, int, int]:
    return (*sample.embeddings.shape, sample.restarts)


def _batches(samples: Sequence[Sample], size: int = _SETS_AT_ONCE) -> Iterator[Sequence[Sample]]:
    return (samples[start : start + size] for start in range(0, len(samples), size))


def _fill_grams(samples: Sequence[Sample]) -> None:
    """Computes the Gram matrices of samples of one shape."""
    for sample, products in zip(samples, gram(np.stack([s.embeddings for s in samples])), strict=True):
        sample.clusterings.gram = products


def _fill_halves(samples: Sequence[Sample]) -> splits.Split:
    """Computes halves of samples of one shape, and returns them all."""
    cosines = np.stack([s.cosines for s in samples])
    halves = splits.two_means(cosines, uniforms=_uniforms(samples, 2, STARTS), least_share=LEAST_SHARE)
    for row, sample in enumerate(samples):
        part = slice(row, row + 1)
        sample.clusterings.halves = splits.Split(halves.labels[part], halves.was_cut[part])
    return halves


def _fill_splits(samples: Sequence[Sample]) -> None:
    """Computes halves and best split of samples of one shape."""
    cosines = np.stack([s.cosines for s in samples])
    uniforms = {k: _uniforms(samples, k, STARTS) for k in range(2, MOST_PARTS + 1)}
    best = _best_split(cosines, uniforms, _fill_halves(samples))
    for row, sample in enumerate(samples):
        part = slice(row, row + 1)
        sample.clusterings.best_split = splits.BestSplit(best.labels[part], best.k[part], best.silhouette[part])


def _best_split(
    cosines: Float64[np.ndarray, "s n n"],
    uniforms: Mapping[int, Float64[np.ndarray, "s r k"]],
    halves: splits.Split,
) -> splits.BestSplit:
    return splits.best_split(
        cosines,
        uniforms=uniforms,
        most=MOST_PARTS,
        least_share=LEAST_SHARE,
        least_share_of_more=LEAST_SHARE_OF_MORE,
        halves=halves,
    )


def _uniforms(samples: Sequence[Sample], k: int, starts: int) -> Float64[np.ndarray, "s r k"]:
    """Draws for clusterings into k clusters, from each sample's seed."""
    return np.stack([np.random.default_rng((s.seed, k)).random((starts, k)) for s in samples])


def _fill(samples: Sequence[Sample], k: int) -> None:
    """Clusters samples of one shape into k clusters and stores the partitions in them."""
    if len(samples[0]) > LARGE:
        for sample in samples:
            result = kmeans_large(sample.embeddings, k, seed=(sample.seed + k) % 2**31, restarts=sample.restarts)
            sample.clusterings.partitions[k] = Partition(result.labels[0], float(result.sse[0]))
        return
    grams = np.stack([s.gram for s in samples])
    clusterings = kmeans(grams, k, uniforms=_uniforms(samples, k, samples[0].restarts))
    for sample, labels, sse in zip(samples, clusterings.labels, clusterings.sse, strict=True):
        sample.clusterings.partitions[k] = Partition(labels, float(sse))
