"""Cosine matrices of many sets, and statistics of them that need no clusters."""

from __future__ import annotations

from typing import Any

import array_api_compat
from jaxtyping import Float

from polyscan.stats.arrays import Array


def cosines(x: Float[Array, "s n d"], origin: Float[Array, " d"] | None = None) -> Float[Array, "s n n"]:
    """Cosine of every pair of each set's vectors, seen from `origin` (from 0 if it is None); float64.

    A vector that equals the origin has cosine 0 to all, itself included.

    >>> import numpy as np
    >>> cosines(np.array([[[3.0, 4.0], [0.0, 2.0]]])).round(3).tolist()
    [[[1.0, 0.8], [0.8, 1.0]]]
    """
    xp = array_api_compat.array_namespace(x)
    x = xp.astype(x, xp.float64)
    if origin is not None:
        x = x - xp.astype(origin, xp.float64)
    # Divided by the largest entry first, so that no square overflows or underflows.
    x = _divided(xp, x, xp.max(xp.abs(x), axis=-1, keepdims=True))
    x = _divided(xp, x, xp.sqrt(xp.vecdot(x, x))[:, :, None])
    return xp.matmul(x, xp.matrix_transpose(x))


def clarity(cosines: Float[Array, "s n n"]) -> Float[Array, " s"]:
    """Mean cosine of the pairs of each set; NaN for a set of one item.

    Range: [-1 / (n - 1), 1].

    Source: Dreyer et al. 2025, "Mechanistic understanding and validation of large AI models with SemanticLens".
    """
    xp = array_api_compat.array_namespace(cosines)
    s, n = shape_of(cosines)
    if n < 2:
        return xp.full((s,), xp.nan, dtype=xp.float64, device=array_api_compat.device(cosines))
    pairs = xp.sum(xp.sum(cosines, axis=-1), axis=-1) - xp.sum(xp.linalg.diagonal(cosines), axis=-1)
    return pairs / (n * (n - 1))


def centred(cosines: Float[Array, "s n n"]) -> Float[Array, "s n n"]:
    """Inner products of each set's unit vectors minus their mean, as k-means needs them."""
    xp = array_api_compat.array_namespace(cosines)
    means = xp.mean(cosines, axis=-1)
    return cosines - means[:, :, None] - means[:, None, :] + xp.mean(means, axis=-1)[:, None, None]


def size_of_one(cosines: Float[Array, "n n"]) -> int:
    """Number of items of one set's cosine matrix.

    Raises:
        ValueError: if it is not a square matrix, or not finite.
    """
    match tuple(cosines.shape):
        case (n, m) if n == m:
            pass
        case shape:
            raise ValueError(f"`cosines` must be [n, n], the matrix of one set, got {shape}")
    xp = array_api_compat.array_namespace(cosines)
    n_bad = n * n - int(xp.count_nonzero(xp.isfinite(cosines)))
    if n_bad:
        raise ValueError(f"{n_bad} of {n * n} cosines are not finite. Reject their items first")
    return n


def shape_of(cosines: Array) -> tuple[int, int]:
    """Number of sets and of items of a batch of cosine matrices.

    Raises:
        ValueError: if the batch has another shape.
    """
    match tuple(cosines.shape):
        case (s, n, m) if n == m and n > 0:
            return s, n
        case shape:
            raise ValueError(f"`cosines` must be [s, n, n], got {shape}; make it with `cosines(x)` from [s, n, d]")


def _divided(xp: Any, x: Array, by: Array) -> Array:
    """Quotient, 0 where the divisor is 0."""
    return xp.where(by > 0, x, 0.0) / xp.where(by > 0, by, 1.0)
