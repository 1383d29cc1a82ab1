"""The parts of a unit by what drives it: exemplars clustered by their attribution to a lower layer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64

from polyscan.stats.clustering import gram, kmeans, renumbered
from polyscan.stats.significance.resampling import resampled_means
from polyscan.stats.splits import best_split, cosines

MOST, RUNS = 5, 20
NOWHERE = -1
"""The cluster of an exemplar whose attribution is 0 everywhere, as where the unit is 0."""


def shares(attributions: Float[np.ndarray, "n c"]) -> Float64[np.ndarray, "n c"]:
    """Attribution vectors divided by their L1 norm; one of zeros stays as it is.

    Source: Dreyer et al. 2024, "PURE", released code.

    >>> shares(np.array([[3.0, -1.0], [0.0, 0.0]])).tolist()
    [[0.75, -0.25], [0.0, 0.0]]
    """
    vectors = np.asarray(attributions, dtype=np.float64)
    if vectors.ndim != 2 or not np.isfinite(vectors).all():
        raise ValueError(f"attributions must be finite and of shape [n, channels], got {vectors.shape}")
    size = np.abs(vectors).sum(axis=1, keepdims=True)
    return np.divide(vectors, size, out=np.zeros_like(vectors), where=size > 0)


def pure_parts(
    attributions: Float[np.ndarray, "n c"], k: int | None = None, *, generator: np.random.Generator
) -> Int64[np.ndarray, " n"]:
    """Clusters of a unit's exemplars by what drives the unit on each: the split of PURE.

    k-means on the attribution vectors divided by their L1 norm, `RUNS` starts.

    Args:
        attributions: one vector for each exemplar, strongest first.
        k: number of clusters, as the paper has it; None: the best number of 2 to 5 by silhouette, as everywhere in
            polyscan. Whether there is more than one cluster at all is not tested here: the unit's verdict says that.
        generator: seeded by the caller.

    Returns:
        The cluster of each exemplar, numbered by first appearance; `NOWHERE` for vectors of zeros.

    Raises:
        ValueError: if fewer exemplars than clusters have an attribution, or it is not finite.

    Source: Dreyer et al. 2024, "PURE: Turning polysemantic neurons into pure features by identifying relevant
    circuits". Departure: with k = None the number of clusters is chosen.

    >>> vectors = np.array([[9.0, 1.0], [1.0, 9.0], [8.0, 1.0], [1.0, 7.0]])
    >>> pure_parts(vectors, 2, generator=np.random.default_rng(0)).tolist()
    [0, 1, 0, 1]
    """
    vectors = shares(attributions)
    seen = np.abs(vectors).sum(axis=1) > 0
    least = 2 if k is None else k
    if int(seen.sum()) < max(least, 2) or least < 1:
        raise ValueError(
            f"{int(seen.sum())} of {len(seen)} exemplars have an attribution that is not 0; {max(least, 2)} or more "
            "are needed to split them. Give more exemplars, or fewer clusters"
        )
    labels = np.full(len(vectors), NOWHERE, dtype=np.int64)
    labels[seen] = _clusters(vectors[seen], k, generator)
    return labels


def _clusters(vectors: Float64[np.ndarray, "n c"], k: int | None, generator: np.random.Generator) -> np.ndarray:
    if k is not None:
        return kmeans(gram(vectors[None]), k, uniforms=generator.random((1, RUNS, k))).labels[0]
    uniforms = {number: generator.random((1, RUNS, number)) for number in range(2, MOST + 1)}
    found = best_split(cosines(vectors[None]), uniforms=uniforms, most=MOST)
    return renumbered(found.labels, int(found.k[0]))[0]


def carriers(
    attributions: Float[np.ndarray, "n c"], clusters: Int64[np.ndarray, " n"], *, share: float = 0.8
) -> dict[int, Bool[np.ndarray, " c"]]:
    """For each cluster the fewest lower channels that carry a share of what drives the unit on its exemplars.

    Channels are taken by their mean positive share, largest first, until they hold `share` of the sum of them all.

    Raises:
        ValueError: if `share` is not in (0, 1].

    >>> carriers(np.array([[6.0, 3.0, 1.0]]), np.array([0]))[0].tolist()
    [True, True, False]
    """
    if not 0 < share <= 1:
        raise ValueError(f"`share` must be in (0, 1], got {share}")
    vectors = shares(attributions)
    kept: dict[int, Bool[np.ndarray, " c"]] = {}
    for cluster in sorted(set(clusters.tolist()) - {NOWHERE}):
        mean = np.maximum(vectors[clusters == cluster].mean(axis=0), 0)
        order = np.argsort(-mean, kind="stable")
        before = np.cumsum(mean[order]) - mean[order]
        keep = np.zeros(len(mean), dtype=bool)
        keep[order[(before < share * mean.sum()) & (mean[order] > 0)]] = True
        kept[cluster] = keep
    return kept


@dataclass(frozen=True)
class Driver:
    """A lower channel that drives a unit on one cluster of its exemplars.

    Args:
        cluster: the cluster.
        channel: the channel of the lower layer.
        share: mean share of the relevance, which is negative if the channel holds the unit down.
        low: lower end of its 95 % interval over the cluster's exemplars.
        high: upper end.
        elsewhere: its mean share on the exemplars of the other clusters; nan if there are none.
    """

    cluster: int
    channel: int
    share: float
    low: float
    high: float
    elsewhere: float


def drivers(
    attributions: Float[np.ndarray, "n c"],
    clusters: Int64[np.ndarray, " n"],
    *,
    generator: np.random.Generator,
    top: int = 8,
    draws: int = 1000,
) -> list[Driver]:
    """The lower channels with the largest mean share of relevance for each cluster, largest first.

    Args:
        attributions: one vector for each exemplar.
        clusters: of each exemplar; those of `NOWHERE` are left out.
        generator: seeded by the caller; for the intervals, which are bootstrap percentiles over exemplars.
        top: number of channels of each cluster.
        draws: number of resamples.
    """
    vectors = shares(attributions)
    found: list[Driver] = []
    for cluster in sorted(set(clusters.tolist()) - {NOWHERE}):
        inside, outside = vectors[clusters == cluster], vectors[(clusters != cluster) & (clusters != NOWHERE)]
        mean = inside.mean(axis=0)
        chosen = np.argsort(-mean, kind="stable")[:top]
        means = resampled_means(inside[:, chosen], generator=generator, draws=draws)
        low, high = np.quantile(means, [0.025, 0.975], axis=0)
        other = outside[:, chosen].mean(axis=0) if len(outside) else np.full(len(chosen), np.nan)
        columns = (chosen.tolist(), mean[chosen].tolist(), low.tolist(), high.tolist(), other.tolist())
        found += [Driver(cluster, *numbers) for numbers in zip(*columns, strict=True)]
    return found
