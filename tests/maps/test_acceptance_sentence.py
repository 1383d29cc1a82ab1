"""The sentence on depth: the right verb for a planted trend, and no claim where there is none to be made."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.synthetic.network import Plan, Trend
from benchmarks.synthetic.run import job_of, write
from polyscan.maps import Atlas
from polyscan.report.contents import atlas_of
from polyscan.report.statements import statements
from polyscan.report.unit_map import calibrated_rows, unit_map

UNITS, LAYERS = 1200, 12


class Small:
    """A small run and its atlas."""

    def __init__(self, folder: Path, trend: Trend, *, layers: int = LAYERS, units: int = UNITS) -> None:
        plan = Plan(units, layers, trend)
        self.job, self.run = job_of(plan), write(folder, plan)
        self.rows = calibrated_rows(self.run)
        self.frame = unit_map(self.job, self.run, self.rows)
        self.atlas = atlas_of(self.job, self.run, self.frame, self.rows)

    def with_dead(self) -> Atlas:
        """The same with dead units counted as if they were alive."""
        return atlas_of(self.job, self.run, self.frame.assign(is_dead=False), self.rows)


def sentence(made: Atlas) -> str:
    """What is said of depth."""
    found = [claim.text for claim in made.claims if "depth" in claim.text]
    assert len(found) == 1
    assert found[0] in made.statement
    return found[0]


@pytest.mark.parametrize(("trend", "verb"), [("up", "rises"), ("down", "falls")])
def test_a_planted_trend_is_claimed_with_its_verb_and_a_shuffled_one_is_not(
    tmp_path: Path, trend: Trend, verb: str
) -> None:
    small = Small(tmp_path / "run", trend)
    made = small.atlas
    text = sentence(made)
    assert f" {verb} with depth" in text
    assert f"{LAYERS - 2} layers" in text  # one of them is all dead, one has no power
    assert all(word in text for word in ("rho", "permutation p", "95 % interval"))
    claimed = 0
    for seed in range(20):
        order = np.random.default_rng(seed).permutation(LAYERS)
        depth = {layer.name: int(order[place]) for place, layer in enumerate(made.layers)}
        shuffled = [replace(point, depth=depth[point.layer]) for point in made.trend]
        texts = [
            claim.text for claim in statements(small.job, small.frame, made.layers, shuffled) if "depth" in claim.text
        ]
        claimed += not texts[0].startswith("No depth trend is claimed")
    assert claimed <= 3  # at a level of .05 twenty give one


def test_no_trend_is_claimed_where_none_was_planted(tmp_path: Path) -> None:
    assert sentence(Small(tmp_path / "run", "none").atlas).startswith("No depth trend is claimed: ")


def test_no_trend_is_claimed_of_fewer_than_eight_layers(tmp_path: Path) -> None:
    text = sentence(Small(tmp_path / "run", "up", layers=8).atlas)  # two of which count for nothing
    assert text.startswith("No depth trend is claimed: ")
    assert "8 are needed" in text


def test_a_trend_of_dead_units_is_none(tmp_path: Path) -> None:
    small = Small(tmp_path / "run", "dead-only", units=5 * UNITS)  # so many that every layer has dead ones
    assert sentence(small.atlas).startswith("No depth trend is claimed: ")
    assert " rises with depth" in sentence(small.with_dead())  # it was there
