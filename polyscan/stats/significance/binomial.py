"""Confidence intervals of shares."""

from __future__ import annotations

import math

from polyscan.stats.significance.resampling import Interval

_Z95 = 1.959963984540054


def wilson_interval(hits: int, n: int) -> Interval:
    """A share and its 95 % interval; `mean` is the share itself.

    Raises:
        ValueError: if `n` is below 1 or `hits` is not in [0, n].

    Source: Wilson 1927, "Probable inference, the law of succession, and statistical inference".

    >>> wilson_interval(0, 10).low
    0.0
    """
    if n < 1 or not 0 <= hits <= n:
        raise ValueError(f"a share needs 0 <= hits <= n with n at least 1, got {hits} of {n}")
    share, z2 = hits / n, _Z95**2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z95 / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return Interval(share, max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half)))
