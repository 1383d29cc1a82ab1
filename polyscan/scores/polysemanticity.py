"""Polysemanticity as published with SemanticLens: how far apart two clusters of a unit's evidence are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float64

from polyscan.scores.clarity import unit_vectors
from polyscan.scores.sample import LEAST_ITEMS, Evidence, Sample
from polyscan.stats.significance import Tail

_LEAST_MEMBERS = 2
_STRONGEST = 10


@dataclass(frozen=True)
class Polysemanticity:
    """One minus the cosine between the means of two k-means clusters of the raw embeddings.

        P = 1 - cos(c_1, c_2)

    If the smaller cluster has fewer than 2 members, it is an outlier rather than a meaning, and

        P = 1 - mean over the 10 items of highest activation of cos(v_i, mean of all v)

    Range: [0, 2].

    High means: the evidence can be cut into two parts that point in different directions.

    Blind to: whether there *are* two parts. Any set is cut in two: Gaussian noise around 0 scores above 1, more than
    two clean orthogonal clusters do. Without a null it says nothing. Also blind to a third concept and cluster sizes.

    Source: Dreyer et al. 2025, "Mechanistic understanding and validation of large AI models with SemanticLens", and for
    the special case their code (7779074), which takes the first 10 references; ours are the strongest 10, the same
    if references are sorted. Departure: k-means of `stats.clustering`; a mean of length 0 has cosine 0 to all.
    """

    label: ClassVar[str] = "polysemanticity (SemanticLens)"
    tail: ClassVar[Tail] = "upper"
    evidence: ClassVar[tuple[Evidence, ...]] = ("exemplars", "visualizations")
    range: ClassVar[tuple[float, float]] = (0.0, 2.0)

    def __call__(self, sample: Sample) -> float:
        """P of one unit; NaN for fewer than 2 items."""
        if len(sample) < LEAST_ITEMS:
            return math.nan
        if sample.n_distinct < LEAST_ITEMS or sample.clustering(2).sizes.min() < _LEAST_MEMBERS:
            return 1 - _mean_cosine_to_mean(sample)
        a, b = unit_vectors(sample.means(sample.clustering(2)))
        return 1 - _bounded(a @ b)


def _mean_cosine_to_mean(sample: Sample) -> float:
    """Mean cosine of the strongest items with the mean of all; equal activations keep their order."""
    vectors: Float64[np.ndarray, "n d"] = sample.embeddings.astype(np.float64)
    strongest = np.argsort(-sample.activations, kind="stable")[:_STRONGEST]
    centre = unit_vectors(vectors.mean(axis=0, keepdims=True))[0]
    return _bounded((unit_vectors(vectors[strongest]) @ centre).mean())


def _bounded(cosine: float) -> float:
    return min(max(float(cosine), -1.0), 1.0)
