"""Clusters of many sets by moves of single items, all starts at once.

Lloyd's iteration counts an item in the mean of its own cluster, so it stops at splits that a single move would improve:
with a few dozen unit vectors it has hundreds of poor local optima, and two seeds rarely agree. Here a move is evaluated
as if the item were in neither cluster (Hartigan).

Works on numpy arrays and on torch tensors. Law: a run, one start of one set, is computed by itself, so with numpy its
result is the same to the last bit whatever other runs share the batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import array_api_compat
from jaxtyping import Bool, Float, Int

from polyscan.stats.arrays import Array, check_clustering, integers
from polyscan.stats.splits.two_clusters import LEAST_FALL, two_clusters

_EQUAL = 1e-9
"""Squared distances up to this count as equal: they differ by rounding only."""


def hartigan(
    products: Float[Array, "s n n"], k: int, uniforms: Float[Array, "s r k"], sweeps: int = 6
) -> Int[Array, "s r n"]:
    """Labels of `r` runs for each set, in [0, k - 1]; no cluster is empty.

    The first seed of a run is a random item, each further one is drawn with probability proportional to its squared
    distance from the nearest seed so far; items go to their nearest seed, ties to the first. Then each item in turn
    moves to the cluster that lowers the sum of squares most, if it does so by more than 1e-6, until a sweep moves none.

    fall = n_a / (n_a - 1) |x - mean_a|^2 - n_b / (n_b + 1) |x - mean_b|^2   for a move of x from cluster a to b

    Args:
        products: inner products of each set's unit vectors minus their mean, as `cosines.centred` makes them.
        k: number of clusters, 2 to n.
        uniforms: draws in [0, 1), one per run and seed. Make them from the unit's seed, never from the batch.
        sweeps: maximum number of times that each item is considered.

    Raises:
        ValueError: if shapes disagree, `k` or `sweeps` is out of bounds, or a vector was not finite.

    Source: Hartigan 1975, "Clustering algorithms"; seeds as in Arthur & Vassilvitskii 2007, "k-means++".
    """
    xp = array_api_compat.array_namespace(products, uniforms)
    _check(xp, products, k, uniforms, sweeps)
    products, uniforms = xp.astype(products, xp.float64), xp.astype(uniforms, xp.float64)
    labels = _nearest_seeds(xp, products, uniforms)  # [s, r, n]
    if k == 2:  # a pair
        return two_clusters(products, labels, sweeps)
    runs = _runs(xp, products, labels, k)
    final, live = xp.asarray(runs.labels, copy=True), integers(xp, runs.labels.shape[0], labels)
    for _ in range(sweeps):
        has_moved = _sweep(xp, products, runs)
        final[live] = runs.labels
        if not xp.any(has_moved):
            break
        if not xp.all(has_moved):
            live, runs = live[has_moved], runs.only(has_moved)
    return xp.reshape(final, labels.shape)


def _check(xp: Any, products: Array, k: int, uniforms: Array, sweeps: int) -> None:
    remedy = "make it with `centred(cosines(x))`"
    check_clustering("products", products, remedy=remedy, k=k, uniforms=uniforms, least_k=2)
    if sweeps < 1:
        raise ValueError(f"`sweeps` must be at least 1, got {sweeps}")
    if not xp.all(xp.isfinite(xp.linalg.diagonal(products))):
        raise ValueError("`products` holds NaN or infinite squares: a vector is not finite. Reject its item first")


@dataclass(frozen=True, eq=False)
class _Runs:
    """The state of m runs; its arrays change in place.

    Args:
        sets: number of the set of each run.
        labels: cluster of each item.
        to_sums: inner product of each item with the sum of each cluster.
        squares: squared length of each cluster's sum.
        sizes: items of each cluster, as floats.
    """

    sets: Int[Array, " m"]
    labels: Int[Array, "m n"]
    to_sums: Float[Array, "k m n"]
    squares: Float[Array, "k m"]
    sizes: Float[Array, "k m"]

    def only(self, which: Bool[Array, " m"]) -> _Runs:
        """Copies of some of the runs."""
        of_clusters = (array[:, which] for array in (self.to_sums, self.squares, self.sizes))
        return _Runs(self.sets[which], self.labels[which], *of_clusters)


def _nearest_seeds(xp: Any, products: Array, uniforms: Array) -> Array:
    """Labels [s, r, n] by the nearest of k different seeds."""
    n, k = products.shape[1], uniforms.shape[2]
    nearest = _distances(xp, products, xp.astype(xp.floor(uniforms[:, :, 0] * n), xp.int64))
    labels = xp.zeros_like(nearest, dtype=xp.int64)
    for seed in range(1, k):
        cumulated = xp.cumulative_sum(nearest, axis=-1)
        targets = uniforms[:, :, seed, None] * cumulated[:, :, -1:]
        distances = _distances(xp, products, xp.sum(xp.astype(cumulated <= targets, xp.int64), axis=-1))
        labels = xp.where(distances < nearest, xp.full_like(labels, seed), labels)
        nearest = xp.minimum(nearest, distances)
    return labels


def _distances(xp: Any, products: Array, seeds: Array) -> Array:
    """Squared distances of all items to one seed per run: [s, r] -> [s, r, n]; 0 for the seed alone: none repeats."""
    squares = xp.linalg.diagonal(products)
    sets = integers(xp, products.shape[0], seeds)[:, None]
    distances = squares[:, None, :] + squares[sets, seeds][:, :, None] - 2 * products[sets, seeds]
    is_seed = integers(xp, products.shape[1], seeds) == seeds[:, :, None]
    return xp.where(is_seed, 0.0, xp.where(distances > _EQUAL, distances, _EQUAL))


def _runs(xp: Any, products: Array, labels: Array, k: int) -> _Runs:
    """The state of runs that start at labels [s, r, n]."""
    s, r, n = labels.shape
    members = xp.astype(labels[None, :, :, :] == integers(xp, k, labels)[:, None, None, None], products.dtype)
    to_sums = xp.matmul(members, products)  # [k, s, r, n]
    return _Runs(
        sets=xp.reshape(xp.broadcast_to(integers(xp, s, labels)[:, None], (s, r)), (s * r,)),
        labels=xp.reshape(labels, (s * r, n)),
        to_sums=xp.reshape(to_sums, (k, s * r, n)),
        squares=xp.reshape(xp.vecdot(to_sums, members), (k, s * r)),
        sizes=xp.reshape(xp.sum(members, axis=-1), (k, s * r)),
    )


def _sweep(xp: Any, products: Array, runs: _Runs) -> Array:
    """Considers each item of each run once; which runs moved an item, [m]."""
    (k, m), n = runs.sizes.shape, runs.labels.shape[1]
    squares = xp.matrix_transpose(xp.linalg.diagonal(products))[:, runs.sets]  # [n, m]
    places, has_moved = integers(xp, m, runs.labels), runs.sets < 0
    weights = _weights(xp, runs)
    for item in range(n):
        base, slope, join, leave = weights
        # Squared distances to each mean, [k * m] like all that follows: one index is faster than two.
        distances = xp.reshape(squares[item] + base - slope * runs.to_sums[:, :, item], (k * m,))
        own = runs.labels[:, item] * m + places
        rise = distances * join
        rise[own] = xp.inf
        # A single item is its cluster's mean, so its move saves nothing: no cluster becomes empty.
        rise = xp.reshape(rise, (k, m))
        movers = xp.nonzero(distances[own] * leave[own] - xp.min(rise, axis=0) > LEAST_FALL)[0]
        if movers.shape[0]:
            _move(products, runs, item, movers, xp.argmin(rise[:, movers], axis=0))
            has_moved[movers] = True
            weights = _weights(xp, runs)
    return has_moved


def _weights(xp: Any, runs: _Runs) -> tuple[Array, Array, Array, Array]:
    """Terms of the squared distances to means, each [k, m], and their factors for rises and savings, each [k * m]."""
    sizes = runs.sizes
    flat = xp.reshape(sizes, (sizes.shape[0] * sizes.shape[1],))
    leave = flat / xp.where(flat > 1, flat - 1, 1.0)
    return runs.squares / (sizes * sizes), 2 / sizes, flat / (flat + 1), leave


def _move(products: Array, runs: _Runs, item: int, movers: Array, to: Array) -> None:
    """Moves one item of some runs."""
    rows = products[runs.sets[movers], item]  # [movers, n]
    for clusters, sign in ((runs.labels[movers, item], -1), (to, 1)):
        runs.squares[clusters, movers] += 2 * sign * runs.to_sums[clusters, movers, item] + rows[:, item]
        runs.to_sums[clusters, movers] += sign * rows
        runs.sizes[clusters, movers] += sign
    runs.labels[movers, item] = to
