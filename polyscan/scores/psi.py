"""The polysemanticity index: three parts, each adjusted for chance, and their product.

Not a score of the registry: its first part needs the null's mean, so it is made where scores meet their null, and its p
comes from the joint null: one null set goes through all three parts.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64

PARTS = ("silhouette", "alignment", "distinctness")
"""The scores that it is made of, and `distinctness_words` in place of the last for the open vocabulary."""


class Psi(NamedTuple):
    """PSI of `u` units and its parts, each in [0, 1]; NaN where a part is absent."""

    s: Float64[np.ndarray, " u"]
    q: Float64[np.ndarray, " u"]
    d: Float64[np.ndarray, " u"]
    psi: Float64[np.ndarray, " u"]


def psi(
    silhouette: Float[np.ndarray, " u"],
    silhouette_mean: Float[np.ndarray, " u"],
    alignment: Float[np.ndarray, " u"],
    distinctness: Float[np.ndarray, " u"],
) -> Psi:
    """PSI = S Q D, with S = (s - E0[s]) / (1 - E0[s]) and Q and D as their scores give them, each clipped to [0, 1].

    0 is what chance gives, 1 is perfect. A unit that mixes two things without names has D near 0 and so PSI near 0.

    Args:
        silhouette: s, at the best 2 to 5 clusters, ungated.
        silhouette_mean: E0[s], what the null gives at the unit's clarity.
        alignment: Q.
        distinctness: D.

    Source: ours, after the abstract of Gupta & Kumar 2025, "Disentangling polysemantic neurons with a null-calibrated
    polysemanticity index and causal patch interventions", arXiv 2508.16950, whose method section was not available.

    >>> psi(np.array([0.5]), np.array([0.0]), np.array([1.0]), np.array([0.5])).psi.tolist()
    [0.25]
    """
    s = np.clip((silhouette - silhouette_mean) / (1 - silhouette_mean), 0, 1)
    q, d = np.clip(alignment, 0, 1), np.clip(distinctness, 0, 1)
    return Psi(s, q, d, s * q * d)
