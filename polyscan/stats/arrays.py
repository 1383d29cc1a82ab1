"""The arrays that statistics compute on, and checks that several of them share."""

from __future__ import annotations

from typing import Any, TypeAlias

import array_api_compat

Array: TypeAlias = Any
"""numpy.ndarray, or torch.Tensor where a stage computes on a GPU; both are used through the array API standard."""


def integers(xp: Any, stop: int, like: Array) -> Array:
    """0 up to, not including, `stop` as int64, on the device of another array."""
    return xp.arange(stop, dtype=xp.int64, device=array_api_compat.device(like))  # pyright: ignore[reportUnknownMemberType]


def check_clustering(name: str, matrices: Array, *, remedy: str, k: int, uniforms: Array, least_k: int = 1) -> None:
    """Refuses shapes that do not belong to one clustering of many sets.

    Args:
        name: what error messages call the matrices.
        matrices: one square matrix [n, n] per set.
        remedy: how to make such matrices, for the error message.
        k: number of clusters.
        uniforms: draws, one per set, run and cluster.
        least_k: smallest number of clusters allowed.

    Raises:
        ValueError: if matrices or draws have another shape, or `k` is out of bounds.
    """
    match tuple(matrices.shape):
        case (s, n, m) if n == m:
            pass
        case shape:
            raise ValueError(f"`{name}` must be [s, n, n], got {shape}; {remedy}")
    if not least_k <= k <= n:
        raise ValueError(f"`k` must be in [{least_k}, {n}], the number of items, got {k}")
    match tuple(uniforms.shape):
        case (sets, runs, clusters) if sets == s and runs >= 1 and clusters == k:
            pass
        case shape:
            raise ValueError(f"`uniforms` must be [{s}, runs, {k}] with at least one run, got {shape}")
