"""A unit's score against null sets that are as homogeneous as its evidence.

Law: the p of a set that is exchangeable with the null sets of its clarity is uniform, whatever the score. Sets are
matched on clarity (their mean pairwise cosine): a tight set has a different gap than a loose one, even if both are
single-concept sets.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64

from polyscan.stats.significance import Tail

LEAST_SETS = 20
"""Fewest null sets to calibrate with: p <= .05 needs 19."""
MOST_RADIUS = 0.05
"""Match radius above which a unit is `off_range`."""
_ROUNDING = 1e-12
"""Rounding error of the fit, as a share of the largest null value."""
_LEAST_SHARE_OF_SD = 0.01
"""Residuals count as at least this share of their sd in the fit of ln sd: one near 0 says nothing about the sd."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """The null at each clarity c: mean(c), sd(c) and the distribution of (value - mean(c)) / sd(c).

    mean(c) = m0 + m1 t + m2 t^2 by least squares;  ln sd(c) = s0 + s1 t;  t = (c - middle) / (half the range)

    s1 is the least-squares slope of ln |residual|, s0 makes the standardised residuals' mean square 1. Outside the
    null's range of clarity, mean and sd are those at its edge: a parabola does not extrapolate. See `is_outside`.

    Args:
        tail: the side that speaks against the null.
        low: smallest clarity of a null set.
        high: largest clarity of a null set.
        mean_terms: m0, m1, m2.
        log_sd_terms: s0, s1; s0 is -inf if the null's values follow the mean without any spread.
        rounding: distance from the mean up to which a value counts as equal to it if there is no spread.
        residuals: standardised residuals of the B null sets, ascending.
    """

    tail: Tail
    low: float
    high: float
    mean_terms: Float64[np.ndarray, " terms"]
    log_sd_terms: Float64[np.ndarray, " terms"]
    rounding: float
    residuals: Float64[np.ndarray, " b"]

    @classmethod
    def fit(cls, values: Float[np.ndarray, " b"], clarity: Float[np.ndarray, " b"], *, tail: Tail) -> Calibration:
        """Fit to the null sets whose value is not NaN.

        Raises:
            ValueError: if there are fewer than 20 such sets, lengths differ, one of their values is infinite, one of
                their clarities is not finite, or `tail` is unknown.
        """
        values, clarity = _kept(values, clarity, tail)
        low, high = float(clarity.min()), float(clarity.max())
        t = _places(clarity, low, high)
        mean_terms = _least_squares(np.stack([np.ones_like(t), t, t * t], axis=1), values)
        errors = values - _mean(t, mean_terms)
        rounding = _ROUNDING * float(np.abs(values).max())
        log_sd_terms = _log_sd_terms(t, errors, rounding)
        residuals = np.sort(_standardised(errors, t, log_sd_terms, rounding))
        return cls(tail, low, high, mean_terms, log_sd_terms, rounding, residuals)

    def mean(self, clarity: Float[np.ndarray, " u"]) -> Float64[np.ndarray, " u"]:
        """The null's mean at each clarity; NaN where clarity is NaN."""
        return _mean(self._place(clarity), self.mean_terms)

    def sd(self, clarity: Float[np.ndarray, " u"]) -> Float64[np.ndarray, " u"]:
        """The null's standard deviation at each clarity; NaN where clarity is NaN."""
        return _sd(self._place(clarity), self.log_sd_terms)

    def p(self, value: Float[np.ndarray, " u"], clarity: Float[np.ndarray, " u"]) -> Float64[np.ndarray, " u"]:
        """Share of the null at least as extreme on the declared tail, counting the unit's own residual.

        p = (b + 1) / (B + 1), b the number of null residuals at least as extreme as the unit's

        NaN where value or clarity is NaN, and for the tail "none".

        Source: Phipson & Smyth 2010, "Permutation P-values should never be zero".
        """
        return _p(self.standardised(value, clarity), self.residuals, self.tail)

    def standardised(
        self, value: Float[np.ndarray, " u"], clarity: Float[np.ndarray, " u"]
    ) -> Float64[np.ndarray, " u"]:
        """Residuals from the null's mean at each clarity, in units of its sd; NaN where value or clarity is NaN."""
        place = self._place(clarity)
        errors = np.asarray(value, dtype=np.float64) - _mean(place, self.mean_terms)
        return _standardised(errors, place, self.log_sd_terms, self.rounding)

    def is_outside(self, clarity: Float[np.ndarray, " u"]) -> Bool[np.ndarray, " u"]:
        """Whether a clarity is outside the null's range; mean and sd are then those at the range's edge."""
        clarity = np.asarray(clarity, dtype=np.float64)
        return (clarity < self.low) | (clarity > self.high)

    def _place(self, clarity: Float[np.ndarray, " u"]) -> Float64[np.ndarray, " u"]:
        return _places(np.clip(np.asarray(clarity, dtype=np.float64), self.low, self.high), self.low, self.high)


def matched(
    value: Float[np.ndarray, " u"],
    clarity: Float[np.ndarray, " u"],
    null_values: Float[np.ndarray, " b"],
    null_clarity: Float[np.ndarray, " b"],
    *,
    tail: Tail,
    nearest: int = 200,
) -> Float64[np.ndarray, " u"]:
    """The p among the `nearest` null sets of most similar clarity: no fit, coarser, and biased at the range's edges.

    p = (b + 1) / (m + 1), b the number of the m nearest null values that are at least as extreme; m is smaller than
    `nearest` if there are fewer null sets. Null sets at the same distance keep their order. NaN where value or clarity
    is NaN, and for the tail "none".

    Raises:
        ValueError: as `Calibration.fit`, or if `nearest` is below 20.
    """
    if nearest < LEAST_SETS:
        raise ValueError(f"`nearest` must be at least {LEAST_SETS}, got {nearest}: fewer sets never give p <= .05")
    null_values, null_clarity = _kept(null_values, null_clarity, tail)
    value, clarity = np.asarray(value, dtype=np.float64), np.asarray(clarity, dtype=np.float64)
    p = np.full(value.shape, np.nan)
    for unit in np.flatnonzero(~np.isnan(value) & ~np.isnan(clarity)):
        near = np.argsort(np.abs(null_clarity - clarity[unit]), kind="stable")[:nearest]
        p[unit] = _p(value[unit], np.sort(null_values[near]), tail)
    return p


def counted(value: Float[np.ndarray, " u"], null: Float[np.ndarray, " b"], *, tail: Tail) -> Float64[np.ndarray, " u"]:
    """The p of each value by counting: (b + 1) / (B + 1), b of the B null values at least as extreme.

    NaN where value is NaN, and for the tail "none".

    Raises:
        ValueError: if `tail` is unknown, `null` is empty or one of its values is NaN.

    >>> counted(np.array([2.0, np.nan]), np.array([0.0, 1.0, 2.0]), tail="upper").tolist()
    [0.5, nan]
    """
    _check_tail(tail)
    null = np.sort(np.asarray(null, dtype=np.float64))
    if not len(null) or np.isnan(null).any():
        raise ValueError(f"p needs null values, got {len(null)}, {int(np.isnan(null).sum())} of them NaN")
    return _p(np.asarray(value, dtype=np.float64), null, tail)


def match_radius(
    clarity: Float[np.ndarray, " u"], null_clarity: Float[np.ndarray, " b"], *, nearest: int = LEAST_SETS
) -> Float64[np.ndarray, " u"]:
    """Distance in clarity to the `nearest`-th nearest null set; NaN where clarity is NaN.

    20 by default: with fewer null sets near the unit no test could reject at .05 there, and its p would depend on the
    curve alone. (The 200 sets that `matched` uses reach about ten times as far.)

    Raises:
        ValueError: if a null clarity is not finite, or there are fewer than `nearest`, or `nearest` is below 1.
    """
    null_clarity = np.asarray(null_clarity, dtype=np.float64)
    if not np.isfinite(null_clarity).all() or not 1 <= nearest <= len(null_clarity):
        n_bad = int((~np.isfinite(null_clarity)).sum())
        raise ValueError(
            f"the radius needs {nearest} finite null clarities, 1 or more, got {len(null_clarity)} with {n_bad} not "
            "finite; draw more null sets"
        )
    radii = [np.partition(np.abs(null_clarity - c), nearest - 1)[nearest - 1] for c in np.asarray(clarity)]
    return np.array(radii, dtype=np.float64)


def off_range(clarity: Float[np.ndarray, " u"], null_clarity: Float[np.ndarray, " b"]) -> Bool[np.ndarray, " u"]:
    """Whether a unit has too few null sets of similar homogeneity, so that its p cannot be trusted.

    True if the match radius is above .05, or clarity is outside the null's range, or NaN.

    Raises:
        ValueError: if there are fewer than 20 null clarities, or one is not finite.
    """
    clarity = np.asarray(clarity, dtype=np.float64)
    radius = match_radius(clarity, null_clarity)
    return ~((radius <= MOST_RADIUS) & (clarity >= np.min(null_clarity)) & (clarity <= np.max(null_clarity)))


def _kept(
    values: Float[np.ndarray, " b"], clarity: Float[np.ndarray, " b"], tail: Tail
) -> tuple[Float64[np.ndarray, " kept"], Float64[np.ndarray, " kept"]]:
    """Values and clarities of the null sets whose value is not NaN."""
    _check_tail(tail)
    values, clarity = np.asarray(values, dtype=np.float64), np.asarray(clarity, dtype=np.float64)
    if values.ndim != 1 or values.shape != clarity.shape:
        raise ValueError(f"each null set needs a value and a clarity, got {values.shape} and {clarity.shape}")
    is_kept = ~np.isnan(values)
    values, clarity = values[is_kept], clarity[is_kept]
    if len(values) < LEAST_SETS:
        raise ValueError(
            f"a null needs {LEAST_SETS} sets with a value, got {len(values)} and {int((~is_kept).sum())} without; "
            "draw more"
        )
    n_bad = int((~np.isfinite(values) | ~np.isfinite(clarity)).sum())
    if n_bad:
        raise ValueError(f"{n_bad} of {len(values)} null sets have an infinite value or a clarity that is not finite")
    return values, clarity


def _check_tail(tail: Tail) -> None:
    if tail not in ("upper", "lower", "none"):
        raise ValueError(f'`tail` must be "upper", "lower" or "none", got {tail!r}')


def _places(clarity: Float64[np.ndarray, " u"], low: float, high: float) -> Float64[np.ndarray, " u"]:
    """Clarity rescaled from -1 (the loosest null set) to 1 (the tightest); 0 if all are equal."""
    half = (high - low) / 2
    return (clarity - (low + high) / 2) / half if half > 0 else clarity * 0


def _least_squares(design: Float64[np.ndarray, "b t"], target: Float64[np.ndarray, " b"]) -> Float64[np.ndarray, " t"]:
    # The solution of minimum norm, if clarity has too few distinct values for the curve.
    return np.linalg.lstsq(design, target, rcond=None)[0]


def _mean(place: Float64[np.ndarray, " u"], terms: Float64[np.ndarray, " terms"]) -> Float64[np.ndarray, " u"]:
    return terms[0] + terms[1] * place + terms[2] * place**2


def _sd(place: Float64[np.ndarray, " u"], terms: Float64[np.ndarray, " terms"]) -> Float64[np.ndarray, " u"]:
    return np.exp(terms[0] + terms[1] * place)


def _log_sd_terms(
    place: Float64[np.ndarray, " b"], errors: Float64[np.ndarray, " b"], rounding: float
) -> Float64[np.ndarray, " terms"]:
    rms = float(np.sqrt((errors**2).mean()))
    if rms <= rounding:
        return np.array([-np.inf, 0.0])
    logs = np.log(np.maximum(np.abs(errors), _LEAST_SHARE_OF_SD * rms))
    slope = float(_least_squares(np.stack([np.ones_like(place), place], axis=1), logs)[1])
    level = float(np.log(np.sqrt(((errors / np.exp(slope * place)) ** 2).mean())))
    return np.array([level, slope])


def _standardised(
    errors: Float64[np.ndarray, " u"],
    place: Float64[np.ndarray, " u"],
    terms: Float64[np.ndarray, " terms"],
    rounding: float,
) -> Float64[np.ndarray, " u"]:
    """Errors in units of the sd; without any spread, 0 on the mean and infinite off it."""
    if np.isneginf(terms[0]):
        off = np.where(np.abs(errors) <= rounding, 0.0, np.copysign(np.inf, errors))
        return np.where(np.isnan(errors), np.nan, off)
    return errors / _sd(place, terms)


def _p(value: Float64[np.ndarray, " u"], null: Float64[np.ndarray, " b"], tail: Tail) -> Float64[np.ndarray, " u"]:
    """The p of each value among ascending null values."""
    if tail == "none":
        return np.full(np.shape(value), np.nan)
    extreme = len(null) - np.searchsorted(null, value) if tail == "upper" else np.searchsorted(null, value, "right")
    return np.where(np.isnan(value), np.nan, (extreme + 1) / (len(null) + 1))
