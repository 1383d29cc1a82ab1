"""The arithmetic of the benchmarks that tell how time and memory grow, and of the costed plan."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.scaling import costed_plan, growth, plan_vs_scan
from polyscan.pipeline import STAGES

UNITS_OF_RESNET50 = 26_560


def points_of(power: float, slope: float) -> list[dict[str, Any]]:
    """Points of a known law."""
    return [
        {"x": x, "stages": {stage: {"seconds": 3 * x**power, "peak_mib": 900 + slope * x / 1000}
                            for stage in growth.STAGES}}
        for x in (100, 200, 400, 800)
    ]  # fmt: skip


@pytest.mark.parametrize(("power", "slope"), [(1.0, 5.0), (0.5, 0.0), (2.0, -3.0)])
def test_a_law_of_growth_is_found_again(power: float, slope: float) -> None:
    for its in growth.fits(points_of(power, slope)).values():
        assert its["time_exponent"] == pytest.approx(power)
        assert its["time_exponent_error"] == pytest.approx(0, abs=1e-6)
        assert its["mib_per_1000"] == pytest.approx(slope, abs=1e-6)


def test_noise_shows_in_the_error() -> None:
    points = points_of(1.0, 0.0)
    for place, point in enumerate(points):
        point["stages"]["score"]["seconds"] *= 1 + 0.2 * (-1) ** place
    found = growth.fits(points)
    assert found["score"]["time_exponent_error"] > 0.05
    assert found["name"]["time_exponent_error"] < 1e-6


def test_figures_have_no_ground_of_their_own_and_name_every_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(growth, "FIGURES", tmp_path)
    points = points_of(1.0, 2.0)
    workers = [{"x": x, "stages": points[0]["stages"], "peak_mib": 1.0} for x in growth.WORKERS]
    axis = {"points": points, "fits": growth.fits(points), "load": [0.0, 0.0]}
    found = {"images": axis, "workers": {"points": workers, "load": [0.0, 0.0]}}
    files = growth.draw(found)
    assert [file.name for file in files] == ["growth-images.svg", "growth-workers.svg"]
    for file in files:
        text = file.read_text(encoding="utf-8")
        assert all(stage in text for stage in growth.STAGES)
        assert "white" not in text
        assert growth.GREY in text
    told = growth.markdown(found)
    assert all(f"| {stage} |" in told for stage in growth.STAGES)
    assert "| all |" in told


def test_sets_of_blocks_end_at_the_same_one() -> None:
    sets = [sum(growth.LAYERS[: place + 1], ()) for place in range(len(growth.LAYERS))]
    deepest = {max(int(name.split(".")[1]) for name in layers) for layers in sets}
    assert len(deepest) == 1
    assert [len(set(layers)) for layers in sets] == [2, 4, 8, 16]


# ---- plan against scan ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("foretold", "taken", "is_wrong"), [(10, 10, False), (16, 10, True), (6, 10, True), (0.1, 4.9, False)]
)
def test_only_long_stages_foretold_far_off_are_wrong(foretold: float, taken: float, is_wrong: bool) -> None:
    sides = [{"seconds": seconds, "bytes": 4, "peak_mib": 2.0} for seconds in (foretold, taken)]
    entry = {"foretold": {"score": sides[0]}, "taken": {"score": sides[1]}, "planning_s": 1.0, "load": [0.0, 0.0]}
    assert plan_vs_scan.wrong(entry, "score") == is_wrong
    assert plan_vs_scan.ratios(entry, "score")["seconds"] == pytest.approx(foretold / taken)
    assert "| score |" in plan_vs_scan.markdown("job", json.loads(json.dumps(entry)))


def test_nothing_taken_has_no_ratio() -> None:
    entry = {"foretold": {"name": {"seconds": 1, "bytes": 1, "peak_mib": None}},
             "taken": {"name": {"seconds": 0, "bytes": 0, "peak_mib": 1}}}  # fmt: skip
    assert all(np.isnan(value) for value in plan_vs_scan.ratios(entry, "name").values())


# ---- the costed plan -----------------------------------------------------------------------------------------------


def test_the_network_is_counted_from_itself() -> None:
    n = costed_plan.counts()
    assert (n.layers, n.units) == (53, UNITS_OF_RESNET50)
    assert n.adds == pytest.approx(4.09e9, rel=0.01)
    assert n.crops <= UNITS_OF_RESNET50 * costed_plan.ITEMS
    assert n.opened <= n.crops
    assert n.features <= n.scanned * costed_plan.ITEMS


def test_every_rate_names_the_command_that_measured_it() -> None:
    for name, rate in costed_plan.RATES.items():
        assert rate.value > 0, name
        assert "`python -m benchmarks." in rate.source, name


def test_more_workers_never_take_longer_and_never_less_than_their_share() -> None:
    stages = costed_plan.stages()
    assert [stage.name for stage in stages] == [stage.name for stage in STAGES]
    for stage in stages:
        times = [stage.seconds(workers) for workers in (1, 2, 8, 64, 10**6)]
        assert times[0] == pytest.approx(stage.alone + stage.work)
        assert times == sorted(times, reverse=True)
        assert times[-1] == pytest.approx(stage.alone + stage.work / stage.shards)
        for workers, time_ in zip((1, 2, 8, 64), times, strict=False):
            assert time_ >= stage.alone + stage.work / workers - 1e-6


def test_what_was_not_measured_is_called_an_estimate() -> None:
    told = costed_plan.markdown([1, 8, 64], cores=8, price=2.0)
    lines = {line.split("|")[1].strip(): line for line in told.splitlines() if line.startswith("| ")}
    for stage in STAGES:
        is_estimate = stage.name in ("collect", "deflate", "recollect", "recombine", "visualize")
        assert lines[stage.name].endswith("| estimate |" if is_estimate else "| from measured rates |")
    hours = [float(cell) for cell in lines["all"].split("|")[5:8]]
    costs = [float(cell.replace(",", "")) for cell in lines["cost at 2 a GPU hour"].split("|")[5:8]]
    for n, hour, cost in zip((1, 8, 64), hours, costs, strict=True):
        assert cost == pytest.approx(2.0 * n * hour, abs=0.5 + 2.0 * n * 0.005)
