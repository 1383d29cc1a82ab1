"""Sets in two clusters, or in as many as suit them best."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import array_api_compat
from jaxtyping import Bool, Float, Int

from polyscan.stats.arrays import Array
from polyscan.stats.clustering import renumbered
from polyscan.stats.splits.cosines import centred, shape_of
from polyscan.stats.splits.hartigan import hartigan
from polyscan.stats.splits.separation import silhouette, silhouettes

_ROUNDING = 1e-9
"""A share of n items is rounded up, but not because .07 * 100 is a little above 7 in binary."""
_SETS_AT_ONCE_CPU = 64
"""Sets that are split together on a CPU: few enough for the cache. The result does not depend on it."""
_RISE_TO_THREE = 1.02
"""Three clusters count if their silhouette is above so many times that of two."""
_RISE_TO_MORE = 1.12
"""The same for one more than three or four."""
_LEAST_SILHOUETTE = 1e-3
"""A silhouette below it counts as this much: a rise from nothing has no ratio."""


@dataclass(frozen=True, eq=False)
class Split:
    """Each of `s` sets in two.

    Args:
        labels: cluster of each item, 0 or 1; that of the first item is 0.
        was_cut: no run gave both clusters enough items, so the set was cut along its principal axis.
    """

    labels: Int[Array, "s n"]
    was_cut: Bool[Array, " s"]


@dataclass(frozen=True, eq=False)
class BestSplit:
    """Each of `s` sets in as many clusters as suit it best.

    Args:
        labels: cluster of each item, numbered from 0 by first appearance.
        k: number of clusters.
        silhouette: mean silhouette of that partition, in [-1, 1].
    """

    labels: Int[Array, "s n"]
    k: Int[Array, " s"]
    silhouette: Float[Array, " s"]


def two_means(cosines: Float[Array, "s n n"], *, uniforms: Float[Array, "s r 2"], least_share: float = 0.1) -> Split:
    """The run of 2-means on each set's unit vectors with the largest silhouette, among those where both clusters hold.

    A run is that of `moves`: single items move while the sum of squares falls. The silhouette chooses among runs since
    the least sum of squares of all rather cuts off a tail of a set than parts it in two.

    A cluster holds with `least_share` of the items. Where no run has such clusters, the best one parted stragglers from
    the rest. Items are then ordered along the set's first principal axis, and the stragglers' end of it is cut off just
    long enough to hold the least share.

    Args:
        cosines: as `cosines` makes them.
        uniforms: draws in [0, 1), from the unit's own seed.
        least_share: share of the items in the smaller cluster, in (0, .5]; rounded up to items.

    Raises:
        ValueError: if shapes disagree, `least_share` is out of bounds, or two such clusters need more than n items.
    """
    xp = array_api_compat.array_namespace(cosines, uniforms)
    n = shape_of(cosines)[1]
    least = _least(n, least_share)
    if n < 2 * least:
        raise ValueError(f"two clusters of {least} or more need {2 * least} items, got {n}. Lower `least_share`")
    labels, held = _split(xp, cosines, 2, uniforms, least)
    was_cut = ~held
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
    """The partition into 2 to `most` clusters that suits each set best: one more while the silhouette rises enough.

    Three where their silhouette is above 1.02 times that of two; then four, and so on, while the silhouette of one more
    is above 1.12 times the last. Two of a few concepts that overlap have a third cluster that gains a little, and any
    clusters have parts of their own. The bounds were chosen by measurement on sets of known number (docs/methods).

    Each K by the runs of `two_means`. A number of clusters at which no run gives each the least share ends the
    search; 2 always stands. Whether there is more than one cluster at all is not asked here.

    Args:
        cosines: as `cosines` makes them.
        uniforms: for each number of clusters k of 2 to `most`, draws [s, r, k] in [0, 1), from the unit's own seed.
        most: most clusters, 2 or more.
        least_share: as in `two_means`.
        least_share_of_more: share of the items in the smallest of three or more clusters.
        halves: what `two_means` answered, if it was asked before.

    Raises:
        ValueError: as `two_means` does, or if `most` is below 2 or `uniforms` lacks a number of clusters.
    """
    missing = [k for k in range(2, most + 1) if k not in uniforms]
    if most < 2 or missing:
        raise ValueError(f"`most` must be 2 or more, with `uniforms` for 2 to `most`; got {most}, without {missing}")
    xp = array_api_compat.array_namespace(cosines)
    n = shape_of(cosines)[1]
    least = _least(n, least_share_of_more, "least_share_of_more")
    halves = halves or two_means(cosines, uniforms=uniforms[2], least_share=least_share)
    labels, values = xp.asarray(halves.labels, copy=True), silhouette(cosines, halves.labels, 2)
    numbers = xp.full_like(labels[:, 0], 2)
    live = _range(xp, labels.shape[0], labels)  # sets that may have more clusters
    for k in range(3, min(most, n // least) + 1):
        some, last = cosines[live], values[live]
        found, held = _split(xp, some, k, uniforms[k][live], least)
        value = silhouette(some, found, k)
        rise = _RISE_TO_THREE if k == 3 else _RISE_TO_MORE
        is_better = held & (value > rise * xp.where(last > _LEAST_SILHOUETTE, last, _LEAST_SILHOUETTE))
        live = live[is_better]
        labels[live], values[live], numbers[live] = found[is_better], value[is_better], k
    return BestSplit(labels, numbers, values)


def _split(xp: Any, cosines: Array, k: int, uniforms: Array, least: int) -> tuple[Array, Array]:
    """Labels [s, n] of the best run of each set, and whether its clusters hold, [s]."""
    s = cosines.shape[0]
    step = _SETS_AT_ONCE_CPU if array_api_compat.is_numpy_array(cosines) else max(1, s)
    parts: list[tuple[Array, Array]] = []
    for start in range(0, max(1, s), step):
        some = cosines[start : start + step, :, :]
        runs = hartigan(centred(some), k, uniforms[start : start + step, :, :])
        parts.append(_clearest(xp, some, runs, k, least))
    labels, held = zip(*parts, strict=True)
    return xp.concat(labels, axis=0), xp.concat(held, axis=0)


def _clearest(xp: Any, cosines: Array, labels: Array, k: int, least: int) -> tuple[Array, Array]:
    """Of runs [s, r, n], the one with the largest silhouette among those whose clusters hold, and if there is one."""
    sizes = xp.sum(xp.astype(labels[:, :, None, :] == _range(xp, k, labels)[:, None], xp.int64), axis=-1)
    held = xp.min(sizes, axis=-1) >= least  # [s, r]
    is_held = xp.any(held, axis=-1)
    may_win = held | ~is_held[:, None]
    best = xp.argmax(xp.where(may_win, silhouettes(cosines, labels, k), -xp.inf), axis=-1)
    return renumbered(labels[_range(xp, labels.shape[0], labels), best], k), is_held


def _range(xp: Any, stop: int, like: Array) -> Array:
    return xp.arange(stop, dtype=xp.int64, device=array_api_compat.device(like))  # pyright: ignore[reportUnknownMemberType]


def _least(n: int, share: float, name: str = "least_share") -> int:
    """Items that a cluster must have."""
    if not 0 < share <= 0.5:
        raise ValueError(f"`{name}` must be in (0, 0.5], got {share}: the smaller cluster of two has half at most")
    return max(1, math.ceil(share * n - _ROUNDING))


def _cut_off(xp: Any, products: Array, labels: Array, least: int) -> Array:
    """Labels [m, n] with the `least` items in one cluster that lie farthest on the side of the smaller one."""
    axis = xp.linalg.eigh(products)[1][:, :, -1]
    in_second = xp.astype(labels, axis.dtype)
    stragglers = xp.where(xp.mean(in_second, axis=-1, keepdims=True) <= 0.5, in_second, 1 - in_second)
    side = xp.where(xp.vecdot(axis, stragglers) >= 0, 1.0, -1.0)  # an eigenvector has no sign of its own
    place = xp.argsort(xp.argsort(-axis * side[:, None], axis=-1), axis=-1)
    is_cut_off = place < least
    return xp.astype(is_cut_off != is_cut_off[:, :1], labels.dtype)
