"""Sentences about the user's directions, which are judged as channels are, but never counted among them."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from polyscan.maps.atlas import Statement
from polyscan.report.rates import bounds
from polyscan.report.statements import judged_units, not_judged_words
from polyscan.report.unit_map import SECOND
from polyscan.results.tiers import PROBABLY, is_called
from polyscan.units import DIRECTION

TESTS = {"": "first", SECOND: "second"}
"""The tests by the prefix of their columns."""


def direction_statements(frame: pd.DataFrame, calibrated: pd.DataFrame) -> Iterator[Statement]:
    """What each test says of the user's directions; nothing in a run without them.

    Args:
        frame: the map.
        calibrated: `calibrated_rows`.
    """
    own = frame[frame["role"] == DIRECTION]
    if own.empty:
        return
    layers = own["parent"].nunique()
    texts = [_of_test(own, calibrated, prefix) for prefix in TESTS if f"{prefix}verdict" in own]
    told = "; ".join(texts) or "they are not judged, because this run has no null"
    yield Statement(
        f"{len(own):,} directions of one's own were scanned in {layers} layer{'s' * (layers > 1)}: {told}. They have "
        "the null, the controls and the planted pairs of the layer that they read. All q are over channels and "
        "directions together; every other sentence is about channels alone.",
        {"directions": len(own), "layers": own["parent"].unique().tolist()},
    )


def _of_test(own: pd.DataFrame, calibrated: pd.DataFrame, prefix: str) -> str:
    """What one test says, in half a sentence."""
    judged, verdict = judged_units(own, prefix), own[f"{prefix}verdict"]
    of_judged = f"by the {TESTS[prefix]} test {int(is_called(verdict).sum()):,} of {len(judged):,} judged are called"
    bound = bounds(judged, calibrated[:0], prefix).units if len(judged) else None
    at_least = f", at least {bound.n:,} are several (95 %)" if bound else ""
    not_judged = not_judged_words(verdict.value_counts())
    rest = f" (not judged: {not_judged})" if not_judged else ""
    return f"{of_judged} several, {int((verdict == PROBABLY).sum()):,} probably several{at_least}{rest}"
