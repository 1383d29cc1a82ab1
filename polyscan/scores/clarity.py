"""Clarity (SemanticLens): how alike a unit's evidence is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float, Float64

from polyscan.scores.sample import LEAST_ITEMS, Evidence, Sample
from polyscan.stats.significance import Tail


@dataclass(frozen=True)
class Clarity:
    """Mean pairwise cosine of the embeddings: how alike the items are.

        clarity = (|sum e|^2 - sum |e|^2) / (n (n - 1)),  e the embeddings, whitened, at unit length

    Range: [-1 / (n - 1), 1].

    High means: the items look alike to the embedder.

    Blind to: whether unlike items fall into groups; a broad single concept and two narrow ones can have the same
    clarity. Use it to match units with null sets, not as a test.

    Source: Dreyer et al. 2025, "Mechanistic understanding and validation of large AI models with SemanticLens" (their
    code at 7779074). Departures: cosines are taken from the space's mean with its common directions shrunk, so that
    unrelated images have cosine 0, theirs from the origin of the embedding; a zero vector has cosine 0 to all, where
    their formula still subtracts 1 for it.
    """

    label: ClassVar[str] = "clarity"
    tail: ClassVar[Tail] = "lower"
    evidence: ClassVar[tuple[Evidence, ...]] = ("exemplars", "deflated", "visualizations")
    range: ClassVar[tuple[float, float]] = (-1.0, 1.0)

    def __call__(self, sample: Sample) -> float:
        """Clarity of one unit; NaN for fewer than 2 items."""
        return weighted_mean_cosine(sample.seen, np.ones(len(sample)))


def unit_vectors(vectors: Float[Any, "n d"]) -> Float64[np.ndarray, "n d"]:
    """Vectors at length 1 in float64; zero vectors stay zero."""
    vectors = np.asarray(vectors, dtype=np.float64)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1)


def weighted_mean_cosine(vectors: Float[np.ndarray, "n d"], weights: Float[np.ndarray, " n"]) -> float:
    """Mean of cos_ij over pairs i < j with weights w_i w_j >= 0, in linear time; NaN if no pair has weight.

    (|sum w e|^2 - sum w^2 |e|^2) / ((sum w)^2 - sum w^2), e the vectors at unit length; 0 for pairs with a zero vector.

    >>> weighted_mean_cosine(np.array([[2.0, 0.0], [0.0, 3.0]]), np.ones(2))
    0.0
    """
    if np.count_nonzero(weights) < LEAST_ITEMS:
        return math.nan
    weighted = unit_vectors(vectors) * (weights / np.max(weights))[:, None]
    squares = np.square(weights / np.max(weights))
    total = weighted.sum(axis=0)
    pairs = float(np.sum(weights / np.max(weights))) ** 2 - float(squares.sum())
    cosines = float(total @ total) - float(np.square(weighted).sum())
    return min(max(cosines / pairs, -1.0), 1.0)
