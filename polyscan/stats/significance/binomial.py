"""Intervals of shares and of differences of means."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float

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


def bootstrap_difference(
    a: Float[np.ndarray, " u"], b: Float[np.ndarray, " v"], *, generator: np.random.Generator, draws: int = 2000
) -> Interval:
    """Mean of `a` less mean of `b` with its 95 % percentile interval, both sides resampled.

    Raises:
        ValueError: if a side is empty or not finite.

    Source: Efron & Tibshirani 1993, "An introduction to the bootstrap", chapter 13.

    >>> bootstrap_difference(np.array([3.0]), np.array([1.0]), generator=np.random.default_rng(0))
    Interval(mean=2.0, low=2.0, high=2.0)
    """
    sides = [np.asarray(side, dtype=np.float64) for side in (a, b)]
    if not all(len(side) and np.isfinite(side).all() for side in sides):
        raise ValueError(f"the difference needs finite values on both sides, got {len(a)} and {len(b)}")
    # A few draws at a time, so that wide layers don't fill memory.
    means = np.zeros(draws)
    for side, sign in zip(sides, (1, -1), strict=True):
        for start in range(0, draws, 100):
            rows = generator.integers(len(side), size=(min(100, draws - start), len(side)))
            means[start : start + 100] += sign * side[rows].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return Interval(float(sides[0].mean() - sides[1].mean()), float(low), float(high))
