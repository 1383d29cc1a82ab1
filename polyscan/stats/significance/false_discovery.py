"""False discovery rates of many p-values: the expected share of false calls among all calls."""

from __future__ import annotations

from typing import Literal

import numpy as np
from jaxtyping import Float, Float64


def benjamini_hochberg(p: Float[np.ndarray, " u"]) -> Float64[np.ndarray, " u"]:
    """Smallest false discovery rate at which each test is still called.

    q of the i-th smallest of m is the minimum over j >= i of p_j m / j

    Calling all with q <= a keeps the expected share of false calls at a or less if the tests are independent, or
    depend on each other positively.

    Args:
        p: p-values; NaN marks what was not tested and does not count.

    Returns:
        q in [0, 1], never below p; NaN where p is.

    Raises:
        ValueError: if a p-value is out of [0, 1].

    Source: Benjamini & Hochberg 1995, "Controlling the false discovery rate".

    >>> benjamini_hochberg(np.array([0.01, 0.5, np.nan, 0.04])).round(3).tolist()
    [0.03, 0.5, nan, 0.06]
    """
    return _adjusted(p, "bh")


def benjamini_yekutieli(p: Float[np.ndarray, " u"]) -> Float64[np.ndarray, " u"]:
    """As `benjamini_hochberg`, for tests that depend on each other in any way: q times 1 + 1/2 + ... + 1/m, at most 1.

    Args:
        p: as in `benjamini_hochberg`.

    Returns:
        q in [0, 1], never below that of `benjamini_hochberg`; NaN where p is.

    Raises:
        ValueError: if a p-value is out of [0, 1].

    Source: Benjamini & Yekutieli 2001, "The control of the false discovery rate in multiple testing under dependency".

    >>> benjamini_yekutieli(np.array([0.01, 0.5])).round(3).tolist()
    [0.03, 0.75]
    """
    return _adjusted(p, "by")


def _adjusted(p: Float[np.ndarray, " u"], method: Literal["bh", "by"]) -> Float64[np.ndarray, " u"]:
    """Adjusts those p-values that are not NaN; scipy itself does not accept NaN."""
    from scipy.stats import false_discovery_control  # noqa: PLC0415  # the import takes .7 s, and workers do not need it

    p = np.asarray(p, dtype=np.float64)
    is_tested = ~np.isnan(p)
    is_wrong = (p < 0) | (p > 1)
    if is_wrong.any():
        raise ValueError(f"p-values must be in [0, 1], got {p[is_wrong][0]}; NaN marks what was not tested")
    q = np.full(p.shape, np.nan)
    if is_tested.any():
        q[is_tested] = false_discovery_control(p[is_tested], method=method)
    return q
