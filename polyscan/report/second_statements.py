"""Sentences about the second test, and about what both tests call together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from polyscan.maps.atlas import LayerRow, SecondRow, Statement
from polyscan.report.rates import CONTROL, RANDOM, Bounds
from polyscan.report.statements import not_judged_words
from polyscan.report.unit_map import SECOND
from polyscan.results.tiers import CERTIFIED, NO_SPLIT, PROBABLY, SEVERAL, SUGGESTIVE, TIERS, is_called, is_judged

TESTS = {"first": "", "second": SECOND}
"""The prefix of each test's columns."""
WORDS = {CONTROL: "single-concept controls", RANDOM: "random directions"}


def second_statements(
    frame: pd.DataFrame, calibrated: pd.DataFrame, layers: Sequence[LayerRow], bounds: Bounds
) -> Iterator[Statement]:
    """What the second test says; nothing in a run without it.

    Args:
        frame: the map.
        calibrated: `calibrated_rows`.
        layers: with the numbers of the second test.
        bounds: of the second test.
    """
    if f"{SECOND}verdict" not in frame or not is_judged(frame[f"{SECOND}verdict"]).any():
        return
    rows = {layer.name: layer.second for layer in layers if layer.second}
    yield _verdicts(frame)
    yield from _bounds(bounds, rows)
    yield from _proof(rows)
    if "verdict" in frame:
        yield _either(frame, calibrated)


def is_likely(verdict: pd.Series) -> pd.Series:
    """Whether each verdict is `several`, certified or not, or `probably several`."""
    return is_called(verdict) | (verdict == PROBABLY)


def _verdicts(frame: pd.DataFrame) -> Statement:
    verdict, strength = frame[f"{SECOND}verdict"], frame[f"{SECOND}strength"]
    counts = verdict.value_counts()
    n = {tier: int(counts.get(tier, 0)) for tier in TIERS}
    medians = {"judged": float(strength[is_judged(verdict)].median())}
    of_likely = ""
    if is_likely(verdict).any():
        medians["likely"] = float(strength[is_likely(verdict)].median())
        of_likely = f" ({medians['likely']:.2f} in those called several or probably several)"
    not_judged = not_judged_words(counts)
    rest = f"; units that can't be judged: {not_judged}" if not_judged else ""
    text = (
        f"Second test (what a unit's main meaning leaves unexplained), at the same rates: of {sum(n.values()):,} "
        f"judged units, {n[SEVERAL] + n[CERTIFIED]:,} are called several, {n[PROBABLY]:,} more are probably several, "
        f"{n[SUGGESTIVE]:,} more are suggestive, and {n[NO_SPLIT]:,} show no split{rest}. The second part is a median "
        f"{medians['judged']:.2f} as strong as the main one{of_likely}."
    )
    every = {str(word): int(number) for word, number in counts.items()}
    return Statement(text, {"second_verdicts": every, "median_strength": medians})


def _bounds(bounds: Bounds, rows: dict[str, SecondRow]) -> Iterator[Statement]:
    """At least how many units are several by the second test, and the same for virtual units."""
    units = bounds.units
    if units is None:
        return
    beside = [
        f"{found.n:,} of {found.of:,} {name} ({found.share:.0%})"
        for name, found in ((WORDS[RANDOM], bounds.random), (WORDS[CONTROL], bounds.controls))
        if found
    ]
    same = f" The same bound for virtual units of these layers: {', '.join(beside)}." if beside else ""
    yield Statement(
        f"By the second test, at least {units.n:,} of {units.of:,} units ({units.share:.0%}) are several (95 %).{same}",
        {**asdict(bounds), "layers": {layer: row.at_least for layer, row in rows.items()}},
    )


def _proof(rows: dict[str, SecondRow]) -> Iterator[Statement]:
    """The shares with p <= .05 by the second test, of units and of virtual units."""
    words = {"p_05": "judged units", "fpr": WORDS[CONTROL], "power": "planted pairs", "random": WORDS[RANDOM]}
    shares = {name: [rate.share for row in rows.values() if (rate := getattr(row, name))] for name in words}
    known = {name: values for name, values in shares.items() if values}
    if known:
        texts = [f"{np.mean(values):.1%} of {words[name]}" for name, values in known.items()]
        yield Statement(f"By the second test, p <= .05 in {_listed(texts)} (means over layers).", known)


def _listed(texts: Sequence[str]) -> str:
    """Phrases as a list in words.

    >>> _listed(["a", "b", "c"]), _listed(["a"])
    ('a, b and c', 'a')
    """
    return " and ".join(filter(None, (", ".join(texts[:-1]), texts[-1])))


@dataclass(frozen=True)
class CallsAtSameP:
    """Virtual units of one role that would be called several or probably several.

    Args:
        called: their number, by each test, by either, and by both.
        of: virtual units that either test can judge.
        share: of them that either test would call, with layers weighted by their judged units.
    """

    called: dict[str, int]
    of: int
    share: float

    def words(self, role: str) -> str:
        """In words."""
        return f"{self.called['either']:,} of {self.of:,} {WORDS[role]} ({self.share:.1%})"


def _either(frame: pd.DataFrame, calibrated: pd.DataFrame) -> Statement:
    """How many units either test calls, beside virtual units at the same p."""
    called = pd.DataFrame({test: is_likely(frame[f"{prefix}verdict"]) for test, prefix in TESTS.items()})
    judged = is_judged(frame["verdict"]) | is_judged(frame[f"{SECOND}verdict"])
    n, of = _counts(called), int(judged.sum())
    sizes = frame[judged].groupby("layer").size()
    largest = {
        test: frame[called[test]].groupby("layer")[f"{prefix}p"].max().to_dict() for test, prefix in TESTS.items()
    }
    beside = {role: found for role in WORDS if (found := _at_same_p(calibrated, role, largest, sizes))}
    would = _listed([found.words(role) for role, found in beside.items()]) if beside else ""
    same = (
        f" At the same p, {would} would be called likewise: a layer's p is the largest of a unit that is called there, "
        "and shares weigh layers by their units."
        if would
        else ""
    )
    text = (
        f"{n['either']:,} of {of:,} judged units ({n['either'] / of:.1%}) are called several or probably several by at "
        f"least one test: {n['first']:,} by the first, {n['second']:,} by the second, {n['both']:,} by both.{same}"
    )
    inputs: dict[str, Any] = {"called": n, "judged": of, "largest_p": largest}
    return Statement(text, inputs | {role: asdict(found) for role, found in beside.items()})


def _counts(called: pd.DataFrame) -> dict[str, int]:
    counts = {test: int(called[test].sum()) for test in TESTS}
    return {**counts, "either": int(called.any(axis=1).sum()), "both": int(called.all(axis=1).sum())}


def _at_same_p(
    calibrated: pd.DataFrame, role: str, largest: dict[str, dict[Any, float]], sizes: pd.Series
) -> CallsAtSameP | None:
    """Which virtual units have a p of at most the largest p of a called unit of their layer, in either test.

    As for channels, those that cannot be judged do not count, and an artefact is not called. Where no unit of a layer
    is called, none of its virtual units is.
    """
    rows = calibrated[(calibrated["score"] == "separation") & (calibrated["role"] == role) & calibrated["p"].notna()]
    rows = rows[~rows["is_invalid"] & rows["parent"].isin(sizes.index)]
    hits: dict[str, pd.Series] = {}
    for test, prefix in TESTS.items():
        of_test = rows[rows["prefix"] == prefix]
        limit = np.array([largest[test].get(layer, np.nan) for layer in of_test["parent"]], dtype=np.float64)
        is_hit = (of_test["p"].to_numpy(np.float64) <= limit) & ~of_test["is_artefact"].to_numpy(bool)
        hits[test] = pd.Series(is_hit, index=pd.MultiIndex.from_frame(of_test[["parent", "channel"]]))
    called = pd.DataFrame(hits).fillna(False).astype(bool)
    if called.empty:
        return None
    by_layer = called.any(axis=1).groupby(level="parent").mean()
    weights = sizes[by_layer.index]
    return CallsAtSameP(_counts(called), len(called), float((by_layer * weights).sum() / weights.sum()))
