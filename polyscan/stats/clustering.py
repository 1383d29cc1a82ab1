"""k-means of many small sets at once, in the space of their Gram matrices.

A set of n vectors in d dimensions enters through its n x n matrix of inner products only, so an iteration costs n^2 k,
not n d k, and all restarts of a set are one matrix product. Works on numpy arrays, and on torch tensors that a caller
hands in.

Law: each set is computed by operations whose shape depends on (n, k, restarts) alone, so with numpy its result is the
same to the last bit whatever other sets share the batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import array_api_compat
from jaxtyping import Bool, Float, Int

from polyscan.stats.arrays import Array
from polyscan.stats.kmeans_plus_plus import kmeans_plus_plus

_SETS_AT_ONCE_CPU = 32
"""Sets that go through an iteration together on a CPU: few enough for the cache. The result does not depend on it."""
_MOST_IN_INT8 = 127


@dataclass(frozen=True, eq=False)
class Clustering:
    """One partition of each of `s` sets.

    Args:
        labels: cluster of each item, numbered from 0 by first appearance; no number is skipped.
        sse: sum of squared distances to the cluster means, float64, in the squared unit of the vectors.
        held: whether every cluster has the least number of items that was asked for.
    """

    labels: Int[Array, "s n"]
    sse: Float[Array, " s"]
    held: Bool[Array, " s"]


def gram(x: Float[Array, "s n d"]) -> Float[Array, "s n n"]:
    """Inner products of the vectors of each set, centred by the set's mean; float64.

    >>> import numpy as np
    >>> gram(np.array([[[0.0], [2.0]]])).tolist()
    [[[1.0, -1.0], [-1.0, 1.0]]]
    """
    xp = array_api_compat.array_namespace(x)
    x = xp.astype(x, xp.float64)
    x = x - xp.mean(x, axis=1, keepdims=True)
    return xp.matmul(x, xp.matrix_transpose(x))


def kmeans(
    gram: Float[Array, "s n n"],
    k: int,
    *,
    uniforms: Float[Array, "s r k"],
    iterations: int = 100,
    least: int = 1,
) -> Clustering:
    """Best of `r` runs of k-means for each set.

    Seeding is k-means++ (Arthur & Vassilvitskii 2007), greedy over a few candidates a centre; then Lloyd's iteration
    until no label of the set changes. A cluster that runs empty takes the point farthest from its own centre. The
    lowest sum of squares wins, among the runs without a cluster of under `least` items where a set has such a run;
    ties go to the lowest run. Labels are found in float32, sums of squares are taken in float64.

    Args:
        gram: inner products of centred vectors, as `gram` makes them.
        k: number of clusters, 1 to n. With fewer distinct vectors than that, equal vectors are parted.
        uniforms: draws in [0, 1), one a restart and centre. Make them from the unit's own seed, never from the batch.
        iterations: most rounds of Lloyd's iteration.
        least: items that every cluster should have.

    Raises:
        ValueError: if shapes disagree, `k`, `iterations` or `least` is out of bounds, or a vector was not finite.
    """
    xp = array_api_compat.array_namespace(gram, uniforms)
    _check(gram, k, uniforms, iterations, least)
    squares = xp.astype(xp.linalg.diagonal(gram), xp.float64)
    if not xp.all(xp.isfinite(squares)):
        raise ValueError("`gram` holds NaN or infinite squares: a vector is not finite. Reject its item first")
    s, n = gram.shape[0], gram.shape[1]
    if s == 0 or k == 1:
        return Clustering(_full(xp, (s, n), 0, gram), xp.sum(squares, axis=-1), _full(xp, (s,), n, gram) >= least)
    step = _SETS_AT_ONCE_CPU if array_api_compat.is_numpy_array(gram) else s
    parts = [
        _best_of(
            xp,
            gram[start : start + step, :, :],
            k,
            uniforms[start : start + step, :, :],
            iterations=iterations,
            least=least,
        )
        for start in range(0, s, step)
    ]
    return Clustering(
        labels=xp.concat([p.labels for p in parts], axis=0),
        sse=xp.concat([p.sse for p in parts], axis=0),
        held=xp.concat([p.held for p in parts], axis=0),
    )


def renumbered(labels: Int[Array, "s n"], k: int) -> Int[Array, "s n"]:
    """Clusters numbered by first appearance; each of the k must occur."""
    xp = array_api_compat.array_namespace(labels)
    clusters = xp.astype(_range(xp, k, labels), labels.dtype)
    members = xp.astype(labels[:, None, :] == clusters[None, :, None], xp.int8)
    number = xp.argsort(xp.argsort(xp.argmax(members, axis=-1), axis=-1), axis=-1)  # [s, k]
    return number[_range(xp, labels.shape[0], labels)[:, None], xp.astype(labels, xp.int64)]


def _check(gram: Array, k: int, uniforms: Array, iterations: int, least: int) -> None:
    match tuple(gram.shape):
        case (s, n, m) if n == m:
            pass
        case shape:
            raise ValueError(f"`gram` must be [s, n, n], got {shape}; make it with `gram(x)` from [s, n, d]")
    if not 1 <= k <= n:
        raise ValueError(f"`k` must be in [1, {n}], the number of items, got {k}")
    match tuple(uniforms.shape):
        case (sets, restarts, centres) if sets == s and restarts >= 1 and centres == k:
            pass
        case shape:
            raise ValueError(f"`uniforms` must be [{s}, restarts, {k}] with a restart or more, got {shape}")
    if iterations < 1:
        raise ValueError(f"`iterations` must be at least 1, got {iterations}")
    if least < 1:
        raise ValueError(f"`least` must be at least 1, got {least}: no cluster is empty")


def _full(xp: Any, shape: tuple[int, ...], value: int, like: Array) -> Array:
    return xp.full(shape, value, dtype=xp.int64, device=array_api_compat.device(like))  # pyright: ignore[reportUnknownMemberType]


def _range(xp: Any, stop: int, like: Array) -> Array:
    return xp.arange(stop, dtype=xp.int64, device=array_api_compat.device(like))  # pyright: ignore[reportUnknownMemberType]


def _best_of(xp: Any, gram: Array, k: int, uniforms: Array, *, iterations: int, least: int) -> Clustering:
    """`kmeans` for k >= 2 and one handful of sets."""
    exact = xp.astype(gram, xp.float64)
    total = xp.sum(xp.linalg.diagonal(exact), axis=-1)
    # Lengths are measured in the set's own root mean square, so float32 neither overflows nor vanishes.
    unit = xp.where(total > 0, total / gram.shape[1], xp.ones_like(total))
    scaled = xp.astype(exact / unit[:, None, None], xp.float32)
    labels = _lloyd(xp, scaled, kmeans_plus_plus(scaled, xp.astype(uniforms, xp.float32)), iterations)  # [s, r, n]
    sse = _sse(xp, exact, labels, k)
    held = xp.all(xp.sum(_one_hot(xp, labels, k, xp.int64), axis=-1) >= least, axis=1)  # [s, r]
    is_held = xp.any(held, axis=-1)
    may_win = held | ~is_held[:, None]
    best = xp.argmin(xp.where(may_win, sse, xp.full_like(sse, xp.inf)), axis=-1)
    sets = _range(xp, gram.shape[0], gram)
    return Clustering(renumbered(labels[sets, best], k), sse[sets, best], is_held)


def _lloyd(xp: Any, gram: Array, seeds: Array, iterations: int) -> Array:
    """Labels [s, r, n] after Lloyd's iteration from seeds [s, k, r]; a set leaves when none of its runs moves."""
    k = seeds.shape[1]
    squares = xp.linalg.diagonal(gram)
    live = _range(xp, gram.shape[0], gram)
    sets = live[:, None, None]
    labels = _nearest(xp, squares, gram[sets, seeds], squares[sets, seeds])
    final = labels
    for _ in range(iterations):
        means = _one_hot(xp, labels, k, gram.dtype)
        means /= xp.sum(means, axis=-1, keepdims=True)
        to_means = _products(xp, means, gram)
        new = _nearest(xp, squares, to_means, xp.vecdot(means, to_means))
        is_moving = xp.any(xp.reshape(new != labels, (new.shape[0], -1)), axis=-1)
        final[live] = new
        if not xp.any(is_moving):
            break
        labels = new
        if not xp.all(is_moving):
            live, labels, gram, squares = (a[is_moving] for a in (live, new, gram, squares))
    return final


def _one_hot(xp: Any, labels: Array, k: int, dtype: Any) -> Array:
    """[s, r, n] -> [s, k, r, n], 1 where the item is in the cluster."""
    clusters = xp.astype(_range(xp, k, labels), labels.dtype)
    return xp.astype(labels[:, None, :, :] == clusters[None, :, None, None], dtype)


def _products(xp: Any, weights: Array, gram: Array) -> Array:
    """Inner product of every item with every weighted sum of items: one matrix product a set."""
    s, k, r, n = weights.shape
    return xp.reshape(xp.matmul(xp.reshape(weights, (s, k * r, n)), gram), (s, k, r, n))


def _nearest(xp: Any, squares: Array, to_centres: Array, centre_squares: Array) -> Array:
    """Nearest centre of each item [s, r, n], ties to the lowest; a centre that gets no item takes the farthest one."""
    k = to_centres.shape[1]
    # |x - c|^2 = |x|^2 - 2 (x.c - |c|^2 / 2), so the largest bracket is the nearest centre.
    closeness = to_centres - (centre_squares / 2)[:, :, :, None]
    best = xp.max(closeness, axis=1)
    # The place of the first maximum: small integers vectorise many times better than argmax over a short outer axis.
    small = xp.int8 if k <= _MOST_IN_INT8 else xp.int16
    place_from_end = xp.astype(k - _range(xp, k, best), small)[None, :, None, None]
    is_best = xp.astype(closeness == best[:, None, :, :], small)
    labels = k - xp.max(is_best * place_from_end, axis=1)
    counts = xp.sum(_one_hot(xp, labels, k, closeness.dtype), axis=-1)
    is_short = xp.any(counts == 0, axis=1)  # [s, r]
    if xp.any(is_short):
        away = squares[:, None, :] - 2 * best
        labels[is_short] = _refilled(xp, labels[is_short], away[is_short], k)
    return labels


def _refilled(xp: Any, labels: Array, away: Array, k: int) -> Array:
    """Labels [m, n] without empty clusters: each takes the farthest item that is not alone, lowest cluster first."""
    clusters = xp.astype(_range(xp, k, labels), labels.dtype)
    rows = _range(xp, labels.shape[0], labels)
    while True:
        counts = xp.sum(xp.astype(labels[:, None, :] == clusters[None, :, None], xp.int64), axis=-1)  # [m, k]
        is_short = xp.any(counts == 0, axis=-1)
        if not xp.any(is_short):
            return labels
        is_alone = counts[rows[:, None], xp.astype(labels, xp.int64)] == 1
        farthest = xp.argmax(xp.where(is_alone, xp.full_like(away, -xp.inf), away), axis=-1)
        empty = xp.argmax(xp.astype(counts == 0, xp.int8), axis=-1)
        moved = xp.astype(empty, labels.dtype)
        labels[rows[is_short], farthest[is_short]] = moved[is_short]
        away[rows[is_short], farthest[is_short]] = 0  # it is its own centre now


def _sse(xp: Any, gram: Array, labels: Array, k: int) -> Array:
    """Sum of squared distances to the cluster means, [s, r]: all squares less n_k |mean_k|^2."""
    members = _one_hot(xp, labels, k, gram.dtype)
    explained = xp.vecdot(members, _products(xp, members, gram)) / xp.sum(members, axis=-1)
    sse = xp.sum(xp.linalg.diagonal(gram), axis=-1)[:, None] - xp.sum(explained, axis=1)
    return xp.where(sse > 0, sse, xp.zeros_like(sse))
