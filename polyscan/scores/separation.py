"""Separation: the statistic of the test "one thing or several", made where scores meet their null.

Not a score of the registry: it is a sum of residuals from the null.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64

PARTS = {"gap": 1, "cut": -1}
"""The scores that it is made of, and the sign with which each speaks for several."""
BOUND = 2.5
"""Beyond it residuals count by their logarithm, so that a few far items, which drive the gap alone, do not decide."""


def separation(residuals: dict[str, Float64[np.ndarray, " u"]]) -> Float64[np.ndarray, " u"]:
    """How much better two clusters fit than under the null: two views of one cut, each in the null's own sd.

        separation = f(z(gap)) - f(z(cut))
        f(z) = z up to |z| = 2.5, beyond it sign(z) (2.5 + ln(1 + |z| - 2.5))

    z is the residual from what null sets of the same clarity have. Gap sees how far apart the clusters lie, the cut
    whether there is a valley between them; a one-concept set that is long rather than split, or has a few stragglers,
    has one of the two. Its p is the share of null sets with a separation as large. A part without a value, as the cut
    of 8 items or fewer, counts 0; without any there is none.

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
