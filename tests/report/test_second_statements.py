"""Sentences about the second test, from frames whose numbers are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from polyscan.maps.atlas import LayerRow, Rate, SecondRow
from polyscan.report.rates import Bounds
from polyscan.report.second_statements import second_statements
from polyscan.report.verdicts import SECOND_VERDICTS, VERDICTS
from polyscan.results.at_least import AtLeast
from polyscan.results.tiers import CERTIFIED

NO_BOUNDS = Bounds(None, None, None)


def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "layer": "a",
            "channel": range(5),
            "p": [0.001, 0.02, 0.3, 0.5, 0.9],
            "verdict": ["several", "probably several", "no split shown", "no split shown", "off_range"],
            "second_p": [0.002, 0.4, 0.01, 0.6, np.nan],
            "second_verdict": ["several", "no split shown", "probably several", "no split shown", ""],
            "second_strength": [0.5, 0.6, 0.7, 0.8, np.nan],
        }
    )


def virtual(role: str, first: list[float], second: list[float], *, layer: str = "a", **changes: Any) -> pd.DataFrame:
    tests = [("", first), ("second_", second)]
    rows = [
        {"layer": f"{layer}@{role}", "parent": layer, "role": role, "channel": channel, "prefix": prefix, "p": p}
        for prefix, values in tests
        for channel, p in enumerate(values)
    ]
    return pd.DataFrame(rows).assign(**{"score": "separation", "is_invalid": False, "is_artefact": False, **changes})


def rate(share: float) -> Rate:
    return Rate(share, 0.0, 1.0, 40)


def layers_of(*seconds: SecondRow | None) -> list[LayerRow]:
    return [LayerRow(f"l{depth}", depth, 10, 0, "", second=second) for depth, second in enumerate(seconds)]


def test_a_run_without_a_second_test_says_nothing_of_it() -> None:
    first_alone = frame().drop(columns=["second_p", "second_verdict", "second_strength"])
    assert not list(second_statements(first_alone, pd.DataFrame(), [], NO_BOUNDS))


def test_units_that_either_test_calls_stand_beside_virtual_units_at_the_same_p() -> None:
    # The largest p of a called unit is .02 by the first test and .01 by the second.
    calibrated = pd.concat([
        virtual("control", [0.02, 0.03, 0.5, 0.5], [0.01, 0.5, 0.009, 0.5]),
        virtual("random", [0.3] * 4, [0.011] * 4),
        virtual("random", [0.001] * 4, [0.001] * 4, is_invalid=True, layer="a"),
        virtual("control", [0.001] * 9, [0.001] * 9, layer="unjudged"),
    ])  # fmt: skip
    *_, last = second_statements(frame(), calibrated, [], NO_BOUNDS)
    assert last.text.startswith("3 of 4 judged units (75.0%) are called several or probably several by at least one")
    assert ": 2 by the first, 2 by the second, 1 by both." in last.text
    assert "2 of 4 single-concept controls (50.0%) and 0 of 4 random directions (0.0%) would be" in last.text
    assert last.inputs["called"] == {"first": 2, "second": 2, "either": 3, "both": 1}
    assert last.inputs["control"]["called"] == {"first": 1, "second": 2, "either": 2, "both": 1}
    assert last.inputs["largest_p"] == {"first": {"a": 0.02}, "second": {"a": 0.01}}


def test_layers_of_virtual_units_weigh_as_their_units_do() -> None:
    """Of four judged units of `a` some are called, of twelve of `b` none, whatever its controls' p."""
    of_b = frame().iloc[[2] * 12].assign(layer="b", second_verdict="no split shown")
    both = pd.concat([frame(), of_b], ignore_index=True)
    controls = [virtual("control", [0.001] * 4, [0.001] * 4, layer=layer) for layer in ("a", "b")]
    *_, last = second_statements(both, pd.concat(controls), [], NO_BOUNDS)
    assert "4 of 8 single-concept controls (25.0%)" in last.text
    assert last.inputs["control"]["share"] == pytest.approx(4 / 16)


def test_a_virtual_unit_that_one_test_cannot_judge_counts_by_the_other() -> None:
    first, second = virtual("control", [0.5], []), virtual("control", [], [0.001]).assign(channel=1)
    *_, last = second_statements(frame(), pd.concat([first, second]), [], NO_BOUNDS)
    assert "1 of 2 single-concept controls (50.0%)" in last.text


def test_virtual_units_with_an_artefact_would_not_be_called() -> None:
    calibrated = virtual("control", [0.001] * 4, [0.001] * 4, is_artefact=True)
    *_, last = second_statements(frame(), calibrated, [], NO_BOUNDS)
    assert "0 of 4 single-concept controls (0.0%)" in last.text


def test_tiers_strength_and_rates_are_told() -> None:
    layers = layers_of(
        SecondRow(fpr=rate(0.05), power=rate(0.75), p_05=rate(0.2)), None, SecondRow(fpr=rate(0.03), power=rate(0.25))
    )
    first, proof, _ = second_statements(frame(), virtual("control", [0.5], [0.5]), layers, NO_BOUNDS)
    assert "of 4 judged units, 1 are called several, 1 more are probably several, 0 more are suggestive" in first.text
    assert first.text.endswith(
        "a median 0.65 as strong as the main one (0.60 in those called several or probably several)."
    )
    expected = (
        "p <= .05 in 20.0% of judged units, 4.0% of single-concept controls and 50.0% of planted pairs (means over"
    )
    assert expected in proof.text
    assert proof.inputs["power"] == [0.75, 0.25]


def test_certified_units_are_called_and_reasons_are_counted() -> None:
    changed = frame().assign(second_verdict=[CERTIFIED, "several", "artefact", "off_range", "no split shown"])
    first, *_ = second_statements(changed, virtual("control", [0.5], [0.5]), [], NO_BOUNDS)
    assert "of 3 judged units, 2 are called several" in first.text
    assert "; units that can't be judged: 1 off range, 1 split by an artefact. The second part" in first.text
    nobody = frame().assign(second_verdict="no split shown")
    first, *_ = second_statements(nobody, virtual("control", [0.5], [0.5]), [], NO_BOUNDS)
    assert first.text.endswith("a median 0.65 as strong as the main one.")


def test_the_bound_of_the_second_test_stands_beside_those_of_virtual_units() -> None:
    found = Bounds(AtLeast(40, 100, 9), AtLeast(0, 20, 0), AtLeast(6, 20, 1))
    claims = second_statements(frame(), virtual("control", [0.5], [0.5]), layers_of(SecondRow(at_least=7)), found)
    (claim,) = [claim for claim in claims if "at least 40" in claim.text]
    assert claim.text.startswith("By the second test, at least 40 of 100 units (40%) are several (95 %).")
    assert "6 of 20 random directions (30%), 0 of 20 single-concept controls (0%)." in claim.text
    assert claim.inputs["units"] == {"n": 40, "of": 100, "by_closed_testing": 9}
    assert claim.inputs["layers"] == {"l0": 7}


def test_each_verdict_of_the_second_test_has_a_meaning_of_its_own() -> None:
    assert set(SECOND_VERDICTS) == set(VERDICTS)
    assert not any("exemplars split" in meaning for meaning in SECOND_VERDICTS.values())
