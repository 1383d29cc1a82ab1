"""Intervals and p-values from resampling; every draw comes from a generator that the caller passes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64, Shaped

from polyscan.stats.significance.p_values import empirical_p

_CELLS_AT_ONCE = 2**21
"""Drawn numbers in memory at a time; the result does not depend on it."""


class Interval(NamedTuple):
    """A mean and the interval in which it lies in most samples of units."""

    mean: float
    low: float
    high: float


class Correlation(NamedTuple):
    """A rank correlation and its two-sided permutation p."""

    rho: float
    p: float


def resampled_means(
    values: Float[np.ndarray, "u c"], *, generator: np.random.Generator, draws: int = 2000
) -> Float64[np.ndarray, "draws c"]:
    """Bootstrap means of many columns at once: each resample draws the same units for all columns.

    Units of a layer share their images, so an interval of these means holds for other units of this layer on the same
    images, not for other images. With few units it is too narrow: by a factor of about sqrt((u - 1) / u), and more on
    skewed values.

    Args:
        values: finite numbers, one column per statistic; further columns cost almost nothing.
        generator: seeded by the caller.
        draws: number of resamples.

    Raises:
        ValueError: if there are no units, a value is not finite, or `draws` is below 1.

    Source: Efron & Tibshirani 1993, "An introduction to the bootstrap", chapter 13.

    >>> resampled_means(np.full((3, 2), 4.0), generator=np.random.default_rng(0), draws=2).tolist()
    [[4.0, 4.0], [4.0, 4.0]]
    """
    values = np.asarray(values, dtype=np.float64)
    if not len(values) or not np.isfinite(values).all():
        raise ValueError(f"resampling needs finite values of one unit or more, got {values.shape} with some not finite")
    _check_draws(draws)
    n = len(values)
    rows = max(1, _CELLS_AT_ONCE // n)
    sizes = [min(rows, draws - done) for done in range(0, draws, rows)]
    # A resample's sum is the sum of its units' values, times how often each was drawn.
    return np.concatenate([times_drawn(n, generator=generator, draws=size) @ values / n for size in sizes])


def times_drawn(n: int, *, generator: np.random.Generator, draws: int) -> Float64[np.ndarray, "draws n"]:
    """How often each of n units occurs in each of `draws` resamples of size n.

    >>> times_drawn(3, generator=np.random.default_rng(0), draws=2).sum(axis=1).tolist()
    [3.0, 3.0]
    """
    drawn = generator.integers(n, size=(draws, n)) + n * np.arange(draws)[:, None]
    return np.bincount(drawn.reshape(-1), minlength=draws * n).reshape(draws, n).astype(np.float64)


def spearman(x: Shaped[np.ndarray, " n"], y: Shaped[np.ndarray, " n"]) -> float:
    """Spearman's rank correlation, ties sharing their mean rank; NaN for under 2 pairs or a constant side.

    Raises:
        ValueError: if x and y differ in length or hold NaN.

    Ranks are scipy's; the correlation is not `scipy.stats.spearmanr`, which also computes a p that no caller needs.

    Source: Spearman 1904, "The proof and measurement of association between two things".

    >>> round(spearman(np.array([1, 2, 3]), np.array([10, 30, 20])), 3)
    0.5
    """
    a, b = _standard_ranks(x, y)
    return float(np.clip(a @ b, -1, 1))


def spearman_test(
    x: Shaped[np.ndarray, " n"], y: Shaped[np.ndarray, " n"], *, generator: np.random.Generator, draws: int = 9999
) -> Correlation:
    """Spearman's rho and its two-sided p over random pairings of x with y.

    p = (1 + #{|rho of a pairing| >= |rho|}) / (1 + draws); NaN where rho is. (`scipy.stats.permutation_test` gives the
    same p from the same draws, but calls Python for each batch of pairings.)

    Args:
        x: one side of the pairs, such as the depth of each layer.
        y: the other side, such as each layer's mean.
        generator: seeded by the caller.
        draws: number of random pairings.

    Raises:
        ValueError: if x and y differ in length or hold NaN, or `draws` is below 1.

    >>> depth = np.arange(8)
    >>> spearman_test(depth, depth**2, generator=np.random.default_rng(0)).p < 0.01
    True
    """
    _check_draws(draws)
    a, b = _standard_ranks(x, y)
    rho = float(np.clip(a @ b, -1, 1))
    if np.isnan(rho):
        return Correlation(rho, rho)
    rows = max(1, _CELLS_AT_ONCE // len(b))
    chunks = [min(rows, draws - done) for done in range(0, draws, rows)]
    null = np.concatenate([generator.permuted(np.tile(b, (m, 1)), axis=1) @ a for m in chunks])
    # Equal pairings differ in their last bits; without the slack they would not count as equal.
    return Correlation(rho, empirical_p(abs(rho) - 1e-12, np.abs(null)))


def _check_draws(draws: int) -> None:
    if draws < 1:
        raise ValueError(f"`draws` must be at least 1, got {draws}")


def _standard_ranks(
    x: Shaped[np.ndarray, " n"], y: Shaped[np.ndarray, " n"]
) -> tuple[Float64[np.ndarray, " n"], Float64[np.ndarray, " n"]]:
    """Ranks of both sides, centred and of unit length, NaN where a side is constant."""
    if len(x) != len(y):
        raise ValueError(f"pairs need two sides of one length, got {len(x)} and {len(y)}")
    sides: list[Float64[np.ndarray, " n"]] = []
    for side in (np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)):
        if np.isnan(side).any():
            raise ValueError(f"{int(np.isnan(side).sum())} of {len(side)} values are NaN; leave out their pairs")
        ranks = _mean_ranks(side)
        length = np.linalg.norm(ranks)
        sides.append(ranks / length if length > 0 else np.full(max(len(side), 1), np.nan))
    return sides[0], sides[1]


def _mean_ranks(side: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
    """Ranks minus their mean; equal values share the mean of their ranks."""
    from scipy.stats import rankdata  # noqa: PLC0415  # the import takes .7 s, and workers do not need it

    return rankdata(side) - (len(side) + 1) / 2
