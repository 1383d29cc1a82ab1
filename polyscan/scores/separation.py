"""Separation: the statistic of the test "one thing or several", made where scores meet their null.

Not a score of the registry: it is a sum of residuals from the null.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64

PARTS = ("silhouette2", "cut")
"""The scores that it is made of; high and low speak for several."""


def separation(silhouette: Float64[np.ndarray, " u"], cut: Float64[np.ndarray, " u"]) -> Float64[np.ndarray, " u"]:
    """How much better two clusters fit than under the null: two views of one cut, each in the null's own sd.

        separation = z(silhouette of two) - z(cut)

    z is the residual from what null sets of the same clarity have. The silhouette sees how far the clusters lie apart,
    the cut whether there is a valley between them; a one-concept set that is long rather than split has the former
    alone. Its p is the share of null sets with a separation as large. Where there is no cut (8 items or fewer), z(cut)
    is 0.

    Source: ours; chosen by measurement among some twenty statistics (docs/methods).

    >>> separation(np.array([1.0]), np.array([-2.0])).tolist()
    [3.0]
    """
    return silhouette - np.where(np.isnan(cut), 0, cut)
