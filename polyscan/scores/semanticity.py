"""Semanticity (Alic et al. 2025): how many clusters a unit's evidence has, and how far apart they are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations
from typing import ClassVar

import numpy as np
from jaxtyping import Float64

from polyscan.scores.sample import LEAST_ITEMS, Evidence, KRule, Sample
from polyscan.stats.significance import Tail


@dataclass(frozen=True)
class Semanticity:
    """Noisy-or of the number of clusters and their separation.

    With I items in K clusters (k-means, K by BIC) of raw means c_i, m_i = |c_i|:

        C = (K - 1) / (I - 1)
        D = mean over pairs of  arccos(cos(c_i, c_j)) / pi  x  2 min(m_i, m_j) / (m_i + m_j)
        S = C + D - C D

    Range: [0, 1]; D stays under .5 if embeddings have no negative entries, such as pooled ReLU features.

    High means: many clusters, or clusters whose means point in different directions and are equally long.

    Blind to: how tight clusters are, and how many items each has. It depends on I through C, so values from different
    numbers of items are not comparable; and BIC splits single concepts on correlated embeddings: read it only together
    with its null.

    Source: Alic, Ramam, Ogle, Adusumilli, Wang & Gong 2025, "Quantifying polysemanticity in convolutional neural
    networks" (a namesake: Klindt et al. 2023, arXiv 2310.11431). Our choices where they are silent: the form of BIC
    (`stats.bic`); K = 1 gives D = 0 (there is no pair); a pair with a mean of length 0 adds 0, the limit of its weight.

    Args:
        k_rule: largest K to try: "default" I / 2, or "published" I - 1. The default is a departure.
    """

    label: ClassVar[str] = "semanticity"
    tail: ClassVar[Tail] = "upper"
    evidence: ClassVar[tuple[Evidence, ...]] = ("exemplars", "visualizations")
    range: ClassVar[tuple[float, float]] = (0.0, 1.0)

    k_rule: KRule = "default"

    def __post_init__(self) -> None:
        """Refuses an unknown rule."""
        if self.k_rule not in ("default", "published"):
            raise ValueError(f'`k_rule` must be "default" (K up to I / 2) or "published" (I - 1), got "{self.k_rule}"')

    def __call__(self, sample: Sample) -> float:
        """S of one unit; NaN for fewer than 2 items."""
        parts = self.parts(sample)
        return parts["c"] + parts["d"] - parts["c"] * parts["d"]

    def parts(self, sample: Sample) -> dict[str, float]:
        """C, D, the number of clusters k and of items i; c, d and k are NaN for fewer than 2 items."""
        n = len(sample)
        if n < LEAST_ITEMS:
            return {"c": math.nan, "d": math.nan, "k": math.nan, "i": float(n)}
        k = sample.best_k(self.k_rule)
        separation = _separation(sample.means(sample.clustering(k)))
        return {"c": (k - 1) / (n - 1), "d": separation, "k": float(k), "i": float(n)}


def _separation(means: Float64[np.ndarray, "k d"]) -> float:
    """D: mean over pairs of means of their angle, as a share of pi, times how equally long they are."""
    lengths = np.linalg.norm(means, axis=1)
    pairs = list(combinations(range(len(means)), 2))
    if not pairs:
        return 0.0
    return math.fsum(_pair(means[i], means[j], lengths[i], lengths[j]) for i, j in pairs) / len(pairs)


def _pair(a: Float64[np.ndarray, " d"], b: Float64[np.ndarray, " d"], a_length: float, b_length: float) -> float:
    if a_length == 0 or b_length == 0:
        return 0.0
    # For unit vectors, arctan2 of difference and sum keeps the digits that arccos loses near 0 and pi.
    a_unit, b_unit = a / a_length, b / b_length
    angle = 2 * math.atan2(float(np.linalg.norm(a_unit - b_unit)), float(np.linalg.norm(a_unit + b_unit)))
    return angle / math.pi * 2 * min(a_length, b_length) / (a_length + b_length)
