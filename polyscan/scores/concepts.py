"""Concepts that clusters may represent: label prototypes, or words in a joint space of images and text."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from jaxtyping import Float, Float64, Int64

PAIRS = 10_000


class Concepts:
    """Vectors of concepts in one space, centred and of unit length.

    Args:
        vectors: one per concept, centred.
        labels: class index of each concept, -1 for a concept that is not a class.
        names: name of each concept.
    """

    def __init__(
        self, vectors: Float[np.ndarray, "m d"], labels: Int64[np.ndarray, " m"], names: Sequence[str]
    ) -> None:
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        self.vectors: Float64[np.ndarray, "m d"] = vectors.astype(np.float64) / np.where(lengths > 0, lengths, 1)
        self.labels = labels
        self.names = tuple(names)
        self._place = {int(label): row for row, label in enumerate(labels) if label >= 0}

    def __len__(self) -> int:
        return len(self.vectors)

    @cached_property
    def reference(self) -> float:
        """d_ref: median of 1 - cosine over random pairs of concepts; over all pairs if these are few."""
        m = len(self)
        if m * (m - 1) // 2 <= PAIRS:
            first, second = np.triu_indices(m, k=1)
        else:
            generator = np.random.default_rng(0)
            first = generator.integers(m, size=PAIRS)
            second = (first + 1 + generator.integers(m - 1, size=PAIRS)) % m
        return float(np.median(1 - np.sum(self.vectors[first] * self.vectors[second], axis=1)))

    def of_labels(self, labels: Int64[np.ndarray, " n"]) -> Float64[np.ndarray, "n d"]:
        """Vector of each label; zero for a label without a concept."""
        vectors = np.zeros((len(labels), self.vectors.shape[1]))
        for row, label in enumerate(labels.tolist()):
            if (place := self._place.get(label)) is not None:
                vectors[row] = self.vectors[place]
        return vectors
