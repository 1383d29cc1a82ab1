"""Sets in two clusters, or in as many as suit them best."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import array_api_compat
from jaxtyping import Bool, Float, Int

from polyscan.stats.clustering import kmeans
from polyscan.stats.splits.cosines import centred, shape_of
from polyscan.stats.splits.separation import silhouette, silhouettes

Array = Any  # numpy.ndarray, or torch.Tensor where a stage computes on a GPU

_ROUNDING = 1e-9
"""A share of n items is rounded up, but not because .07 * 100 is a little above 7 in binary."""


_NEAR = 0.05
"""Share of the largest silhouette within which another is near it."""


@dataclass(frozen=True, eq=False)
class Split:
    """Each of `s` sets in two.

    Args:
        labels: cluster of each item, 0 or 1; that of the first item is 0.
        was_cut: no run of k-means gave both clusters enough items, so the set was cut along its principal axis.
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
    products = centred(cosines)
    clustering = kmeans(products, 2, uniforms=uniforms, least=least, prefer=_silhouettes(cosines, 2))
    labels, was_cut = clustering.labels, ~clustering.held
    if xp.any(was_cut):
        labels[was_cut] = _cut_off(xp, products[was_cut], labels[was_cut], least)
    return Split(labels, was_cut)


def best_split(
    cosines: Float[Array, "s n n"],
    *,
    uniforms: Mapping[int, Float[Array, "s r _"]],
    most: int = 5,
    least_share: float = 0.1,
    halves: Split | None = None,
) -> BestSplit:
    """The partition into 2 to `most` clusters that suits each set best: the fewest with a silhouette near the largest.

    Near is within 5 %: a third cluster that gains less than that is rather a tail of one of the two.

    Every cluster has `least_share` of the items or more. A number of clusters at which no run holds that is passed
    over; 2 always stands, by `two_means`. Whether there is more than one cluster at all is not asked here.

    Args:
        cosines: as `cosines` makes them.
        uniforms: for each number of clusters k of 2 to `most`, draws [s, r, k] in [0, 1), from the unit's own seed.
        most: most clusters, 2 or more.
        least_share: as in `two_means`.
        halves: what `two_means` answered, if it was asked before.

    Raises:
        ValueError: as `two_means` does, or if `most` is below 2 or `uniforms` lacks a number of clusters.
    """
    missing = [k for k in range(2, most + 1) if k not in uniforms]
    if most < 2 or missing:
        raise ValueError(f"`most` must be 2 or more, with `uniforms` for 2 to `most`; got {most}, without {missing}")
    xp = array_api_compat.array_namespace(cosines)
    n = shape_of(cosines)[1]
    least = _least(n, least_share)
    halves = halves or two_means(cosines, uniforms=uniforms[2], least_share=least_share)
    partitions, values = [halves.labels], [silhouette(cosines, halves.labels, 2)]
    products = centred(cosines)
    for k in range(3, min(most, n // least) + 1):
        clustering = kmeans(products, k, uniforms=uniforms[k], least=least, prefer=_silhouettes(cosines, k))
        partitions.append(clustering.labels)
        values.append(xp.where(clustering.held, silhouette(cosines, clustering.labels, k), -xp.inf))
    best = values[0]
    for value in values[1:]:
        best = xp.maximum(best, value)
    bound = best - _NEAR * xp.abs(best)
    labels, fitting, found = halves.labels, xp.full_like(halves.labels[:, 0], 2), values[0]
    is_open = values[0] < bound
    for k, (partition, value) in enumerate(zip(partitions[1:], values[1:], strict=True), start=3):
        is_chosen = is_open & (value >= bound)
        labels = xp.where(is_chosen[:, None], partition, labels)
        fitting = xp.where(is_chosen, xp.full_like(fitting, k), fitting)
        found = xp.where(is_chosen, value, found)
        is_open = is_open & ~is_chosen
    return BestSplit(labels, fitting, found)


def _silhouettes(cosines: Array, k: int) -> Callable[[int, Array], Array]:
    """What makes one run of k-means better than another, for `kmeans`: its mean silhouette.

    The sum of squares prefers to cut off a tail of a set to parting it in two: its minimum found better is a split
    found worse. And runs that differ in it by little differ in their labels by much, so the choice is not steady.
    """
    return lambda start, labels: silhouettes(cosines[start : start + labels.shape[0], :, :], labels, k)


def _least(n: int, share: float) -> int:
    """Items that a cluster must have."""
    if not 0 < share <= 0.5:
        raise ValueError(f"`least_share` must be in (0, 0.5], got {share}: the smaller cluster of two has half at most")
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
