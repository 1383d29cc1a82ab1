"""Sets in k clusters by moves of single items, all starts of many sets at once.

Lloyd's iteration counts an item in the mean of its own cluster, so it holds on to splits from which a single move leads
on: with a few dozen unit vectors it stalls in hundreds of poor ones, and two seeds rarely end alike. A move is weighed
here as if the item were in neither cluster (Hartigan).

Works on numpy arrays, and on torch tensors that a caller hands in. Law: a run, one start of one set, is computed by
itself, so with numpy its result is the same to the last bit whatever other runs share the batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import array_api_compat
from jaxtyping import Bool, Float, Int

from polyscan.stats.arrays import Array

_LEAST_FALL = 1e-6
"""A move counts if the sum of squares falls by more; rounding leaves 1e-13, so no move is ever undone for its sake."""
_EQUAL = 1e-9
"""Squared distances up to this are rounding: such items are as near to one seed as to another."""


def hartigan(
    products: Float[Array, "s n n"], k: int, uniforms: Float[Array, "s r k"], sweeps: int = 6
) -> Int[Array, "s r n"]:
    """Labels of `r` runs for each set, in [0, k - 1]; no cluster is empty.

    The first seed of a run is any item, each next one is drawn with a chance in proportion to its squared distance from
    the nearest seed so far; items go to their nearest seed, ties to the first. Then each item in turn moves to the
    cluster that lowers the sum of squares most, if that is by more than 1e-6, until a sweep moves none.

    fall = n_a / (n_a - 1) |x - mean_a|^2 - n_b / (n_b + 1) |x - mean_b|^2   for a move of x from cluster a to b

    Args:
        products: inner products of each set's unit vectors less their mean, as `cosines.centred` makes them.
        k: number of clusters, 2 to n.
        uniforms: draws in [0, 1), one a run and seed. Make them from the unit's own seed, never from the batch.
        sweeps: most times that each item is asked.

    Raises:
        ValueError: if shapes disagree, `k` or `sweeps` is out of bounds, or a vector was not finite.

    Source: Hartigan 1975, "Clustering algorithms"; seeds as in Arthur & Vassilvitskii 2007, "k-means++".
    """
    xp = array_api_compat.array_namespace(products, uniforms)
    _check(xp, products, k, uniforms, sweeps)
    products, uniforms = xp.astype(products, xp.float64), xp.astype(uniforms, xp.float64)
    labels = _nearest_seeds(xp, products, uniforms)  # [s, r, n]
    runs = _begun(xp, products, labels, k)
    final, live = xp.asarray(runs.labels, copy=True), _range(xp, runs.labels.shape[0], labels)
    for _ in range(sweeps):
        has_moved = _sweep(xp, products, runs)
        final[live] = runs.labels
        if not xp.any(has_moved):
            break
        if not xp.all(has_moved):
            live, runs = live[has_moved], runs.only(has_moved)
    return xp.reshape(final, labels.shape)


def _check(xp: Any, products: Array, k: int, uniforms: Array, sweeps: int) -> None:
    match tuple(products.shape):
        case (s, n, m) if n == m:
            pass
        case shape:
            raise ValueError(f"`products` must be [s, n, n], got {shape}; make it with `centred(cosines(x))`")
    if not 2 <= k <= n:
        raise ValueError(f"`k` must be in [2, {n}], the number of items, got {k}")
    match tuple(uniforms.shape):
        case (sets, runs, seeds) if sets == s and runs >= 1 and seeds == k:
            pass
        case shape:
            raise ValueError(f"`uniforms` must be [{s}, runs, {k}] with a run or more, got {shape}")
    if sweeps < 1:
        raise ValueError(f"`sweeps` must be at least 1, got {sweeps}")
    if not xp.all(xp.isfinite(xp.linalg.diagonal(products))):
        raise ValueError("`products` holds NaN or infinite squares: a vector is not finite. Reject its item first")


@dataclass(frozen=True, eq=False)
class _Runs:
    """Runs under way, m of them; their arrays change in place.

    Args:
        sets: which set each is of.
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
        """Some of the runs, copied."""
        of_clusters = (array[:, which] for array in (self.to_sums, self.squares, self.sizes))
        return _Runs(self.sets[which], self.labels[which], *of_clusters)


def _nearest_seeds(xp: Any, products: Array, uniforms: Array) -> Array:
    """Labels [s, r, n] by the nearest of k different seeds, each in its own cluster."""
    n, k = products.shape[1], uniforms.shape[2]
    nearest = _away(xp, products, xp.astype(xp.floor(uniforms[:, :, 0] * n), xp.int64))
    labels = xp.zeros_like(nearest, dtype=xp.int64)
    for seed in range(1, k):
        cumulated = xp.cumulative_sum(nearest, axis=-1)
        aims = uniforms[:, :, seed, None] * cumulated[:, :, -1:]
        away = _away(xp, products, xp.sum(xp.astype(cumulated <= aims, xp.int64), axis=-1))
        labels = xp.where(away < nearest, xp.full_like(labels, seed), labels)
        nearest = xp.minimum(nearest, away)
    return labels


def _away(xp: Any, products: Array, seeds: Array) -> Array:
    """Squared distances of all items to a seed a run: [s, r] -> [s, r, n]; 0 for itself alone, so none comes twice."""
    squares = xp.linalg.diagonal(products)
    sets = _range(xp, products.shape[0], seeds)[:, None]
    away = squares[:, None, :] + squares[sets, seeds][:, :, None] - 2 * products[sets, seeds]
    is_seed = _range(xp, products.shape[1], seeds) == seeds[:, :, None]
    return xp.where(is_seed, 0.0, xp.where(away > _EQUAL, away, _EQUAL))


def _begun(xp: Any, products: Array, labels: Array, k: int) -> _Runs:
    """Runs at labels [s, r, n]."""
    s, r, n = labels.shape
    members = xp.astype(labels[None, :, :, :] == _range(xp, k, labels)[:, None, None, None], products.dtype)
    to_sums = xp.matmul(members, products)  # [k, s, r, n]
    return _Runs(
        sets=xp.reshape(xp.broadcast_to(_range(xp, s, labels)[:, None], (s, r)), (s * r,)),
        labels=xp.reshape(labels, (s * r, n)),
        to_sums=xp.reshape(to_sums, (k, s * r, n)),
        squares=xp.reshape(xp.vecdot(to_sums, members), (k, s * r)),
        sizes=xp.reshape(xp.sum(members, axis=-1), (k, s * r)),
    )


def _sweep(xp: Any, products: Array, runs: _Runs) -> Array:
    """Asks each item of each run once; which runs moved any, [m]."""
    (k, m), n = runs.sizes.shape, runs.labels.shape[1]
    squares = xp.matrix_transpose(xp.linalg.diagonal(products))[:, runs.sets]  # [n, m]
    places, has_moved = _range(xp, m, runs.labels), runs.sets < 0
    weights = _weights(xp, runs)
    for item in range(n):
        base, slope, join, leave = weights
        # Squared distances to each mean, [k * m] as all that follows: one index is faster than two.
        away = xp.reshape(squares[item] + base - slope * runs.to_sums[:, :, item], (k * m,))
        own = runs.labels[:, item] * m + places
        rise = away * join
        rise[own] = xp.inf
        # An item that is alone is its cluster's mean, so its move saves nothing: no cluster runs empty.
        rise = xp.reshape(rise, (k, m))
        movers = xp.nonzero(away[own] * leave[own] - xp.min(rise, axis=0) > _LEAST_FALL)[0]
        if movers.shape[0]:
            _move(products, runs, item, movers, xp.argmin(rise[:, movers], axis=0))
            has_moved[movers] = True
            weights = _weights(xp, runs)
    return has_moved


def _weights(xp: Any, runs: _Runs) -> tuple[Array, Array, Array, Array]:
    """What squared distances to means are made with, each [k, m], and what makes rises and savings of them, [k * m]."""
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


def _range(xp: Any, stop: int, like: Array) -> Array:
    return xp.arange(stop, dtype=xp.int64, device=array_api_compat.device(like))  # pyright: ignore[reportUnknownMemberType]
