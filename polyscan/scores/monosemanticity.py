"""Monosemanticity (Pach et al. 2025): how alike the evidence is, weighted by the unit's activations."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from polyscan.scores.clarity import weighted_mean_cosine
from polyscan.scores.sample import Evidence, Sample
from polyscan.stats.significance import Tail


@dataclass(frozen=True)
class Monosemanticity:
    """Mean pairwise cosine, each pair weighted by both activations.

        MS = sum_(i<j) a_i a_j cos_ij / sum_(i<j) a_i a_j,  a = (activation - min) / (max - min)

    with min and max over all images; in linear time as (|sum a e|^2 - sum a^2) / ((sum a)^2 - sum a^2), e of unit
    length.

    Range: [-1, 1].

    High means: images that activate the unit look alike: one concept.

    Blind to: the same as `clarity`. At the top of a unit's range all weights are nearly 1, and MS is nearly clarity.

    Source: Pach et al. 2025, "Sparse autoencoders learn monosemantic features in vision-language models", arXiv
    2504.02821. Departure: sums are over the unit's evidence, not over all images; the scaling is theirs. Not defined on
    visualizations, whose activations lie outside the range of the images. NaN if fewer than two items have weight,
    or max = min.
    """

    label: ClassVar[str] = "monosemanticity"
    tail: ClassVar[Tail] = "lower"
    evidence: ClassVar[tuple[Evidence, ...]] = ("exemplars",)
    range: ClassVar[tuple[float, float]] = (-1.0, 1.0)

    def __call__(self, sample: Sample) -> float:
        """MS of one unit; NaN for fewer than 2 items and on visualizations."""
        span = sample.activation_max - sample.activation_min
        if sample.evidence not in self.evidence or span == 0:
            return math.nan
        return weighted_mean_cosine(
            sample.embeddings, (sample.activations.astype(np.float64) - sample.activation_min) / span
        )
