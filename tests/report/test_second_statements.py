"""Sentences about the second test, from frames whose numbers are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from polyscan.report.rates import Bounds, Rates
from polyscan.report.second_statements import second_statements
from polyscan.stats.significance import wilson_interval

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


def virtual(role: str, first: list[float], second: list[float], **changes: Any) -> pd.DataFrame:
    tests = [("", first), ("second_", second)]
    rows = [
        {"layer": f"a@{role}", "parent": "a", "role": role, "channel": channel, "prefix": prefix, "p": p}
        for prefix, values in tests
        for channel, p in enumerate(values)
    ]
    return pd.DataFrame(rows).assign(**{"score": "separation", "is_invalid": False, "is_artefact": False, **changes})


def test_a_run_without_a_second_test_says_nothing_of_it() -> None:
    first_alone = frame().drop(columns=["second_p", "second_verdict", "second_strength"])
    assert not list(second_statements(first_alone, pd.DataFrame(), {}, NO_BOUNDS))


def test_units_that_either_test_calls_stand_beside_virtual_units_at_the_same_p() -> None:
    # The largest p of a called unit is .02 by the first test and .01 by the second.
    calibrated = pd.concat(
        [virtual("control", [0.02, 0.03, 0.5, 0.5], [0.5, 0.5, 0.009, 0.5]), virtual("random", [0.3] * 4, [0.011] * 4)]
    )
    *_, last = second_statements(frame(), calibrated, {}, NO_BOUNDS)
    assert last.text.startswith("3 of 4 judged units are called several or probably several by the first or the second")
    assert "1 by both" in last.text
    assert "50.0% of single-concept controls and 0.0% of random directions would be called, too" in last.text
    assert last.inputs["either"] == 3
    assert last.inputs["control"][0] == pytest.approx(0.5)


def test_virtual_units_with_an_artefact_would_not_be_called() -> None:
    calibrated = virtual("control", [0.001] * 4, [0.001] * 4, is_artefact=True)
    *_, last = second_statements(frame(), calibrated, {}, NO_BOUNDS)
    assert "0.0% of single-concept controls" in last.text


def test_tiers_strength_and_rates_are_told() -> None:
    rates = {"a": Rates(wilson_interval(2, 40), 40, wilson_interval(30, 40), 40)}
    first, proof, _ = second_statements(frame(), virtual("control", [0.5], [0.5]), rates, NO_BOUNDS)
    assert "of 4 judged units, 1 are called several, 1 more probably several" in first.text
    assert "at the median 0.65 times as strong" in first.text
    assert "5.0% of single-concept controls, 75.0% of planted pairs" in proof.text
