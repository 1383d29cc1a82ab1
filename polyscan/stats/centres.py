"""Centres of clusters of directions, and which of them is nearest."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float64, Int, Int64


def unit_length(vectors: Float[np.ndarray, "n d"]) -> Float64[np.ndarray, "n d"]:
    """The vectors scaled to length 1; a vector of zeros stays one.

    >>> unit_length(np.array([[3.0, 4.0], [0.0, 0.0]])).tolist()
    [[0.6, 0.8], [0.0, 0.0]]
    """
    vectors = np.asarray(vectors, dtype=np.float64)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)


def cluster_centres(vectors: Float[np.ndarray, "n d"], labels: Int[np.ndarray, " n"]) -> Float64[np.ndarray, "k d"]:
    """Mean direction of each cluster, of length 1; zeros for a label that no vector has.

    Args:
        vectors: of the clustered items; only their directions count.
        labels: the cluster of each, from 0.

    >>> cluster_centres(np.array([[2.0, 0.0], [0.0, 1.0], [0.0, 5.0]]), np.array([0, 1, 1])).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    members = np.equal.outer(np.arange(int(labels.max()) + 1), labels)
    return unit_length(members @ unit_length(vectors))


def nearest_centre(vectors: Float[np.ndarray, "n d"], centres: Float[np.ndarray, "k d"]) -> Int64[np.ndarray, " n"]:
    """The centre with the largest cosine to each vector; the first of equal ones.

    >>> nearest_centre(np.array([[1.0, 3.0]]), np.array([[1.0, 0.0], [0.0, 1.0]])).tolist()
    [1]
    """
    return (unit_length(vectors) @ np.asarray(centres, dtype=np.float64).T).argmax(axis=1)
