"""Sentences about the second test, and about what both tests call together."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from polyscan.maps.atlas import Statement
from polyscan.report.rates import LEVEL, Bounds, Rates
from polyscan.results.tiers import CERTIFIED, NO_SPLIT, PROBABLY, SEVERAL, SUGGESTIVE, is_judged
from polyscan.stats.significance import Interval, wilson_interval

CALLED = (SEVERAL, CERTIFIED, PROBABLY)
ROLES = {"control": "single-concept controls", "random": "random directions"}


def second_statements(
    frame: pd.DataFrame, calibrated: pd.DataFrame, rates: dict[str, Rates], bounds: Bounds
) -> Iterator[Statement]:
    """What the second test says, given its rates by layer and its bounds; nothing in a run without it."""
    if "second_verdict" not in frame or not is_judged(frame["second_verdict"]).any():
        return
    yield _verdicts(frame)
    yield from _bounds(bounds)
    yield from _proof(rates)
    if "verdict" in frame:
        yield _either(frame, calibrated)


def _verdicts(frame: pd.DataFrame) -> Statement:
    verdict = frame["second_verdict"]
    counts = verdict[is_judged(verdict)].value_counts()
    n = {tier: int(counts.get(tier, 0)) for tier in (SEVERAL, PROBABLY, SUGGESTIVE, NO_SPLIT)}
    strength = float(frame.loc[is_judged(verdict), "second_strength"].median())
    text = (
        f"Second test, of what a unit's main meaning leaves unexplained: of {sum(n.values()):,} judged units, "
        f"{n[SEVERAL]:,} are called several, {n[PROBABLY]:,} more probably several, {n[SUGGESTIVE]:,} more are "
        f"suggestive, and {n[NO_SPLIT]:,} show no split. The second part is at the median {strength:.2f} times as "
        "strong as the main one."
    )
    return Statement(text, {"verdicts": n, "median_strength": strength})


def _bounds(bounds: Bounds) -> Iterator[Statement]:
    units = bounds.units
    if units is None:
        return
    beside = [
        f"{found.n:,} of {found.of:,} {name}"
        for name, found in (("random directions", bounds.random), ("single-concept controls", bounds.controls))
        if found
    ]
    same = f" The same bound for virtual units of these layers: {', '.join(beside)}." if beside else ""
    yield Statement(
        f"By the second test, at least {units.n:,} of {units.of:,} units are several (95 %).{same}",
        {"units": [units.n, units.of], "beside": beside},
    )


def _proof(rates: dict[str, Rates]) -> Iterator[Statement]:
    means = {
        name: [getattr(of_layer, name).mean for of_layer in rates.values() if getattr(of_layer, name)]
        for name in ("fpr", "power", "random")
    }
    words = {"fpr": "single-concept controls", "power": "planted pairs", "random": "random directions"}
    shares = [f"{np.mean(values):.1%} of {words[name]}" for name, values in means.items() if values]
    if shares:
        yield Statement(
            f"At p <= .05, the second test calls {', '.join(shares)} several (means over layers).",
            {name: values for name, values in means.items() if values},
        )


def _either(frame: pd.DataFrame, calibrated: pd.DataFrame) -> Statement:
    """How many units either test calls, beside virtual units at the same p."""
    first, second = (frame[name].isin(CALLED) for name in ("verdict", "second_verdict"))
    judged = is_judged(frame["verdict"]) | is_judged(frame["second_verdict"])
    beside = {role: _virtual_share(role, frame, calibrated) for role in ROLES}
    words = [f"{share.mean:.1%} of {ROLES[role]}" for role, share in beside.items() if share is not None]
    at_same_p = f"; at the same p as in each layer, {' and '.join(words)} would be called, too" if words else ""
    text = (
        f"{int((first | second).sum()):,} of {int(judged.sum()):,} judged units are called several or probably several "
        f"by the first or the second test, {int((first & second).sum()):,} by both{at_same_p}."
    )
    inputs = {
        "either": int((first | second).sum()),
        "both": int((first & second).sum()),
        "judged": int(judged.sum()),
        **{role: list(share) for role, share in beside.items() if share is not None},
    }
    return Statement(text, inputs)


def _virtual_share(role: str, frame: pd.DataFrame, calibrated: pd.DataFrame) -> Interval | None:
    """Share of virtual units that either test would call: p at most the largest p of a called unit of their layer.

    Layers in which no unit is called count with their virtual units, none of which is called.
    """
    hits: list[pd.Series] = []
    for prefix, verdict in (("", "verdict"), ("second_", "second_verdict")):
        called = frame[frame[verdict].isin(CALLED)]
        largest = called.groupby("layer")[f"{prefix}p"].max()
        rows = calibrated[(calibrated["prefix"] == prefix) & (calibrated["score"] == "separation")]
        rows = rows[(rows["role"] == role) & rows["p"].notna() & ~rows["is_invalid"]]
        limit = rows["parent"].map(largest).astype(np.float64).fillna(-1.0)
        is_hit = (rows["p"] <= limit) & ~(rows["is_artefact"] & (rows["p"] <= LEVEL))
        hits.append(pd.Series(is_hit.to_numpy(), index=pd.MultiIndex.from_frame(rows[["layer", "channel"]])))
    joined = pd.concat(hits)
    if joined.empty:
        return None
    either = joined.groupby(level=[0, 1]).any()
    return wilson_interval(int(either.sum()), len(either))
