"""Scores against null sets: the null's expectation at a unit's clarity, p, and statistics made of several scores.

The input has one row per unit and one column per score; the output is rows of the table `scores`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float64

from polyscan.nulls import calibration
from polyscan.nulls.calibration import LEAST_SETS, Calibration
from polyscan.scores import psi, separation
from polyscan.scores.score import Score
from polyscan.stats.significance import tail_p

NO_NULL = ""
NUMBERS = ("value", "null_mean", "null_sd", "p", "p_exact")
FEW_BEYOND = 11
"""If at most this many values, the unit's included, are at least as extreme, p is read from a fitted tail."""
CURVE_SHARE = 0.2
"""Share of the null sets that `p_exact` fits its curves on; it counts among the others."""
Numbers = Float64[np.ndarray, " u"]
Match = Literal["regression", "nearest"]


@dataclass(frozen=True, eq=False)
class NullTable:
    """One null of one kind of evidence in one space: a row for each set, a column for each score.

    Args:
        name: of the null.
        values: of each score on each set.
        seed: which sets `p_exact` fits its curves on, and which it counts among.
    """

    name: str
    values: pd.DataFrame
    seed: int = 0

    @property
    def clarity(self) -> Numbers:
        """Clarity of each set."""
        return _numbers(self.values, "clarity")

    def has(self, score: str) -> bool:
        """Whether enough of its sets have a value."""
        return score in self.values and int(self.values[score].notna().sum()) >= LEAST_SETS

    def halves(self) -> tuple[NullTable, NullTable] | None:
        """Two tables of different sets: for the curves, and to count among; None if there are too few sets for both."""
        n = len(self.values)
        n_curve = max(LEAST_SETS, round(CURVE_SHARE * n))
        if n - n_curve < LEAST_SETS:
            return None
        order = np.random.default_rng(self.seed).permutation(n)
        curve, counted = (self.values.iloc[np.sort(part)] for part in (order[:n_curve], order[n_curve:]))
        return NullTable(self.name, curve), NullTable(self.name, counted)


def against(
    values: pd.DataFrame, nulls: Sequence[NullTable], scores: Mapping[str, Score], *, match: Match
) -> pd.DataFrame:
    """Rows of `scores` without their keys: each score once per null, a score without a null once.

    Args:
        values: one row per unit, by channel; one column per score or part of one.
        nulls: to compare with.
        scores: the registry, for the tails.
        match: how null sets of the same clarity are found.
    """
    frames: list[pd.DataFrame] = []
    for name in map(str, values):
        nulls_with_score = [null for null in nulls if name in scores and null.has(name)]
        if not nulls_with_score:
            frames.append(_rows(name, NO_NULL, values.index, _numbers(values, name)))
        frames += [_calibrated(name, values, null, scores[name].tail, match) for null in nulls_with_score]
    for null in nulls:
        if any(null.has(part) for part in separation.PARTS):
            frames.append(_separation(values, null, match))
        frames += _psi(values, null)
    return pd.concat(frames, ignore_index=True)


def matches(values: pd.DataFrame, null: NullTable, *, random_clarity: float) -> pd.DataFrame:
    """Rows of `matches` without their keys: how well a null matches each unit."""
    clarity = _numbers(values, "clarity")
    return pd.DataFrame(
        {
            "channel": values.index,
            "null": null.name,
            "n_sets": len(null.values),
            "match_radius": calibration.match_radius(clarity, null.clarity),
            "off_range": calibration.off_range(clarity, null.clarity),
            "incoherent": clarity <= random_clarity,
        }
    )


def _calibrated(name: str, values: pd.DataFrame, null: NullTable, tail: calibration.Tail, match: Match) -> pd.DataFrame:
    """Rows of one score against one null."""
    value, clarity = _numbers(values, name), _numbers(values, "clarity")
    null_values = _numbers(null.values, name)
    fit = Calibration.fit(null_values, null.clarity, tail=tail)
    p = _p(fit, value, clarity, NullStatistic(null_values, null.clarity), match)
    has_value = ~np.isnan(value)
    mean, sd = np.where(has_value, fit.mean(clarity), np.nan), np.where(has_value, fit.sd(clarity), np.nan)
    return _rows(name, null.name, values.index, value, null_mean=mean, null_sd=sd, p=p)


class NullStatistic(NamedTuple):
    """A statistic on the null sets, and their clarity."""

    values: Numbers
    clarity: Numbers


def _p(fit: Calibration, value: Numbers, clarity: Numbers, null: NullStatistic, match: Match) -> Numbers:
    if match == "nearest":
        return calibration.matched(value, clarity, null.values, null.clarity, tail=fit.tail)
    return fit.p(value, clarity)


def _separation(values: pd.DataFrame, null: NullTable, match: Match) -> pd.DataFrame:
    """The statistic of the test, with its null from the same null sets."""
    clarity = _numbers(values, "clarity")
    statistic, null_statistic = (
        separation.separation({name: _residuals(name, frame, null) for name in separation.PARTS})
        for frame in (values, null.values)
    )
    fit = Calibration.fit(null_statistic, null.clarity, tail="upper")
    p = _p(fit, statistic, clarity, NullStatistic(null_statistic, null.clarity), match)
    is_fitted = np.zeros(len(p), dtype=bool)
    if match == "regression":
        p, is_fitted = _with_tail(p, fit.standardised(statistic, clarity), fit.residuals)
    mean, sd = fit.mean(clarity), fit.sd(clarity)
    exact = exact_p(values, null)
    rows = _rows("separation", null.name, values.index, statistic, null_mean=mean, null_sd=sd, p=p, p_exact=exact.p)
    return rows.assign(is_extrapolated=is_fitted, n_exact=exact.n_sets)


class ExactP(NamedTuple):
    """The separation's p of each unit, and the number of null sets that it was counted among."""

    p: Numbers
    n_sets: int


def exact_p(values: pd.DataFrame, null: NullTable) -> ExactP:
    """The separation's p with curves that were fitted on some null sets, counted among others.

    Units and the null sets that they are counted among go through the same function, which depends on neither. So for a
    unit that is exchangeable with these null sets p is a rank among exchangeable numbers: P(p <= a) <= a, exactly.
    `p` lacks this: its curves are drawn towards the very null sets that it counts among, by a little. (Fitting and
    counting by turns, as in cross-conformal prediction, would use all null sets, but P(p <= a) could reach 2 a.)

    Source: Vovk, Gammerman & Shafer 2005, "Algorithmic learning in a random world", inductive conformal prediction.
    """
    halves = null.halves()
    if halves is None or not all(half.has("clarity") for half in halves):
        return ExactP(np.full(len(values), np.nan), 0)
    curve, counted = halves
    if not any(curve.has(part) for part in separation.PARTS):
        return ExactP(np.full(len(values), np.nan), 0)
    of_curve, of_counted, of_units = (
        separation.separation({name: _residuals(name, frame, curve) for name in separation.PARTS})
        for frame in (curve.values, counted.values, values)
    )
    fit = Calibration.fit(of_curve, curve.clarity, tail="upper")
    null_residuals = fit.standardised(of_counted, counted.clarity)
    null_residuals = np.sort(null_residuals[~np.isnan(null_residuals)])
    residuals = fit.standardised(of_units, _numbers(values, "clarity"))
    if len(null_residuals) < LEAST_SETS:
        return ExactP(np.full(len(values), np.nan), 0)
    return ExactP(calibration.counted(residuals, null_residuals, tail="upper"), len(null_residuals))


def _with_tail(p: Numbers, residual: Numbers, null_residuals: Numbers) -> tuple[Numbers, Bool[np.ndarray, " u"]]:
    """P with its smallest values read from a tail fitted to the null's residuals, and which values these are.

    By counting, p is at least 1 / (B + 1) with B null sets: too large to survive a false discovery rate over thousands
    of units.
    """
    p, is_fitted = p.copy(), np.zeros(len(p), dtype=bool)
    if not np.isfinite(null_residuals).all():
        return p, is_fitted  # the null follows its mean without any spread: there is no tail to fit
    for unit in np.flatnonzero((p * (len(null_residuals) + 1) <= FEW_BEYOND) & np.isfinite(residual)):
        p[unit], is_fitted[unit] = tail_p(float(residual[unit]), null_residuals)
    return p, is_fitted


def _residuals(name: str, frame: pd.DataFrame, null: NullTable) -> Numbers:
    """Distance of each row's score from what the null expects, standardised; NaN if there is no value."""
    if not null.has(name):
        return np.full(len(frame), np.nan)
    fit = Calibration.fit(_numbers(null.values, name), null.clarity, tail="none")
    return fit.standardised(_numbers(frame, name), _numbers(frame, "clarity"))


def _psi(values: pd.DataFrame, null: NullTable) -> Iterator[pd.DataFrame]:
    """PSI and its parts, by labels and by words; p counts null sets of similar clarity, all parts at once."""
    for suffix, last in (("", "distinctness"), ("_words", "distinctness_words")):
        parts = (*psi.PARTS[:2], last)
        if all(part in values and not values[part].isna().all() and null.has(part) for part in parts):
            yield from _psi_of(parts, values, null, suffix)


def _psi_of(parts: Sequence[str], values: pd.DataFrame, null: NullTable, suffix: str) -> Iterator[pd.DataFrame]:
    clarity = _numbers(values, "clarity")
    fit = Calibration.fit(_numbers(null.values, "silhouette"), null.clarity, tail="upper")
    units, null_sets = (
        psi.psi(s, fit.mean(_numbers(frame, "clarity")), q, d)
        for frame in (values, null.values)
        for s, q, d in [tuple(_numbers(frame, part) for part in parts)]
    )
    p = calibration.matched(units.psi, clarity, null_sets.psi, null.clarity, tail="upper")
    joint = Calibration.fit(null_sets.psi, null.clarity, tail="upper")
    mean, sd = joint.mean(clarity), joint.sd(clarity)
    yield _rows(f"psi{suffix}", null.name, values.index, units.psi, null_mean=mean, null_sd=sd, p=p)
    for part in ("s", "q", "d"):
        yield _rows(f"psi{suffix}_{part}", null.name, values.index, getattr(units, part))


def _numbers(frame: pd.DataFrame, name: str) -> Numbers:
    return frame[name].to_numpy(np.float64)


def _rows(score: str, null: str, channel: pd.Index, value: Numbers, **under_null: Numbers) -> pd.DataFrame:
    """Rows of one score; `null_mean`, `null_sd`, `p` and `p_exact` are NaN by default."""
    defaults = dict.fromkeys(NUMBERS[1:], np.nan)
    columns = {"channel": channel, "null": null, "score": score, "value": value, **defaults, **under_null}
    return pd.DataFrame({**columns, "is_extrapolated": False, "n_exact": 0})
