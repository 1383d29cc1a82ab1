"""Items placed in two dimensions by their cosines, for plots only: no score depends on it."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float64

LEAST_ITEMS = 3
ROUNDING = 1e-9
"""Share of the largest eigenvalue below which an axis is only rounding."""


def plane(cosines: Float[np.ndarray, "n n"]) -> Float64[np.ndarray, "n 2"]:
    """Classical scaling: the two axes along which the items' vectors differ most, those of the centred Gram matrix.

    Distances in the plane are at most the items' own, sqrt(2 - 2 cosine). Each axis points towards the item that
    lies furthest out on it, so that the same items give the same picture.

    Args:
        cosines: cosine of each pair of items.

    Returns:
        Coordinates around 0; all 0 for fewer than 3 items, and 0 along an axis without variance.

    Source: Torgerson 1952.
    """
    n = len(cosines)
    if n < LEAST_ITEMS:
        return np.zeros((n, 2))
    matrix = np.asarray(cosines, dtype=np.float64)
    centred = matrix - matrix.mean(axis=0) - matrix.mean(axis=1)[:, None] + matrix.mean()
    values, vectors = np.linalg.eigh((centred + centred.T) / 2)
    values, vectors = values[:-3:-1], vectors[:, :-3:-1]
    values = np.where(values > ROUNDING * max(values[0], 1e-30), values, 0.0)
    furthest = vectors[np.abs(vectors).argmax(axis=0), [0, 1]]
    return vectors * np.sqrt(np.maximum(values, 0)) * np.where(furthest < 0, -1.0, 1.0)
