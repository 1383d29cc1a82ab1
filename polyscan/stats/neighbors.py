"""Nearest neighbours and k-means of large sets with FAISS; no other module uses it.

Law: FAISS proposes, float64 decides. FAISS searches in float32, on a GPU if there is one; the similarities of its
proposals are then recomputed in float64, and a query whose last place is too close to call gets more proposals. So
neighbours depend neither on the device nor on threads nor on the other queries of the call. Only the order of two
neighbours can differ between machines, if their similarities lie within 1e-15 of the edge between two float32 numbers.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, distribution
from types import ModuleType
from typing import Any, Protocol, TypeAlias

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int64

from polyscan.errors import InstallError
from polyscan.stats.clustering import Clustering, renumbered

_PACKAGES = ("faiss-cpu", "faiss-gpu")
_SPARE = 16
"""Proposals beyond k in the first round; eight times as many in each further round."""
_MOST_ON_GPU = 2048
"""Most neighbours of one query that FAISS can select on a GPU."""
_GPU_BYTES = 2**30
"""Bytes of vectors in the GPU's memory at a time; the pool itself stays in main memory."""
_ROWS_AT_ONCE = 4096
_LEAST_MARGIN = 2.0**-22
_UNIT_TOLERANCE = 1e-3
Proposals: TypeAlias = tuple[Float32[np.ndarray, "q w"], Int64[np.ndarray, "q w"]]
"""Similarities in float32, and rows of the pool, best first."""


class Propose(Protocol):
    """Proposes `count` vectors of the pool for each query."""

    def __call__(self, queries: Float32[np.ndarray, "q d"], *, count: int) -> Proposals:
        """The proposals."""
        ...


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
        pool: the same; a query that is in the pool is its own neighbour.
        k: neighbours per query, 1 to p.
        threads: OpenMP threads for FAISS during the call. More threads than the process has cores are much slower.

    Raises:
        InstallError: if FAISS is missing or installed twice.
        ValueError: if shapes disagree, `k` or `threads` is out of bounds, or a vector is not finite or of another
            length than 1 or 0.

    >>> nearest(np.eye(2)[:1], np.array([[0.0, 1.0], [1.0, 0.0], [0.6, 0.8]]), 2).index.tolist()
    [[1, 2]]
    """
    pool = _unit_rows("pool", pool)
    return _nearest(_unit_rows("queries", queries), pool, k, threads, partial(_proposals, pool=pool))


class VectorIndex:
    """A pool that is searched many times: checked once, and kept on the GPU where FAISS has one.

    Args:
        pool: vectors of length 1, or of length 0, which are equally near to all.
        threads: OpenMP threads for FAISS during a search.

    Raises:
        InstallError: if FAISS is missing or installed twice.
        ValueError: if a vector is not finite or of another length than 1 or 0.

    >>> VectorIndex(np.eye(3)).nearest(np.eye(3)[1:2], 1).index.tolist()
    [[1]]
    """

    def __init__(self, pool: Float[np.ndarray, "p d"], *, threads: int = 1) -> None:
        self._pool = _unit_rows("pool", pool)
        self._threads = threads
        self._on_gpu = self._resident() if _faiss().get_num_gpus() and len(self._pool) else None

    def __len__(self) -> int:
        return len(self._pool)

    def nearest(self, queries: Float[np.ndarray, "q d"], k: int) -> Neighbors:
        """The `k` vectors of the pool with the largest inner product with each query; exact, as `nearest`.

        Raises:
            ValueError: as `nearest`.
        """
        return _nearest(_unit_rows("queries", queries), self._pool, k, self._threads, self._proposed)

    def _resident(self) -> Any:
        """The pool in the GPU's memory."""
        faiss = _faiss()
        index = faiss.GpuIndexFlatIP(_gpu(), self._pool.shape[1])
        index.add(self._pool)
        return index

    def _proposed(self, queries: Float32[np.ndarray, "q d"], *, count: int) -> Proposals:
        if self._on_gpu is None or not count <= _MOST_ON_GPU or count == len(self._pool):
            return _proposals(queries, pool=self._pool, count=count)
        return self._on_gpu.search(queries, count)


def _nearest(
    queries: Float32[np.ndarray, "q d"], pool: Float32[np.ndarray, "p d"], k: int, threads: int, propose: Propose
) -> Neighbors:
    """The nearest of the proposals; a query that is too close to call gets more of them."""
    _check_search(queries, pool, k)
    index, similarity = np.empty((len(queries), k), dtype=np.int64), np.empty((len(queries), k), dtype=np.float32)
    undecided, spare = np.arange(len(queries)), _SPARE
    while len(undecided):
        with _pinned(threads):
            proposals = propose(queries[undecided], count=min(k + spare, len(pool)))
        best, is_sure = _best(queries[undecided], pool, proposals, k)
        index[undecided], similarity[undecided] = best.index, best.similarity
        undecided, spare = undecided[~is_sure], 8 * spare
    return Neighbors(index, similarity)


def kmeans_large(
    x: Float[np.ndarray, "n d"], k: int, *, seed: int, restarts: int = 10, iterations: int = 100, threads: int = 1
) -> Clustering:
    """Best of several runs of k-means of one large set, with FAISS; see `clustering.kmeans` for many small sets.

    k-means++ (Arthur & Vassilvitskii 2007), then Lloyd's iteration in float32 on all n vectors until the sum of squares
    no longer changes; a cluster that is empty at the end takes the vector farthest from its centre. The sum of squares
    is computed in float64. The same seed gives the same bits on one machine and any number of threads; a GPU, or
    another version of FAISS, may stop in another local optimum.

    Args:
        x: the vectors.
        k: number of clusters, 1 to n.
        seed: 0 to 2**31 - 1.
        restarts: number of runs; the lowest sum of squares wins.
        iterations: maximum number of rounds of Lloyd's iteration.
        threads: OpenMP threads for FAISS during the call.

    Returns:
        A clustering of one set, s = 1; `held` is true: no cluster is empty, and no larger minimum is required.

    Raises:
        InstallError: if FAISS is missing or installed twice.
        ValueError: if `x` is not a finite matrix, or a number is out of bounds.

    >>> kmeans_large(np.array([[0.0], [9.0], [9.1]]), 2, seed=0).labels.tolist()
    [[0, 1, 1]]
    """
    x = np.asarray(x, dtype=np.float64)
    _check_kmeans(x, k, seed, restarts, iterations)
    x = x - x.mean(axis=0)
    total = float((x * x).sum())
    if k == 1:
        return _of_one_set(np.zeros(len(x), dtype=np.int64), total)
    # Lengths are divided by the set's root mean square, so that float32 neither overflows nor underflows.
    scaled = (x / np.sqrt(total / len(x)) if total > 0 else x).astype(np.float32)
    with _pinned(threads):
        distances, labels = _trained(scaled, k, seed, restarts, iterations)
    labels = renumbered(_refilled(labels, distances, k)[None], k)[0]
    return _of_one_set(labels, _sse(x, labels, k))


@cache
def _faiss() -> ModuleType:
    """The FAISS module, if exactly one of its packages is installed.

    Imported on first use, so that a command without a search neither waits for it nor fails without it.
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
    """Sets the number of FAISS's threads and restores it afterwards."""
    if threads < 1:
        raise ValueError(f"`threads` must be at least 1, got {threads}")
    faiss = _faiss()
    n_before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(threads)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(n_before)


def _check_search(queries: Float32[np.ndarray, "q _"], pool: Float32[np.ndarray, "p _"], k: int) -> None:
    if queries.shape[1] != pool.shape[1]:
        raise ValueError(f"queries and pool must be of one dimension, got {queries.shape[1]} and {pool.shape[1]}")
    if not 1 <= k <= len(pool):
        raise ValueError(f"`k` must be in [1, {len(pool)}], the size of the pool, got {k}")


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


def _proposals(queries: Float32[np.ndarray, "q d"], *, pool: Float32[np.ndarray, "p d"], count: int) -> Proposals:
    """Similarities in float32 and indices, by FAISS; without a search if the whole pool is requested."""
    faiss = _faiss()
    if count == len(pool):
        everything = np.broadcast_to(np.arange(count), (len(queries), count))
        return np.zeros(everything.shape, dtype=np.float32), everything
    if faiss.get_num_gpus() and count <= _MOST_ON_GPU:
        limits = {"vectorsMemoryLimit": _GPU_BYTES, "queriesMemoryLimit": _GPU_BYTES}
        return faiss.knn_gpu(_gpu(), queries, pool, count, metric=faiss.METRIC_INNER_PRODUCT, **limits)
    return faiss.knn(queries, pool, count, metric=faiss.METRIC_INNER_PRODUCT)


@cache
def _gpu() -> object:
    """FAISS's scratch memory on the GPU, made once per process."""
    return _faiss().StandardGpuResources()


def _best(
    queries: Float32[np.ndarray, "q d"],
    pool: Float32[np.ndarray, "p d"],
    proposals: Proposals,
    k: int,
) -> tuple[Neighbors, Bool[np.ndarray, " q"]]:
    """The best k of the proposals, and whether no vector outside the proposals can belong to them."""
    rough, rows = proposals
    exact = np.stack([_similarities(query, pool, places) for query, places in zip(queries, rows, strict=True)])
    order = np.lexsort((rows, -exact), axis=-1)[:, :k]
    best = Neighbors(np.take_along_axis(rows, order, axis=1), np.take_along_axis(exact, order, axis=1))
    if rows.shape[1] == len(pool):
        return best, np.ones(len(queries), dtype=bool)
    # A vector outside the proposals is at most as similar as the last proposal, up to the rounding of the search.
    margin = max(4 * float(np.abs(rough - exact).max()), _LEAST_MARGIN)
    return best, best.similarity[:, -1] > rough[:, -1] + margin


def _similarities(
    query: Float32[np.ndarray, " d"], pool: Float32[np.ndarray, "p d"], rows: Int64[np.ndarray, " w"]
) -> Float32[np.ndarray, " w"]:
    """Inner products in float64, rounded once, so that equal vectors have equal similarities."""
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
    """Squared distance of each vector to its nearest centre, and the number of that centre."""
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
        max_points_per_centroid=len(x),  # the default silently leaves out all beyond 256 per cluster
    )
    runs.train(x)
    return runs.assign(x)


def _refilled(labels: Int64[np.ndarray, " n"], distances: Float32[np.ndarray, " n"], k: int) -> Int64[np.ndarray, " n"]:
    """Labels without empty clusters: each takes the farthest vector that is not alone."""
    labels, distances = labels.copy(), distances.copy()
    for empty in np.flatnonzero(np.bincount(labels, minlength=k) == 0):
        is_alone = np.bincount(labels, minlength=k)[labels] == 1
        farthest = int(np.argmax(np.where(is_alone, -np.inf, distances)))
        labels[farthest], distances[farthest] = empty, 0
    return labels


def _sse(x: Float64[np.ndarray, "n d"], labels: Int64[np.ndarray, " n"], k: int) -> float:
    return sum(float(((x[labels == c] - x[labels == c].mean(axis=0)) ** 2).sum()) for c in range(k))
