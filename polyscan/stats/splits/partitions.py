"""Splits of sets into two clusters, or into the number of clusters that fits best."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import array_api_compat
from jaxtyping import Bool, Float, Int

from polyscan.stats.arrays import Array, integers
from polyscan.stats.clustering import renumbered
from polyscan.stats.splits.cosines import centred, shape_of
from polyscan.stats.splits.hartigan import hartigan
from polyscan.stats.splits.separation import silhouette, silhouettes

_ROUNDING = 1e-9
"""Slack for rounding up a share of n items: .07 * 100 is slightly above 7 in binary."""
_SETS_AT_ONCE_CPU, _HALVED_AT_ONCE_CPU = 64, 256
"""Sets split at once on a CPU, into several clusters or in two: few enough for the cache, with the same results."""
_RISE_TO_THREE = 1.02
"""Three clusters are chosen if their silhouette is above this multiple of that of two."""
_RISE_TO_MORE = 1.12
"""The same for one more than three or four."""
_LEAST_SILHOUETTE = 1e-3
"""A smaller silhouette counts as this, so that the ratio is defined."""


@dataclass(frozen=True, eq=False)
class Split:
    """Each of `s` sets split in two.

    Args:
        labels: cluster of each item, 0 or 1; that of the first item is 0.
        was_cut: whether no run gave both clusters enough items, so that the set was cut along its principal axis.
    """

    labels: Int[Array, "s n"]
    was_cut: Bool[Array, " s"]


@dataclass(frozen=True, eq=False)
class BestSplit:
    """Each of `s` sets split into its best number of clusters.

    Args:
        labels: cluster of each item, numbered from 0 by first appearance.
        k: number of clusters.
        silhouette: mean silhouette of that partition, in [-1, 1].
    """

    labels: Int[Array, "s n"]
    k: Int[Array, " s"]
    silhouette: Float[Array, " s"]


def two_means(cosines: Float[Array, "s n n"], *, uniforms: Float[Array, "s r 2"], least_share: float = 0.1) -> Split:
    """Best run of 2-means on each set's unit vectors: the largest silhouette among runs with two large enough clusters.

    Runs are those of `hartigan`: single items move while the sum of squares falls. The silhouette chooses among runs,
    since the smallest sum of squares tends to cut off a tail of the set instead of splitting it in two.

    A cluster is large enough with `least_share` of the items. If no run has two such clusters, the best run separated
    stragglers from the rest. Items are then ordered along the set's first principal axis, and as many as the least
    share needs are cut off at the stragglers' end.

    Args:
        cosines: as `cosines` makes them.
        uniforms: draws in [0, 1), from the unit's seed.
        least_share: share of the items in the smaller cluster, in (0, .5]; rounded up to items.

    Raises:
        ValueError: if shapes disagree, `least_share` is out of bounds, or two such clusters need more than n items.
    """
    xp = array_api_compat.array_namespace(cosines, uniforms)
    n = shape_of(cosines)[1]
    least = _least(n, least_share)
    if n < 2 * least:
        raise ValueError(f"two clusters of {least} or more need {2 * least} items, got {n}. Lower `least_share`")
    labels, is_large = _split(xp, cosines, 2, uniforms, least)
    was_cut = ~is_large
    if xp.any(was_cut):
        labels[was_cut] = _cut_off(xp, centred(cosines[was_cut]), labels[was_cut], least)
    return Split(labels, was_cut)


def best_split(
    cosines: Float[Array, "s n n"],
    *,
    uniforms: Mapping[int, Float[Array, "s r _"]],
    most: int = 5,
    least_share: float = 0.1,
    least_share_of_more: float = 0.15,
    halves: Split | None = None,
) -> BestSplit:
    """Best partition of each set into 2 to `most` clusters: one more while the silhouette rises enough.

    Three if their silhouette is above 1.02 times that of two; then four, and so on, while the silhouette of one more is
    above 1.12 times the last. The first bound is low, since a third cluster gains little where two of three concepts
    overlap; the second is high, since every cluster has sub-clusters. Both were chosen by measurement on sets with a
    known number of clusters (docs/methods).

    Each K uses runs as in `two_means`. The search ends at a number of clusters for which no run gives each the least
    share; 2 clusters are always allowed. Whether there is more than one cluster at all is not tested here.

    Args:
        cosines: as `cosines` makes them.
        uniforms: for each number of clusters k of 2 to `most`, draws [s, r, k] in [0, 1), from the unit's seed.
        most: maximum number of clusters, 2 or more.
        least_share: as in `two_means`.
        least_share_of_more: share of the items in the smallest of three or more clusters.
        halves: the result of `two_means`, if it is already known.

    Raises:
        ValueError: as `two_means` does, or if `most` is below 2 or `uniforms` lacks a number of clusters.
    """
    _check_numbers(most, uniforms)
    xp = array_api_compat.array_namespace(cosines)
    n = shape_of(cosines)[1]
    least = _least(n, least_share_of_more, "least_share_of_more")
    halves = halves or two_means(cosines, uniforms=uniforms[2], least_share=least_share)
    labels, values = xp.asarray(halves.labels, copy=True), silhouette(cosines, halves.labels, 2)
    numbers = xp.full_like(labels[:, 0], 2)
    live = integers(xp, labels.shape[0], labels)  # sets that may have more clusters
    for k in range(3, min(most, n // least) + 1):
        new, is_large = _split(xp, cosines[live], k, uniforms[k][live], least)
        value = silhouette(cosines[live], new, k)
        is_better = is_large & _rises(xp, values[live], value, k)
        live = live[is_better]
        labels[live], values[live], numbers[live] = new[is_better], value[is_better], k
    return BestSplit(labels, numbers, values)


def _check_numbers(most: int, uniforms: Mapping[int, Array]) -> None:
    missing = [k for k in range(2, most + 1) if k not in uniforms]
    if most < 2 or missing:
        raise ValueError(f"`most` must be 2 or more, with `uniforms` for 2 to `most`; got {most}, without {missing}")


def _rises(xp: Any, last: Array, value: Array, k: int) -> Array:
    """Whether the silhouette of k clusters is enough above that of k - 1."""
    rise = _RISE_TO_THREE if k == 3 else _RISE_TO_MORE
    return value > rise * xp.where(last > _LEAST_SILHOUETTE, last, _LEAST_SILHOUETTE)


def _split(xp: Any, cosines: Array, k: int, uniforms: Array, least: int) -> tuple[Array, Array]:
    """Labels [s, n] of the best run of each set, and whether its clusters are large enough, [s]."""
    s = cosines.shape[0]
    at_once = _HALVED_AT_ONCE_CPU if k == 2 else _SETS_AT_ONCE_CPU  # a pair
    step = at_once if array_api_compat.is_numpy_array(cosines) else max(1, s)
    parts: list[tuple[Array, Array]] = []
    for start in range(0, max(1, s), step):
        chunk = cosines[start : start + step, :, :]
        runs = hartigan(centred(chunk), k, uniforms[start : start + step, :, :])
        parts.append(_clearest(xp, chunk, runs, k, least))
    labels, is_large = zip(*parts, strict=True)
    return xp.concat(labels, axis=0), xp.concat(is_large, axis=0)


def _clearest(xp: Any, cosines: Array, labels: Array, k: int, least: int) -> tuple[Array, Array]:
    """Labels of the clearest run with large enough clusters, else of all runs, [s, n]; whether there was one, [s]."""
    sizes = xp.sum(xp.astype(labels[:, :, None, :] == integers(xp, k, labels)[:, None], xp.int64), axis=-1)
    is_large = xp.min(sizes, axis=-1) >= least  # [s, r]
    has_large = xp.any(is_large, axis=-1)
    may_win = is_large | ~has_large[:, None]
    best = xp.argmax(xp.where(may_win, silhouettes(cosines, labels, k), -xp.inf), axis=-1)
    return renumbered(labels[integers(xp, labels.shape[0], labels), best], k), has_large


def _least(n: int, share: float, name: str = "least_share") -> int:
    """Number of items that a cluster must have."""
    if not 0 < share <= 0.5:
        raise ValueError(f"`{name}` must be in (0, 0.5], got {share}: the smaller of two clusters has at most half")
    return max(1, math.ceil(share * n - _ROUNDING))


def _cut_off(xp: Any, products: Array, labels: Array, least: int) -> Array:
    """Labels [m, n] with one cluster of `least` items: those farthest out on the side of the smaller cluster."""
    axis = xp.linalg.eigh(products)[1][:, :, -1]
    in_second = xp.astype(labels, axis.dtype)
    stragglers = xp.where(xp.mean(in_second, axis=-1, keepdims=True) <= 0.5, in_second, 1 - in_second)
    side = xp.where(xp.vecdot(axis, stragglers) >= 0, 1.0, -1.0)  # the sign of an eigenvector is arbitrary
    place = xp.argsort(xp.argsort(-axis * side[:, None], axis=-1), axis=-1)
    is_cut_off = place < least
    return xp.astype(is_cut_off != is_cut_off[:, :1], labels.dtype)
