"""Paired comparisons: the sign-flip test of a mean difference, and the t interval of a mean."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float64, Int
from scipy.special import stdtrit

from polyscan.stats.significance.resampling import Interval

_SLACK = 1e-12
"""Sums of the same numbers in another order differ in their last bits; without the slack they would not be ties."""


def signs(n: int, *, draws: int, generator: np.random.Generator) -> Float64[np.ndarray, "m n"]:
    """Assignments of signs to n pairs: all 2^n if these are at most `draws`, else the one without flips and drawn ones.

    Args:
        n: number of pairs.
        draws: number of assignments that are drawn where not all are taken.
        generator: seeded by the caller.

    Raises:
        ValueError: if `n` or `draws` is below 1.

    >>> signs(2, draws=4, generator=np.random.default_rng(0)).tolist()
    [[1.0, 1.0], [-1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]]
    """
    if n < 1 or draws < 1:
        raise ValueError(f"signs need at least one pair and one draw, got {n} and {draws}")
    if n < 63 and 2**n <= draws:
        flipped = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
    else:
        flipped = np.concatenate([np.zeros((1, n), dtype=np.int64), generator.integers(2, size=(draws, n))])
    return 1.0 - 2.0 * flipped


def sign_flip_p(differences: Float[np.ndarray, "t n"], flips: Float64[np.ndarray, "m n"]) -> Float64[np.ndarray, " t"]:
    """For each of t tests, the p of a mean difference above 0 that is due to chance alone.

    p = #{assignments of signs with a mean at least as large as the one without flips} / m

    Valid if, under the null, each pair's difference is as likely to be d as -d: so if the two conditions of a pair are
    exchangeable. The assignment without flips counts as one of them, so p is never 0; its least value is 1 / m.

    Args:
        differences: one row per test, one column per pair; finite.
        flips: from `signs`; its first row has no flips.

    Raises:
        ValueError: if a difference is not finite, the pairs are not as many as the signs, or the first signs are not
            all 1.

    Source: Fisher 1935, "The design of experiments", section 21; Phipson & Smyth 2010 for drawn signs.

    >>> sign_flip_p(np.array([[1.0, 2.0, 3.0]]), signs(3, draws=8, generator=np.random.default_rng(0))).tolist()
    [0.125]
    """
    differences = np.asarray(differences, dtype=np.float64)
    if differences.ndim != 2 or differences.shape[1] != flips.shape[1] or not np.isfinite(differences).all():
        raise ValueError(f"differences must be finite, [tests, {flips.shape[1]} pairs], got {differences.shape}")
    if not (flips[0] == 1).all():
        raise ValueError("the first signs must all be 1: the differences as they are count among their flips")
    sums = differences @ flips.T
    slack = _SLACK * np.abs(differences).sum(axis=1, keepdims=True)
    return (sums >= sums[:, :1] - slack).mean(axis=1)


def block_means(values: Float[np.ndarray, "t n"], blocks: Int[np.ndarray, " n"]) -> Float64[np.ndarray, "t b"]:
    """Means of pairs that belong together, such as those that share a donor: they are not independent of each other.

    Args:
        values: one row per test.
        blocks: the block of each column, from 0; every block has a column.

    Raises:
        ValueError: if a block has no column.

    >>> block_means(np.array([[1.0, 2.0, 5.0]]), np.array([0, 1, 0])).tolist()
    [[3.0, 2.0]]
    """
    sizes = np.bincount(blocks)
    if not sizes.all():
        raise ValueError(f"blocks must be numbered from 0 without gaps, got sizes {sizes.tolist()}")
    members = np.equal.outer(blocks, np.arange(len(sizes)))
    return np.asarray(values, dtype=np.float64) @ members / sizes


def mean_interval(values: Float[np.ndarray, " n"]) -> Interval:
    """A mean with its 95 % t interval; NaN limits for fewer than two values.

    mean -+ t(.975, n - 1) sd / sqrt(n), sd with n - 1

    Not a bootstrap: with a dozen values its intervals are a sixth too narrow.

    Raises:
        ValueError: if there are no values, or one is not finite.

    Source: Student 1908, "The probable error of a mean".

    >>> mean_interval(np.array([1.0, 3.0])).mean
    2.0
    """
    values = np.asarray(values, dtype=np.float64)
    n = len(values)
    if not n or not np.isfinite(values).all():
        raise ValueError(f"a mean needs finite values, got {n} with some not finite")
    mean = float(values.mean())
    if n < 2:  # no spread
        return Interval(mean, float("nan"), float("nan"))
    half = float(stdtrit(n - 1, 0.975)) * float(values.std(ddof=1)) / np.sqrt(n)
    return Interval(mean, float(mean - half), float(mean + half))
