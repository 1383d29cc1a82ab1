"""The polysemanticity index: three parts, each adjusted for chance, and their product.

Not in the score registry: its first part needs the null's mean, so it is computed where scores are compared with their
null, and its p comes from the joint null: each null set goes through all three parts.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64

PARTS = ("silhouette", "alignment", "distinctness")
"""The scores that it is made of; the open vocabulary has `distinctness_words` in place of the last."""


class Psi(NamedTuple):
    """PSI of `u` units and its parts, each in [0, 1]; NaN if a part is absent."""

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

    0 is chance level, 1 is perfect. A unit that mixes two concepts without names has D near 0 and so PSI near 0.

    Args:
        silhouette: s, at the best 2 to 5 clusters, whether or not there is more than one.
        silhouette_mean: E0[s], the null's mean at the unit's clarity.
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
