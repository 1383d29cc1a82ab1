"""k-means of many small sets at once, in the space of their Gram matrices.

A set of n vectors in d dimensions is given by its n x n matrix of inner products alone, so an iteration costs n^2 k
instead of n d k, and all restarts of a set are one matrix product. Works on numpy arrays and on torch tensors.

Law: the shapes of all operations on a set depend on (n, k, restarts) alone, so with numpy its result is the same to the
last bit whatever other sets share the batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import array_api_compat
from jaxtyping import Bool, Float, Int

from polyscan.stats.arrays import Array, check_clustering, integers
from polyscan.stats.kmeans_plus_plus import kmeans_plus_plus

_SETS_AT_ONCE_CPU = 32
"""Sets per iteration on a CPU: few enough for the cache. The result does not depend on it."""
_MOST_IN_INT8 = 127


@dataclass(frozen=True, eq=False)
class Clustering:
    """One partition of each of `s` sets.

    Args:
        labels: cluster of each item, numbered from 0 by first appearance; no number is skipped.
        sse: sum of squared distances to the cluster means, float64, in the squared unit of the vectors.
        held: whether every cluster has at least the requested number of items.
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

    Seeding is k-means++ (Arthur & Vassilvitskii 2007), greedy over a few candidates per centre; then Lloyd's
    iteration until no label of the set changes. An empty cluster takes the item that is farthest from its centre. The
    run with the lowest sum of squares wins, ties go to the lowest run; runs with a cluster of fewer than `least` items
    count only if the set has no other run. Labels are computed in float32, sums of squares in float64.

    Args:
        gram: inner products of centred vectors, as `gram` makes them.
        k: number of clusters, 1 to n. With fewer distinct vectors, equal vectors get different clusters.
        uniforms: draws in [0, 1), one per restart and centre. Make them from the unit's seed, never from the batch.
        iterations: maximum number of rounds of Lloyd's iteration.
        least: smallest number of items that a cluster should have.

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
    chunks = [slice(start, start + step) for start in range(0, s, step)]
    parts = [_best_of(xp, gram[c, :, :], k, uniforms[c, :, :], iterations=iterations, least=least) for c in chunks]
    return _concatenated(xp, parts)


def renumbered(labels: Int[Array, "s n"], k: int) -> Int[Array, "s n"]:
    """Clusters numbered by first appearance; each of the k must occur."""
    xp = array_api_compat.array_namespace(labels)
    clusters = xp.astype(integers(xp, k, labels), labels.dtype)
    members = xp.astype(labels[:, None, :] == clusters[None, :, None], xp.int8)
    number = xp.argsort(xp.argsort(xp.argmax(members, axis=-1), axis=-1), axis=-1)  # [s, k]
    return number[integers(xp, labels.shape[0], labels)[:, None], xp.astype(labels, xp.int64)]


def _check(gram: Array, k: int, uniforms: Array, iterations: int, least: int) -> None:
    check_clustering("gram", gram, remedy="make it with `gram(x)` from [s, n, d]", k=k, uniforms=uniforms)
    if iterations < 1:
        raise ValueError(f"`iterations` must be at least 1, got {iterations}")
    if least < 1:
        raise ValueError(f"`least` must be at least 1, got {least}: clusters are never empty")


def _full(xp: Any, shape: tuple[int, ...], value: int, like: Array) -> Array:
    return xp.full(shape, value, dtype=xp.int64, device=array_api_compat.device(like))  # pyright: ignore[reportUnknownMemberType]


def _concatenated(xp: Any, parts: list[Clustering]) -> Clustering:
    """Clusterings of consecutive sets as one."""
    return Clustering(
        labels=xp.concat([p.labels for p in parts], axis=0),
        sse=xp.concat([p.sse for p in parts], axis=0),
        held=xp.concat([p.held for p in parts], axis=0),
    )


def _best_of(xp: Any, gram: Array, k: int, uniforms: Array, *, iterations: int, least: int) -> Clustering:
    """`kmeans` of one chunk of sets, for k >= 2."""
    exact = xp.astype(gram, xp.float64)
    total = xp.sum(xp.linalg.diagonal(exact), axis=-1)
    # Lengths are divided by the set's root mean square, so that float32 neither overflows nor underflows.
    mean_square = xp.where(total > 0, total / gram.shape[1], xp.ones_like(total))
    scaled = xp.astype(exact / mean_square[:, None, None], xp.float32)
    labels = _lloyd(xp, scaled, kmeans_plus_plus(scaled, xp.astype(uniforms, xp.float32)), iterations)  # [s, r, n]
    sse = _sse(xp, exact, labels, k)
    held = xp.all(xp.sum(_one_hot(xp, labels, k, xp.int64), axis=-1) >= least, axis=1)  # [s, r]
    is_held = xp.any(held, axis=-1)
    may_win = held | ~is_held[:, None]
    best = xp.argmin(xp.where(may_win, sse, xp.full_like(sse, xp.inf)), axis=-1)
    sets = integers(xp, gram.shape[0], gram)
    return Clustering(renumbered(labels[sets, best], k), sse[sets, best], is_held)


def _lloyd(xp: Any, gram: Array, seeds: Array, iterations: int) -> Array:
    """Labels [s, r, n] after Lloyd's iteration from seeds [s, k, r]; a set is done when none of its runs changes."""
    squares = xp.linalg.diagonal(gram)
    live = integers(xp, gram.shape[0], gram)
    sets = live[:, None, None]
    labels = _nearest(xp, squares, gram[sets, seeds], squares[sets, seeds])
    final = labels
    for _ in range(iterations):
        new = _reassigned(xp, gram, squares, labels, seeds.shape[1])
        is_moving = xp.any(xp.reshape(new != labels, (new.shape[0], -1)), axis=-1)
        final[live] = new
        if not xp.any(is_moving):
            break
        labels = new
        if not xp.all(is_moving):
            live, labels, gram, squares = (a[is_moving] for a in (live, new, gram, squares))
    return final


def _reassigned(xp: Any, gram: Array, squares: Array, labels: Array, k: int) -> Array:
    """Labels [s, r, n] by the nearest mean of the clusters that `labels` make."""
    means = _one_hot(xp, labels, k, gram.dtype)
    means /= xp.sum(means, axis=-1, keepdims=True)
    to_means = _products(xp, means, gram)
    return _nearest(xp, squares, to_means, xp.vecdot(means, to_means))


def _one_hot(xp: Any, labels: Array, k: int, dtype: Any) -> Array:
    """[s, r, n] -> [s, k, r, n], 1 where the item is in the cluster."""
    clusters = xp.astype(integers(xp, k, labels), labels.dtype)
    return xp.astype(labels[:, None, :, :] == clusters[None, :, None, None], dtype)


def _products(xp: Any, weights: Array, gram: Array) -> Array:
    """Inner product of every item with every weighted sum of items: one matrix product per set."""
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
    place_from_end = xp.astype(k - integers(xp, k, best), small)[None, :, None, None]
    is_best = xp.astype(closeness == best[:, None, :, :], small)
    labels = k - xp.max(is_best * place_from_end, axis=1)
    counts = xp.sum(_one_hot(xp, labels, k, closeness.dtype), axis=-1)
    is_short = xp.any(counts == 0, axis=1)  # [s, r]
    if xp.any(is_short):
        distances = squares[:, None, :] - 2 * best
        labels[is_short] = _refilled(xp, labels[is_short], distances[is_short], k)
    return labels


def _refilled(xp: Any, labels: Array, distances: Array, k: int) -> Array:
    """Labels [m, n] without empty clusters: each takes the farthest item that is not alone, lowest cluster first."""
    clusters = xp.astype(integers(xp, k, labels), labels.dtype)
    rows = integers(xp, labels.shape[0], labels)
    while True:
        counts = xp.sum(xp.astype(labels[:, None, :] == clusters[None, :, None], xp.int64), axis=-1)  # [m, k]
        is_short = xp.any(counts == 0, axis=-1)
        if not xp.any(is_short):
            return labels
        is_alone = counts[rows[:, None], xp.astype(labels, xp.int64)] == 1
        farthest = xp.argmax(xp.where(is_alone, xp.full_like(distances, -xp.inf), distances), axis=-1)
        empty = xp.argmax(xp.astype(counts == 0, xp.int8), axis=-1)
        new = xp.astype(empty, labels.dtype)
        labels[rows[is_short], farthest[is_short]] = new[is_short]
        distances[rows[is_short], farthest[is_short]] = 0  # it is its own centre now


def _sse(xp: Any, gram: Array, labels: Array, k: int) -> Array:
    """Sum of squared distances to the cluster means, [s, r]: all squares minus n_k |mean_k|^2."""
    members = _one_hot(xp, labels, k, gram.dtype)
    explained = xp.vecdot(members, _products(xp, members, gram)) / xp.sum(members, axis=-1)
    sse = xp.sum(xp.linalg.diagonal(gram), axis=-1)[:, None] - xp.sum(explained, axis=1)
    return xp.where(sse > 0, sse, xp.zeros_like(sse))
