"""Separation: the statistic of the test "one concept or several".

Not in the score registry: it is a sum of residuals from the null, so it is computed where scores are compared with it.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64

PARTS = {"gap": 1, "cut": -1}
"""The scores that it is made of, and the sign with which each indicates several concepts."""
BOUND = 2.5
"""Larger residuals count by their logarithm, so that a few outliers, which raise the gap alone, do not decide."""


def separation(residuals: dict[str, Float64[np.ndarray, " u"]]) -> Float64[np.ndarray, " u"]:
    """How much better two clusters fit than under the null: gap and cut of one split, each in units of the null's sd.

        separation = f(z(gap)) - f(z(cut))
        f(z) = z up to |z| = 2.5, beyond it sign(z) (2.5 + ln(1 + |z| - 2.5))

    z is the residual from null sets of the same clarity. The gap measures how far apart the clusters are, the cut
    whether there is a valley between them; a single-concept set that is elongated rather than split, or has a few
    stragglers, shows only one of the two. p is the share of null sets with a separation as large. A part without a
    value, such as the cut of 8 items or fewer, counts as 0; separation is NaN without any part.

    Args:
        residuals: z of each of `PARTS`.

    Source: ours; chosen by measurement among some twenty statistics (docs/methods).

    >>> separation({"gap": np.array([2.0]), "cut": np.array([-1.0])}).tolist()
    [3.0]
    """
    signed = np.array([sign * _tempered(residuals[name]) for name, sign in PARTS.items()])
    return np.where(np.isnan(signed).all(axis=0), np.nan, np.nansum(signed, axis=0))


def _tempered(z: Float64[np.ndarray, " u"]) -> Float64[np.ndarray, " u"]:
    beyond = np.log1p(np.maximum(np.abs(z) - BOUND, 0))
    return np.clip(z, -BOUND, BOUND) + np.sign(z) * beyond
