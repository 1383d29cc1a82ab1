"""What may be said of depth: the verb where the layers support it, and silence on noise."""

from __future__ import annotations

import numpy as np
import pytest

from polyscan.report.depth_claim import LEAST_LAYERS, depth_claim


def claim(values: object, seed: int = 0):
    return depth_claim(np.asarray(values, dtype=np.float64), generator=np.random.default_rng(seed))


def test_planted_trends_are_named_by_their_direction() -> None:
    rng = np.random.default_rng(0)
    for n in (8, 20, 50):
        rising = np.linspace(0, 1, n) + 0.05 * rng.normal(size=n)
        assert claim(rising).sign == 1
        assert claim(-rising).sign == -1


def test_noise_is_claimed_to_follow_depth_no_more_often_than_its_level() -> None:
    rng = np.random.default_rng(1)
    claimed = [claim(rng.normal(size=12), seed).sign != 0 for seed in range(300)]
    assert np.mean(claimed) <= 0.05 + 2 * (0.05 * 0.95 / 300) ** 0.5


def test_two_ends_make_no_trend() -> None:
    """The first and the last layer alone carry the difference; between them there is none."""
    values = np.array([-9.0, 0.3, 0.1, 0.4, 0.2, 0.15, 0.35, 0.25, 0.05, 9.0])
    found = claim(values)
    assert found.rise > 0
    assert found.sign == 0


def test_a_hump_is_no_trend() -> None:
    values = 1 - np.linspace(-1, 1, 15) ** 2
    found = claim(values)
    assert found.sign == 0
    assert found.why_not == "does not follow depth"


def test_every_condition_can_withhold_the_claim() -> None:
    sure = claim(np.arange(12.0))
    assert sure.sign == 1
    assert sure.why_not == ""
    from dataclasses import replace

    assert replace(sure, p=0.06).sign == 0
    assert replace(sure, low=-0.1).sign == 0
    assert "last third" in replace(sure, low=-0.1).why_not
    assert replace(sure, inner_rho=-0.1).sign == 0
    assert "without the first and the last layer" in replace(sure, inner_rho=-0.1).why_not
    assert replace(sure, rise=-1.0).sign == 0


def test_too_few_layers_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 8 layers, got 7"):
        claim(np.arange(LEAST_LAYERS - 1))


def test_the_inputs_are_all_that_it_was_made_from() -> None:
    values = np.arange(9.0)
    found = claim(values)
    inputs = found.inputs([f"l{i}" for i in range(9)], values)
    assert inputs["values"] == values.tolist()
    assert {name: inputs[name] for name in ("rho", "p", "rise")} == {"rho": found.rho, "p": found.p, "rise": found.rise}
