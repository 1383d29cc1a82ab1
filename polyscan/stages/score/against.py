"""Scores against null sets: what the null expects at a unit's clarity, its p, and statistics made of several scores.

One row a unit and one column a score go in; rows of the table `scores` come out.
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
NUMBERS = ("value", "null_mean", "null_sd", "p")
FEW_BEYOND = 11
"""With fewer null sets than that at least as extreme, the unit itself among them, p is read from a fitted tail."""
Numbers = Float64[np.ndarray, " u"]
Match = Literal["regression", "nearest"]


@dataclass(frozen=True, eq=False)
class NullTable:
    """One null of one kind of evidence in one space: a row for each set, a column for each score.

    Args:
        name: which null.
        values: of each score on each set.
    """

    name: str
    values: pd.DataFrame

    @property
    def clarity(self) -> Numbers:
        """Of each set."""
        return _numbers(self.values, "clarity")

    def has(self, score: str) -> bool:
        """Whether enough of its sets have a value."""
        return score in self.values and int(self.values[score].notna().sum()) >= LEAST_SETS


def against(
    values: pd.DataFrame, nulls: Sequence[NullTable], scores: Mapping[str, Score], *, match: Match
) -> pd.DataFrame:
    """Rows of `scores`, but for what they are keyed by: each score once per null, a score without a null once.

    Args:
        values: one row a unit, by channel; one column a score or part.
        nulls: what they are compared with.
        scores: the registry, for the tails.
        match: how null sets of the same clarity are found.
    """
    made: list[pd.DataFrame] = []
    for name in map(str, values):
        its = [null for null in nulls if name in scores and null.has(name)]
        if not its:
            made.append(_rows(name, NO_NULL, values.index, _numbers(values, name)))
        made += [_one(name, values, null, scores[name].tail, match) for null in its]
    for null in nulls:
        if any(null.has(part) for part in separation.PARTS):
            made.append(_separation(values, null, match))
        made += _psi(values, null)
    return pd.concat(made, ignore_index=True)


def matches(values: pd.DataFrame, null: NullTable, *, random_clarity: float) -> pd.DataFrame:
    """Rows of `matches`, but for what they are keyed by: how well a null speaks for each unit."""
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


def _one(name: str, values: pd.DataFrame, null: NullTable, tail: calibration.Tail, match: Match) -> pd.DataFrame:
    value, clarity = _numbers(values, name), _numbers(values, "clarity")
    known = _numbers(null.values, name)
    fit = Calibration.fit(known, null.clarity, tail=tail)
    p = _p(fit, value, clarity, Known(known, null.clarity), match)
    has_value = ~np.isnan(value)
    mean, sd = np.where(has_value, fit.mean(clarity), np.nan), np.where(has_value, fit.sd(clarity), np.nan)
    return _rows(name, null.name, values.index, value, null_mean=mean, null_sd=sd, p=p)


class Known(NamedTuple):
    """A statistic on the null sets, and their clarity."""

    values: Numbers
    clarity: Numbers


def _p(fit: Calibration, value: Numbers, clarity: Numbers, known: Known, match: Match) -> Numbers:
    if match == "nearest":
        return calibration.matched(value, clarity, known.values, known.clarity, tail=fit.tail)
    return fit.p(value, clarity)


def _separation(values: pd.DataFrame, null: NullTable, match: Match) -> pd.DataFrame:
    """The statistic of the test, its null from the same null sets."""
    clarity = _numbers(values, "clarity")
    own, known = (
        separation.separation({name: _residuals(name, frame, null) for name in separation.PARTS})
        for frame in (values, null.values)
    )
    fit = Calibration.fit(known, null.clarity, tail="upper")
    p = _p(fit, own, clarity, Known(known, null.clarity), match)
    is_fitted = np.zeros(len(p), dtype=bool)
    if match == "regression":
        p, is_fitted = _with_tail(p, fit.standardised(own, clarity), fit.residuals)
    mean, sd = fit.mean(clarity), fit.sd(clarity)
    rows = _rows("separation", null.name, values.index, own, null_mean=mean, null_sd=sd, p=p)
    return rows.assign(is_extrapolated=is_fitted)


def _with_tail(p: Numbers, residual: Numbers, known: Numbers) -> tuple[Numbers, Bool[np.ndarray, " u"]]:
    """P with its smallest values read from a tail fitted to the null's residuals, and which these are.

    With B null sets counting ends at 1 / (B + 1), which of some thousand units none can survive a false discovery rate.
    """
    found, is_fitted = p.copy(), np.zeros(len(p), dtype=bool)
    if not np.isfinite(known).all():
        return found, is_fitted  # the null follows its mean without any spread: there is no tail to fit
    for unit in np.flatnonzero((p * (len(known) + 1) <= FEW_BEYOND) & np.isfinite(residual)):
        found[unit], is_fitted[unit] = tail_p(float(residual[unit]), known)
    return found, is_fitted


def _residuals(name: str, frame: pd.DataFrame, null: NullTable) -> Numbers:
    """Of each row from what the null expects; NaN where it has no value."""
    if not null.has(name):
        return np.full(len(frame), np.nan)
    fit = Calibration.fit(_numbers(null.values, name), null.clarity, tail="none")
    return fit.standardised(_numbers(frame, name), _numbers(frame, "clarity"))


def _psi(values: pd.DataFrame, null: NullTable) -> Iterator[pd.DataFrame]:
    """PSI and its parts, by labels and by words; p is among null sets near in clarity, all parts at once."""
    for suffix, last in (("", "distinctness"), ("_words", "distinctness_words")):
        parts = (*psi.PARTS[:2], last)
        if any(part not in values or values[part].isna().all() or not null.has(part) for part in parts):
            continue
        clarity = _numbers(values, "clarity")
        fit = Calibration.fit(_numbers(null.values, "silhouette"), null.clarity, tail="upper")
        own, known = (
            psi.psi(s, fit.mean(_numbers(frame, "clarity")), q, d)
            for frame in (values, null.values)
            for s, q, d in [tuple(_numbers(frame, part) for part in parts)]
        )
        p = calibration.matched(own.psi, clarity, known.psi, null.clarity, tail="upper")
        joint = Calibration.fit(known.psi, null.clarity, tail="upper")
        mean, sd = joint.mean(clarity), joint.sd(clarity)
        yield _rows(f"psi{suffix}", null.name, values.index, own.psi, null_mean=mean, null_sd=sd, p=p)
        for part in ("s", "q", "d"):
            yield _rows(f"psi{suffix}_{part}", null.name, values.index, getattr(own, part))


def _numbers(frame: pd.DataFrame, name: str) -> Numbers:
    return frame[name].to_numpy(np.float64)


def _rows(score: str, null: str, channel: pd.Index, value: Numbers, **under_null: Numbers) -> pd.DataFrame:
    """Rows of one score; `null_mean`, `null_sd` and `p` are NaN where they are not given."""
    nothing = dict.fromkeys(NUMBERS[1:], np.nan)
    made = {"channel": channel, "null": null, "score": score, "value": value, **nothing, **under_null}
    return pd.DataFrame({**made, "is_extrapolated": False})
