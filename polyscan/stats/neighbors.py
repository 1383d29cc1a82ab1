"""Nearest neighbours and k-means of large sets by FAISS: the one module that knows it.

Law: FAISS proposes, float64 decides. It searches in float32, on a GPU where there is one; the proposals' similarities
are then taken anew in float64, and a query whose last place is too close to call gets more proposals. So neighbours
depend neither on the device nor on threads nor on what other queries share the call. What can differ from machine to
machine is the order of two neighbours whose similarities lie within 1e-15 of the edge between two float32 numbers.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from types import ModuleType

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int64

from polyscan.errors import InstallError
from polyscan.stats.clustering import Clustering

_PACKAGES = ("faiss-cpu", "faiss-gpu")
_SPARE = 16
"""Proposals beyond k at first; eight times as many in each further round."""
_MOST_ON_GPU = 2048
"""Neighbours of one query that FAISS can select on a GPU."""
_GPU_BYTES = 2**30
"""Vectors that lie in the GPU's memory at a time; the pool stays where it is."""
_ROWS_AT_ONCE = 4096
_LEAST_MARGIN = 2.0**-22
_UNIT_TOLERANCE = 1e-3


@dataclass(frozen=True, eq=False)
class Neighbors:
    """The nearest vectors of a pool, best first; equal similarities by rising index.

    Args:
        index: rows of the pool.
        similarity: inner products with the query.
    """

    index: Int64[np.ndarray, "q k"]
    similarity: Float32[np.ndarray, "q k"]


def nearest(
    queries: Float[np.ndarray, "q d"], pool: Float[np.ndarray, "p d"], k: int, *, threads: int = 1
) -> Neighbors:
    """The `k` vectors of the pool with the largest inner product with each query; exact.

    Args:
        queries: vectors of length 1, or of length 0, which are equally near to all.
        pool: the same; a query that lies in the pool is its own neighbour.
        k: neighbours of each, 1 to p.
        threads: OpenMP threads for FAISS during the call. More than the process has cores to itself cost much time.

    Raises:
        InstallError: if FAISS is missing or installed twice.
        ValueError: if shapes disagree, `k` or `threads` is out of bounds, or a vector is not finite or of another
            length than 1 or 0.

    >>> nearest(np.eye(2)[:1], np.array([[0.0, 1.0], [1.0, 0.0], [0.6, 0.8]]), 2).index.tolist()
    [[1, 2]]
    """
    queries = _unit_rows("queries", queries)
    pool = _unit_rows("pool", pool)
    p = len(pool)
    if queries.shape[1] != pool.shape[1]:
        raise ValueError(f"queries and pool must be of one dimension, got {queries.shape[1]} and {pool.shape[1]}")
    if not 1 <= k <= p:
        raise ValueError(f"`k` must be in [1, {p}], the size of the pool, got {k}")
    index, similarity = np.empty((len(queries), k), dtype=np.int64), np.empty((len(queries), k), dtype=np.float32)
    left, wanted, spare = np.arange(len(queries)), min(k + _SPARE, p), _SPARE
    while len(left):
        with _pinned(threads):
            proposed = _proposals(queries[left], pool, wanted)
        found, is_sure = _decided(queries[left], pool, proposed, k)
        index[left], similarity[left] = found.index, found.similarity
        left, spare = left[~is_sure], 8 * spare
        wanted = min(k + spare, p)
    return Neighbors(index, similarity)


def kmeans_large(
    x: Float[np.ndarray, "n d"], k: int, *, seed: int, restarts: int = 10, iterations: int = 100, threads: int = 1
) -> Clustering:
    """Best of several runs of k-means of one large set, by FAISS; see `clustering.kmeans` for many small sets.

    k-means++ (Arthur & Vassilvitskii 2007), then Lloyd's iteration in float32 on all n vectors until the sum of squares
    stands still; a cluster that is empty in the end takes the vector farthest from its own centre. The sum of squares
    is taken in float64. The same seed gives the same bits on one machine and any number of threads; a GPU, or another
    version of FAISS, may stop in another local optimum.

    Args:
        x: the vectors.
        k: number of clusters, 1 to n.
        seed: 0 to 2**31 - 1.
        restarts: runs; the lowest sum of squares wins.
        iterations: most rounds of Lloyd's iteration.
        threads: OpenMP threads for FAISS during the call.

    Returns:
        A clustering of one set, s = 1; `held` is true, since no cluster is empty and more is not asked for.

    Raises:
        InstallError: if FAISS is missing or installed twice.
        ValueError: if `x` is no finite matrix, or a number is out of bounds.

    >>> kmeans_large(np.array([[0.0], [9.0], [9.1]]), 2, seed=0).labels.tolist()
    [[0, 1, 1]]
    """
    x = np.asarray(x, dtype=np.float64)
    _check_kmeans(x, k, seed, restarts, iterations)
    x = x - x.mean(axis=0)
    total = float((x * x).sum())
    if k == 1:
        return _of_one_set(np.zeros(len(x), dtype=np.int64), total)
    # Lengths are measured in the set's own root mean square, so float32 neither overflows nor vanishes.
    scaled = (x / np.sqrt(total / len(x)) if total > 0 else x).astype(np.float32)
    with _pinned(threads):
        away, labels = _trained(scaled, k, seed, restarts, iterations)
    labels = _renumbered(_refilled(labels, away, k))
    return _of_one_set(labels, _sse(x, labels, k))


@cache
def _faiss() -> ModuleType:
    """FAISS, once it is certain that it is there and only once.

    Imported late, so that a command that searches nothing neither waits for it nor fails without it.
    """
    installed = [name for name in _PACKAGES if _is_installed(name)]
    if len(installed) > 1:
        raise InstallError(
            f"{' and '.join(installed)} are both installed and overwrite each other's files; polyscan needs one of "
            f"them. Uninstall both, then install one: faiss-gpu on Linux x86-64, faiss-cpu elsewhere."
        )
    try:
        import faiss
    except ImportError as cause:
        got = f"{installed[0]} is installed but does not load" if installed else "FAISS is not installed"
        raise InstallError(
            f"{got} ({cause}); nearest neighbours need it. Install faiss-gpu on Linux x86-64, faiss-cpu elsewhere."
        ) from cause
    return faiss


def _is_installed(package: str) -> bool:
    try:
        distribution(package)
    except PackageNotFoundError:
        return False
    return True


@contextmanager
def _pinned(threads: int) -> Generator[None]:
    """FAISS on so many threads; what was set before is set again."""
    if threads < 1:
        raise ValueError(f"`threads` must be at least 1, got {threads}")
    faiss = _faiss()
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(threads)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def _unit_rows(name: str, vectors: Float[np.ndarray, "n d"]) -> Float32[np.ndarray, "n d"]:
    vectors = np.ascontiguousarray(vectors, dtype=np.float32)
    if vectors.ndim != 2:
        raise ValueError(f"`{name}` must be [n, d], got {vectors.shape}")
    lengths = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))
    is_wrong = ~((np.abs(lengths - 1) <= _UNIT_TOLERANCE) | (lengths == 0))
    if is_wrong.any():
        row = int(np.argmax(is_wrong))
        raise ValueError(
            f"`{name}` must be of length 1 or 0, got {lengths[row]:.4g} in row {row}; divide each by its length first"
        )
    return vectors


def _proposals(
    queries: Float32[np.ndarray, "q d"], pool: Float32[np.ndarray, "p d"], wanted: int
) -> tuple[Float32[np.ndarray, "q w"], Int64[np.ndarray, "q w"]]:
    """Similarities in float32 and indices, by FAISS; where the whole pool is wanted there is nothing to search."""
    faiss = _faiss()
    if wanted == len(pool):
        everything = np.broadcast_to(np.arange(wanted), (len(queries), wanted))
        return np.zeros(everything.shape, dtype=np.float32), everything
    if faiss.get_num_gpus() and wanted <= _MOST_ON_GPU:
        limits = {"vectorsMemoryLimit": _GPU_BYTES, "queriesMemoryLimit": _GPU_BYTES}
        return faiss.knn_gpu(_gpu(), queries, pool, wanted, metric=faiss.METRIC_INNER_PRODUCT, **limits)
    return faiss.knn(queries, pool, wanted, metric=faiss.METRIC_INNER_PRODUCT)


@cache
def _gpu() -> object:
    """FAISS's own scratch memory on the GPU, made once a process."""
    return _faiss().StandardGpuResources()


def _decided(
    queries: Float32[np.ndarray, "q d"],
    pool: Float32[np.ndarray, "p d"],
    proposed: tuple[Float32[np.ndarray, "q w"], Int64[np.ndarray, "q w"]],
    k: int,
) -> tuple[Neighbors, Bool[np.ndarray, " q"]]:
    """The best k of the proposals, and whether nothing that was not proposed can be among them."""
    rough, rows = proposed
    exact = np.stack([_similarities(query, pool, places) for query, places in zip(queries, rows, strict=True)])
    order = np.lexsort((rows, -exact), axis=-1)[:, :k]
    best = Neighbors(np.take_along_axis(rows, order, axis=1), np.take_along_axis(exact, order, axis=1))
    if rows.shape[1] == len(pool):
        return best, np.ones(len(queries), dtype=bool)
    # What was not proposed is at most as similar as the last proposal, give or take the search's own rounding.
    margin = max(4 * float(np.abs(rough - exact).max()), _LEAST_MARGIN)
    return best, best.similarity[:, -1] > rough[:, -1] + margin


def _similarities(
    query: Float32[np.ndarray, " d"], pool: Float32[np.ndarray, "p d"], rows: Int64[np.ndarray, " w"]
) -> Float32[np.ndarray, " w"]:
    """Inner products in float64, rounded once: equal vectors have equal ones, wherever they lie."""
    query = query.astype(np.float64)
    parts = [rows[start : start + _ROWS_AT_ONCE] for start in range(0, len(rows), _ROWS_AT_ONCE)]
    return np.concatenate([pool[part].astype(np.float64) @ query for part in parts]).astype(np.float32)


def _of_one_set(labels: Int64[np.ndarray, " n"], sse: float) -> Clustering:
    return Clustering(labels[None], np.array([sse]), held=np.array([True]))


def _check_kmeans(x: Float64[np.ndarray, "n d"], k: int, seed: int, restarts: int, iterations: int) -> None:
    if x.ndim != 2:
        raise ValueError(f"`x` must be [n, d], got {x.shape}")
    if not np.isfinite(x).all():
        raise ValueError(f"{int((~np.isfinite(x)).any(axis=1).sum())} of {len(x)} vectors are not finite; reject them")
    if not 1 <= k <= len(x):
        raise ValueError(f"`k` must be in [1, {len(x)}], the number of vectors, got {k}")
    if not 0 <= seed < 2**31:
        raise ValueError(f"`seed` must be in [0, 2**31), got {seed}")
    if min(restarts, iterations) < 1:
        raise ValueError(f"`restarts` and `iterations` must be at least 1, got {restarts} and {iterations}")


def _trained(
    x: Float32[np.ndarray, "n d"], k: int, seed: int, restarts: int, iterations: int
) -> tuple[Float32[np.ndarray, " n"], Int64[np.ndarray, " n"]]:
    """Squared distance to the nearest centre and its number."""
    faiss = _faiss()
    runs = faiss.Kmeans(
        x.shape[1],
        k,
        gpu=min(faiss.get_num_gpus(), 1),
        niter=iterations,
        nredo=restarts,
        seed=seed,
        init_method=faiss.ClusteringInitMethod_KMEANS_PLUS_PLUS,
        min_points_per_centroid=1,
        max_points_per_centroid=len(x),  # by default it would leave out all beyond 256 a cluster, in silence
    )
    runs.train(x)
    return runs.assign(x)


def _refilled(labels: Int64[np.ndarray, " n"], away: Float32[np.ndarray, " n"], k: int) -> Int64[np.ndarray, " n"]:
    """Labels without empty clusters: each takes the farthest vector that is not alone."""
    labels, away = labels.copy(), away.copy()
    for empty in np.flatnonzero(np.bincount(labels, minlength=k) == 0):
        is_alone = np.bincount(labels, minlength=k)[labels] == 1
        farthest = int(np.argmax(np.where(is_alone, -np.inf, away)))
        labels[farthest], away[farthest] = empty, 0
    return labels


def _renumbered(labels: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
    """Clusters numbered from 0 by first appearance."""
    _, first, cluster = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[cluster]


def _sse(x: Float64[np.ndarray, "n d"], labels: Int64[np.ndarray, " n"], k: int) -> float:
    return sum(float(((x[labels == c] - x[labels == c].mean(axis=0)) ** 2).sum()) for c in range(k))
