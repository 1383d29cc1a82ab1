"""Lower bounds on how many units are not null, which hold for every set of units, however it was chosen.

The p-values must be conformal: p = (1 + #{calibration scores at least as extreme}) / (1 + B), the same B calibration
scores for all units of a group, units and calibration scores exchangeable under the null, groups independent of each
other. Then the p-values of a group's null units depend on each other, in a way that does not depend on the data: they
are ranks among scores in random order. Two bounds, each valid for every set of units at once:

    Envelope         of the number of nulls with p <= t, for all t at once; strong where many units have smallish p
    closed_testing   with Simes' test; strong where few units have very small p
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64

from polyscan.stats.significance.adaptive import tested

CONFIDENCE = 0.95
DRAWS = 2000
LARGEST = 0.5
"""Thresholds above it are not looked at: beyond them, few units that are not null are gained."""
_N_SMALL, _N_LARGE = 24, 24


class Group(NamedTuple):
    """Units that share their calibration scores.

    Args:
        n: number of units with a p.
        n_calibration: number B of calibration scores.
    """

    n: int
    n_calibration: int


@dataclass(frozen=True, eq=False)
class Envelope:
    """An upper bound on the number of null units with p <= t, at every threshold t at once.

    With m units of which N are not null, at confidence 95 %: #{null, p <= t} <= (m - N) t + excess(t) for all t, so

        N >= (#{p <= t} - m t - excess(t)) / (1 - t)  for every t

    excess is simulated for m nulls: the number with p <= t less its mean, in draws of the ranks of nulls among
    calibration scores; at each t it is the k-th largest of all draws, with the largest k for which at most 5 % of the
    draws are above it at any t. The excess of fewer nulls is smaller; tests measure that the bound holds then, too.

    Args:
        n: number m of units.
        thresholds: ascending.
        excess: at each threshold.

    Source: Song, Jin & Candes 2026, "Everywhere valid bounds on false discovery proportions in conformal inference",
    arXiv 2605.20726, for the envelope of simulated conformal p-values; Meinshausen & Rice 2006, "Estimating the
    proportion of false null hypotheses among a large number of independently tested hypotheses", for the division by
    1 - t. Departures: groups with calibration scores of their own, and excess in place of counts.
    """

    n: int
    thresholds: Float64[np.ndarray, " t"]
    excess: Float64[np.ndarray, " t"]

    @classmethod
    def simulate(
        cls,
        groups: Sequence[Group],
        *,
        generator: np.random.Generator,
        draws: int = DRAWS,
        confidence: float = CONFIDENCE,
    ) -> Envelope:
        """The envelope of all units of these groups together.

        Raises:
            ValueError: if a group has no units or no calibration scores, or `draws` are too few for the confidence.
        """
        if any(group.n < 1 or group.n_calibration < 1 for group in groups):
            raise ValueError(f"each group needs a unit and a calibration score, got {list(groups)}")
        least = int(np.ceil(2 / (1 - confidence)))
        if draws < least:
            raise ValueError(f"`draws` must be at least {least} for a confidence of {confidence:g}, got {draws}")
        thresholds = _thresholds(max((group.n_calibration for group in groups), default=1))
        excess = np.zeros((draws, len(thresholds)))
        for group in groups:
            excess += _excess_of_nulls(group, thresholds, draws, generator)
        return cls(sum(group.n for group in groups), thresholds, _envelope(excess, confidence))

    def at_least(self, p: Float[np.ndarray, " m"], among: Bool[np.ndarray, " m"] | None = None) -> int:
        """At least this many units are not null: of all, or of a set of them.

        The set may be chosen after looking at p. At 95 % the bounds of all sets hold together.

        Args:
            p: of all units of the groups; NaN marks what was not tested and does not count.
            among: the set; default: all units.

        Raises:
            ValueError: if a p-value is out of [0, 1], or there are not `n` of them.
        """
        p = np.asarray(p, dtype=np.float64)
        of_all = tested(p)
        if len(of_all) != self.n:
            raise ValueError(f"the envelope is for {self.n} units, got {len(of_all)} p-values")
        counts = np.searchsorted(np.sort(of_all), self.thresholds * (1 + 1e-12), "right")
        least = _ceil(
            float(np.max((counts - self.n * self.thresholds - self.excess) / (1 - self.thresholds), initial=0.0))
        )
        if among is None:
            return least
        of_set = np.sort(p[np.asarray(among, dtype=bool) & ~np.isnan(p)])
        counts = np.searchsorted(of_set, self.thresholds * (1 + 1e-12), "right")
        n_nulls = (self.n - least) * self.thresholds + self.excess
        of_largest = least - (self.n - len(of_set))  # those outside the set may all be among the `least`
        return max(0, _ceil(float(np.max(counts - n_nulls, initial=0.0))), of_largest)


def closed_testing(
    p: Float[np.ndarray, " m"], among: Bool[np.ndarray, " m"] | None = None, *, confidence: float = CONFIDENCE
) -> int:
    """At least this many units of a set are not null, by closed testing with Simes' test of every subset.

    d(S) = max over u of 1 - u + #{i in S: h p_i <= u a};  h: size of the largest set that Simes' test does not reject

    Valid for all sets together, so for one that was chosen after looking at p. Simes' test keeps its level because
    conformal p-values of nulls depend on each other positively (PRDS; Bates et al. 2023).

    Args:
        p: of all units; NaN marks what was not tested and does not count.
        among: the set; default: all units.
        confidence: 1 - a.

    Raises:
        ValueError: if a p-value is out of [0, 1].

    Source: Goeman, Meijer, Krebs & Solari 2019, "Simultaneous control of all false discovery proportions in large-scale
    multiple hypothesis testing", theorem 1 and lemma 1.

    >>> closed_testing(np.array([0.001, 0.002, 0.9, 0.8])), closed_testing(np.array([0.5, 0.6]))
    (2, 0)
    """
    p = np.asarray(p, dtype=np.float64)
    level = 1 - confidence
    h = _largest_unrejected(np.sort(tested(p)), level)
    of_set = np.sort(p[~np.isnan(p)] if among is None else p[np.asarray(among, dtype=bool) & ~np.isnan(p)])
    if h == 0:
        return len(of_set)
    sizes = np.arange(1, len(of_set) + 1)
    counts = np.searchsorted(h * of_set, sizes * level * (1 + 1e-12), "right")
    return max(0, int(np.max(1 - sizes + counts, initial=0)))


def _thresholds(n_calibration: int) -> Float64[np.ndarray, " t"]:
    """Thresholds from the smallest p that is possible to .5, dense at small ones; fixed before p is seen."""
    least = 1 / (n_calibration + 1)
    small = np.geomspace(min(least, 0.05), 0.05, _N_SMALL, endpoint=False)
    return np.concatenate([small, np.linspace(0.05, LARGEST, _N_LARGE)])


def _excess_of_nulls(
    group: Group, thresholds: Float64[np.ndarray, " t"], draws: int, generator: np.random.Generator
) -> Float64[np.ndarray, "draws t"]:
    """Number of null p-values up to each threshold, less m t, in each draw.

    p <= t if fewer than t (B + 1) calibration scores are at least as extreme. So, given the calibration scores, each
    unit has p <= t with the probability that lies beyond the j-th most extreme of them, j = floor(t (B + 1)); these
    probabilities are distributed as the order statistics of B uniform numbers.
    """
    ranks = np.floor(thresholds * (group.n_calibration + 1) * (1 + 1e-12))
    steps = np.diff(ranks, prepend=0.0, append=group.n_calibration + 1.0)
    shares = generator.standard_gamma(np.broadcast_to(steps, (draws, len(steps))))
    shares /= shares.sum(axis=1, keepdims=True)
    counts = generator.multinomial(group.n, shares)[:, :-1].cumsum(axis=1)
    return counts - group.n * thresholds


def _envelope(excess: Float64[np.ndarray, "draws t"], confidence: float) -> Float64[np.ndarray, " t"]:
    """The k-th largest of all draws at each threshold, k as large as the confidence allows."""
    draws = len(excess)
    ordered = np.sort(excess, axis=0)
    n_as_large = np.stack(
        [draws - np.searchsorted(column, of, "left") for column, of in zip(ordered.T, excess.T, strict=True)], axis=1
    )
    # A draw lies above the k-th largest at some threshold if fewer than k draws are as large as it there.
    least = np.sort(n_as_large.min(axis=1))
    n_above = int((1 - confidence) * (draws + 1)) - 1  # the data are one more draw
    k = int(least[n_above]) if n_above >= 0 else 1
    return ordered[draws - k]


def _largest_unrejected(p: Float64[np.ndarray, " m"], level: float) -> int:
    """Size of the largest set of the largest p-values that Simes' test does not reject; 0 if it rejects all."""
    low, high = 0, len(p)  # a set is rejected if a smaller one of larger p-values is
    while low < high:
        size = (low + high + 1) // 2
        ranks: Int64[np.ndarray, " i"] = np.arange(1, size + 1)
        if (size * p[len(p) - size :] <= ranks * level).any():
            high = size - 1
        else:
            low = size
    return low


def _ceil(number: float) -> int:
    """The next whole number, since a count is one; rounding errors do not add to it."""
    return math.ceil(number - 1e-9)
