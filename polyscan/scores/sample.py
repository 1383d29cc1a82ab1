"""One unit's evidence as scores see it, with the clusterings that several scores share made once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float32, Float64, Int64

from polyscan.scores.concepts import Concepts
from polyscan.stats import bic, splits
from polyscan.stats.clustering import gram, kmeans
from polyscan.stats.neighbors import kmeans_large
from polyscan.stats.whitening import Whitening

Evidence = Literal["exemplars", "visualizations"]
KRule = Literal["default", "published"]

LEAST_ITEMS = 2
"""Fewer items have no pair to compare: scores answer NaN."""
LEAST_SHARE = 0.1
"""A cluster of two has so large a share of the items, so that two or three far ones are none."""
LEAST_SHARE_OF_MORE = 0.15
"""The same for a cluster of three or more."""
STARTS = 20
"""Starts of each split behind the calibrated numbers (docs/methods)."""
MOST_PARTS = 5
"""Most clusters that the calibrated numbers ask for."""

LARGE = 1000
"""Above so many items FAISS clusters a set faster than its Gram matrix can be made (docs/performance)."""
_SETS_AT_ONCE = 64


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
    """What has been clustered of one sample so far: filled on demand, or by `prepare` for many samples at a time.

    Args:
        gram: inner products of the centred embeddings.
        halves: the items in two, for the calibrated numbers.
        best_split: the items in two or more, for the calibrated numbers.
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
        embeddings: raw vectors, one an item.
        activations: the unit's activation on each item.
        activation_min: smallest activation of the unit over all images.
        activation_max: largest one.
        evidence: what the items are. Exemplars are images of the set, so their activations lie within its bounds.
        max_clusters: most clusters that are tried.
        restarts: runs of k-means, of which the best counts.
        seed: the unit's own seed, from `shards.seed`: never the same for all units, never from the batch.
        whitening: how cosines are seen: from the space's mean, common directions shrunk; raw if None.
        labels: class of each item, -1 where it has none; None where the data have no classes.
        prototypes: a vector for each label; None where there are none.
        vocabulary: words in the space of `embeddings`; None where there are none.
        clusterings: those made so far; the one thing of a sample that grows.

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
        """Refuses what no score could make sense of."""
        self._check_arrays()
        if self.evidence not in ("exemplars", "visualizations"):
            raise ValueError(f'`evidence` must be "exemplars" or "visualizations", got "{self.evidence}"')
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
            raise ValueError(f"`labels` must be one an item, got {len(self.labels)} for {len(self)} items")
        if not (np.isfinite(self.embeddings).all() and np.isfinite(self.activations).all()):
            raise ValueError("embeddings and activations must be finite, got NaN or infinity; reject the item first")
        low, high = self.activation_min, self.activation_max
        if not (np.isfinite(low) and np.isfinite(high) and low <= high):
            raise ValueError(f"`activation_min` and `activation_max` must be finite and in order, got {low} and {high}")
        bounds = (float(self.activations.min()), float(self.activations.max())) if len(self) else (low, high)
        if self.evidence == "exemplars" and not low <= bounds[0] <= bounds[1] <= high:
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
        """The embeddings as cosines see them."""
        return self.embeddings.astype(np.float64) if self.whitening is None else self.whitening(self.embeddings)

    @cached_property
    def cosines(self) -> Float64[np.ndarray, "n n"]:
        """Cosines of the embeddings as they are seen."""
        return splits.cosines(self.seen[None])[0]

    @property
    def halves(self) -> splits.Split:
        """The items in two by 2-means on their unit vectors, both of a tenth or more; one set."""
        if self.clusterings.halves is None:
            uniforms = _uniforms([self], 2, STARTS)
            self.clusterings.halves = splits.two_means(self.cosines[None], uniforms=uniforms, least_share=LEAST_SHARE)
        return self.clusterings.halves

    @property
    def best_split(self) -> splits.BestSplit:
        """The items in 2 to 5 clusters, more while the silhouette rises enough; one set, never gated."""
        if self.clusterings.best_split is None:
            uniforms = {k: _uniforms([self], k, STARTS) for k in range(2, MOST_PARTS + 1)}
            self.clusterings.best_split = _best_split(self.cosines[None], uniforms, self.halves)
        return self.clusterings.best_split

    @cached_property
    def n_distinct(self) -> int:
        """Distinct embeddings; 0 and -0 are one."""
        return len({row.tobytes() for row in self.embeddings + np.float32(0)})

    def k_cap(self, k_rule: KRule = "default") -> int:
        """Most clusters that are tried: by the rule, `max_clusters` and distinct embeddings; 1 for 1 item, 0 for none.

        The published rule goes up to n - 1, the default one up to n / 2, since n - 1 allows almost every item its own.
        """
        by_rule = len(self) - 1 if k_rule == "published" else len(self) // 2
        return min(max(1, by_rule), self.max_clusters, self.n_distinct)

    def clustering(self, k: int) -> Partition:
        """Best of `restarts` runs of k-means into k clusters; made on first demand and kept."""
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
    """Makes the clusterings that scores will ask for, many samples at a time: several times faster, the same bits.

    Samples may be of any length. Without it scores make them one by one.

    Args:
        samples: samples that wait for scores.
        k_rule: the rule that the scores are set to.
    """
    waiting = sorted((s for s in samples if len(s) >= LEAST_ITEMS), key=_shape)
    for _, group in groupby(waiting, key=_shape):
        alike = list(group)
        for start in range(0, len(alike), _SETS_AT_ONCE):
            _fill_splits(alike[start : start + _SETS_AT_ONCE])
        _fill_grams(alike)
        for k in range(1, max(2, *(s.k_cap(k_rule) for s in alike)) + 1):
            # Two clusters are asked for by SemanticLens' score whatever the rule says.
            wanting = [s for s in alike if k <= max(2, s.k_cap(k_rule)) and k not in s.clusterings.partitions]
            for start in range(0, len(wanting), _SETS_AT_ONCE):
                _fill(wanting[start : start + _SETS_AT_ONCE], k)


def _shape(sample: Sample) -> tuple[int, int, int]:
    return (*sample.embeddings.shape, sample.restarts)


def _fill_grams(samples: Sequence[Sample]) -> None:
    wanting = [s for s in samples if s.clusterings.gram is None]
    for start in range(0, len(wanting), _SETS_AT_ONCE):
        batch = wanting[start : start + _SETS_AT_ONCE]
        for sample, own in zip(batch, gram(np.stack([s.embeddings for s in batch])), strict=True):
            sample.clusterings.gram = own


def _fill_splits(samples: Sequence[Sample]) -> None:
    """Halves and best split of samples of one shape."""
    cosines = np.concatenate([s.cosines[None] for s in samples])
    uniforms = {k: _uniforms(samples, k, STARTS) for k in range(2, MOST_PARTS + 1)}
    halves = splits.two_means(cosines, uniforms=uniforms[2], least_share=LEAST_SHARE)
    best = _best_split(cosines, uniforms, halves)
    for row, sample in enumerate(samples):
        own = slice(row, row + 1)
        sample.clusterings.halves = splits.Split(halves.labels[own], halves.was_cut[own])
        sample.clusterings.best_split = splits.BestSplit(best.labels[own], best.k[own], best.silhouette[own])


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
    """Draws for clusterings into k clusters, each sample's from its own seed."""
    return np.stack([np.random.default_rng((s.seed, k)).random((starts, k)) for s in samples])


def _fill(samples: Sequence[Sample], k: int) -> None:
    """Clusters samples of one shape into k clusters and files the partitions with them."""
    if len(samples[0]) > LARGE:
        for sample in samples:
            found = kmeans_large(sample.embeddings, k, seed=(sample.seed + k) % 2**31, restarts=sample.restarts)
            sample.clusterings.partitions[k] = Partition(found.labels[0], float(found.sse[0]))
        return
    grams = np.stack([s.gram for s in samples])
    clusterings = kmeans(grams, k, uniforms=_uniforms(samples, k, samples[0].restarts))
    for sample, labels, sse in zip(samples, clusterings.labels, clusterings.sse, strict=True):
        sample.clusterings.partitions[k] = Partition(labels, float(sse))
