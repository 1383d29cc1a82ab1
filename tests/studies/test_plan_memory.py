"""Memory and counts that `plan` foretells: peaks as they are measured, and arithmetic against slow twins of it."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import toy

from polyscan.cli import scanning as cli
from polyscan.results import Results
from polyscan.studies.plan import measuring, plan
from polyscan.studies.plan.evidence import box_shares, distinct
from polyscan.studies.plan.measuring import once, seconds, watched
from polyscan.studies.plan.outlook import Outlook
from polyscan.vision.fields import Axis
from polyscan.vision.readouts import ReadPoint
from polyscan.vision.readouts.layouts import Layout

MIB = 2**20
SLACK = 48 * MIB  # what an allocator may round up, and what others of this process's threads hold
needs_proc = pytest.mark.skipif(not measuring.FORGET.exists(), reason="peaks are read as Linux counts them")


# ---- peaks ---------------------------------------------------------------------------------------------------------


@needs_proc
def test_a_peak_holds_what_was_held_within_and_no_more() -> None:
    with watched() as before:
        pass
    with watched() as peak:
        np.ones(128 * MIB // 8)
    assert before.process is not None
    assert peak.process is not None
    assert before.process > 0
    assert abs(peak.process - before.process - 128 * MIB) < SLACK


@needs_proc
def test_a_peak_gone_by_is_forgotten() -> None:
    with watched() as large:
        np.ones(256 * MIB // 8)
    with watched() as small:
        pass
    assert large.process is not None
    assert small.process is not None
    assert small.process < large.process - 256 * MIB + SLACK


def test_a_cpu_has_no_gpu_memory() -> None:
    if torch.cuda.is_initialized():
        pytest.skip("this process has used a GPU")
    with watched() as peak:
        pass
    assert peak.gpu is None


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_a_peak_on_a_gpu_is_that_of_its_tensors() -> None:
    torch.cuda.init()
    with watched() as before:
        pass
    with watched() as peak:
        torch.ones(16 * MIB, device="cuda")
    assert before.gpu is not None
    assert peak.gpu is not None
    assert peak.gpu - before.gpu == pytest.approx(64 * MIB, abs=MIB)


def test_where_the_system_does_not_tell_there_is_no_memory(
    toy_results: Results, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(measuring, "FORGET", tmp_path / "no" / "such" / "file")
    assert all(row.memory is None for row in plan(toy.stored_job(toy_results)).rows)


def test_the_command_shows_memory_or_that_it_is_not_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    job = tmp_path / "toy.toml"
    job.write_text(toy.job(tmp_path / "images", visualize__enabled=False).to_toml(), encoding="utf-8")
    cli.plan(str(job))
    known = capsys.readouterr().out
    assert "memory" in known
    assert "GPU memory" not in known or torch.cuda.is_initialized()
    assert ("?" in known) != measuring.FORGET.exists()
    monkeypatch.setattr(measuring, "FORGET", tmp_path / "no" / "such" / "file")
    cli.plan(str(job))
    assert "?" in capsys.readouterr().out


def test_seconds_are_those_of_a_call_behind_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    now, costs = [0.0], iter([100.0, 1.0, 3.0, 2.0])
    monkeypatch.setattr(measuring, "clock", lambda: now[0])

    def work() -> None:
        now[0] += next(costs)

    monkeypatch.setattr(measuring, "ENOUGH_S", 50.0)
    assert seconds(work) == 2.0
    assert list(costs) == []


def test_a_long_call_is_timed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(measuring, "clock", lambda: now[0])

    def work() -> None:
        now[0] += 7.0

    assert once(work) == 7.0
    assert seconds(work) == 7.0
    assert now[0] == 3 * 7.0


# ---- what grows ----------------------------------------------------------------------------------------------------


def held(tmp_path: Path, **changes: object) -> dict[str, float]:
    """Bytes held by stage."""
    rows = plan(toy.job(tmp_path / "images", visualize__enabled=False, **changes)).rows
    if measuring.FORGET.exists():
        assert all(row.memory is not None and row.memory > row.held for row in rows)
    return {row.stage: row.held for row in rows}


def test_memory_grows_with_what_a_worker_holds(tmp_path: Path) -> None:
    plain = held(tmp_path)
    larger = held(tmp_path, collect__k=10, survey__positions=1200)
    assert larger["collect"] / plain["collect"] == pytest.approx(10 / toy.K)
    assert larger["combine"] / plain["combine"] == pytest.approx(10 / toy.K)
    assert larger["survey"] > plain["survey"]
    cut = held(tmp_path, collect__images_per_shard=10)
    assert cut["combine"] / plain["combine"] == pytest.approx(2)
    assert cut["collect"] == plain["collect"]
    more_units = held(tmp_path, survey__readouts=80)
    for stage in ("collect", "combine", "embed"):
        assert more_units[stage] > plain[stage], stage


def test_a_pool_is_held_where_a_null_is_drawn_from_it(tmp_path: Path) -> None:
    layers = ["mix", "head"]
    with_pool = held(tmp_path, network__layers=layers)
    without = held(tmp_path, network__layers=layers, calibrate__nulls=["layer"])
    job = toy.job(tmp_path / "images", network__layers=layers, visualize__enabled=False)
    width = Outlook(job).embedding_width
    assert with_pool["calibrate"] - without["calibrate"] == toy.N_IMAGES * 16 * width
    assert with_pool["score"] == without["score"]


# ---- counts against their twins ------------------------------------------------------------------------------------


def drawn(draws: int, shares: np.ndarray, n_images: int, generator: np.random.Generator) -> int:
    """How many (image, part) are met when each draw picks an image, and a part or none."""
    met: set[tuple[int, int]] = set()
    for _ in range(draws):
        image, chance = int(generator.integers(n_images)), float(generator.random())
        for part, share in enumerate(shares.tolist()):
            chance -= share
            if chance < 0:
                met.add((image, part))
                break
    return len(met)


@pytest.mark.parametrize("shares", [[1.0], [0.5, 0.5], [0.7, 0.1, 0.1], [0.05] * 20])
@pytest.mark.parametrize("draws", [1, 30, 400])
def test_distinct_ones_are_as_many_as_are_met_on_average(shares: list[float], draws: int) -> None:
    generator = np.random.default_rng(0)
    counts = [drawn(draws, np.array(shares), 12, generator) for _ in range(200)]
    error = float(np.std(counts)) / math.sqrt(len(counts))
    assert distinct(draws, np.array(shares), 12) == pytest.approx(float(np.mean(counts)), abs=5 * error + 1e-5)


def test_distinct_ones_are_never_more_than_draws_or_kinds() -> None:
    shares = np.full(9, 1 / 9)
    for draws in (0, 1, 10, 1000, math.inf):
        assert distinct(draws, shares, 50) <= min(draws, 9 * 50) + 1e-9
    assert distinct(math.inf, np.ones(1), 1) == 1


def point(axis: Axis, size: int) -> ReadPoint:
    """A layer with the same field along rows and columns."""
    return ReadPoint("layer", 0, 4, (size, size), (axis, axis), "", False, "node", Layout(1))


@pytest.mark.parametrize(
    ("axis", "size"),
    [(Axis(1.0, 0.0, 0.0), 16), (Axis(2.0, -3.0, 4.0), 8), (Axis(4.0, -20.0, 24.0), 4), (Axis(8.0, -9.0, 9.0), 2)],
)
def test_parts_of_an_image_are_those_that_places_see(axis: Axis, size: int) -> None:
    side = 16
    seen: dict[tuple[int, ...], int] = {}
    for y in range(size):
        for x in range(size):
            edges = [place * axis.stride + axis.low for place in (y, x)]
            ends = [edge + axis.high - axis.low + 1 for edge in edges]
            box = tuple(int(min(max(edge, 0), side)) for edge in (*edges, *ends))
            seen[box] = seen.get(box, 0) + 1
    whole = seen.pop((0, 0, side, side), 0)
    of_part, of_whole = box_shares(point(axis, size), (side, side))
    assert of_whole == whole / size**2
    assert sorted(of_part.tolist()) == sorted(count / size**2 for count in seen.values())


def test_a_layer_without_a_field_sees_the_whole_image() -> None:
    of_part, of_whole = box_shares(ReadPoint("layer", 0, 4, (1, 1), None, "", False, "node", Layout(1)), (16, 16))
    assert (len(of_part), of_whole) == (0, 1.0)
