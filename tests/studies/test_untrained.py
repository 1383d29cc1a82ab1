"""The untrained twin of a run, and shares of units with p <= .05 less those of virtual units."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load

from polyscan.errors import JobError
from polyscan.inputs import open_network
from polyscan.results import Results, open_run
from polyscan.stats.significance import Interval
from polyscan.studies.compare import beyond_controls_table, compare
from polyscan.studies.compare.means import Cell, _share_interval, cells_of, difference
from polyscan.studies.compare.runs import _numbers, common_columns, opened
from polyscan.studies.compare.untrained import WEIGHTS, twin_address, untrained_twin, untrained_weights


@pytest.fixture(scope="module")
def twins(wide_results: Results, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A copy of the wide run, and its twin."""
    run = str(tmp_path_factory.mktemp("twins") / "run")
    shutil.copytree(wide_results.run.address, run)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("polyscan.maps.pages", lambda _: [])
        return run, untrained_twin(run, on="local")


def test_the_twin_sees_the_same_with_other_weights(twins: tuple[str, str]) -> None:
    run, twin = (open_run(address) for address in twins)
    assert twin.run.address == twin_address(run.run.address)
    assert twin.is_finished
    assert twin.map[["layer", "channel"]].equals(run.map[["layer", "channel"]])
    trained, untrained = (open_network(each.job) for each in (run, twin))
    assert untrained.preprocessing == trained.preprocessing
    assert trained.digest != untrained.digest
    before, after = trained.module.state_dict(), untrained.module.state_dict()
    assert before.keys() == after.keys()
    assert not any(torch.equal(before[name], after[name]) for name in before)


def test_weights_depend_on_the_seed_alone_and_a_finished_twin_stays_as_it_is(
    twins: tuple[str, str], no_pages: None
) -> None:
    run, twin = (open_run(address) for address in twins)
    file = Path(twin.run.address, WEIGHTS)
    written = file.stat().st_mtime_ns
    job = run.job
    network = open_network(job)
    assert untrained_weights(job, network) == file.read_bytes()
    other = load(untrained_weights(job.model_copy(update={"seed": 1}), network))
    assert not any(torch.equal(value, other[name]) for name, value in load(file.read_bytes()).items())
    parts = {path: path.stat().st_mtime_ns for path in Path(twin.run.address, "tables").rglob("*.parquet")}
    assert untrained_twin(run.run.address, on="local") == twin.run.address
    assert file.stat().st_mtime_ns == written
    assert all(path.stat().st_mtime_ns == time for path, time in parts.items())


def test_shares_less_controls_are_those_of_the_tables(twins: tuple[str, str]) -> None:
    compared: set[str] = set()
    for run in opened(list(twins)):
        cells = cells_of(run, common_columns([run]))
        scores = open_run(run.address).run.read("scores", where={"score": "separation"})
        scores = scores[scores["is_main"] & scores["p"].notna()]
        for layer in run.widths:
            units = scores[(scores["layer"] == layer)]
            share = (units["p"] <= 0.05).mean()
            if not units.empty:
                assert cells["p05_share", layer].interval.mean == pytest.approx(share)
            for column, role in (("p05_excess", "control"), ("p05_over_random", "random")):
                virtual = scores[(scores["layer"] == f"{layer}@{role}")]
                if units.empty or virtual.empty:
                    assert (column, layer) not in cells
                    continue
                excess = cells[column, layer].interval
                assert excess.mean == pytest.approx(share - (virtual["p"] <= 0.05).mean())
                assert excess.low < excess.mean < excess.high or share in (0, 1)
                compared.add(column)
    assert compared == {"p05_excess", "p05_over_random"}


def test_random_directions_are_subtracted_where_a_run_has_them() -> None:
    rows = pd.DataFrame(
        {"score": ["separation", "separation", "gap"], "value": [1.0, 2.0, 3.0], "p": [0.05, 0.06, 0.01]}
    )
    assert _numbers(rows, "p05_share").tolist()[:2] == [1.0, 0.0]
    assert np.isnan(_numbers(rows, "p05_share").iloc[2])
    assert _numbers(rows, "gap").dropna().tolist() == [3.0]


def test_the_interval_of_a_difference_of_shares_is_newcombes() -> None:
    values, controls = np.repeat([1.0, 0.0], [56, 14]), np.repeat([1.0, 0.0], [48, 32])
    found = _share_interval(values, controls)
    assert found == pytest.approx((0.2, 0.0524, 0.3339), abs=1e-4), "Newcombe 1998, table II, (a), method 10"
    first = Cell(("p05_excess", "a", 0), np.arange(70), values, controls, np.zeros(1), found)
    other = replace(first, key=("p05_excess", "a", 1), interval=Interval(0.0, -0.1, 0.1))
    change = difference(first, other, is_paired=False)
    assert change is not None
    down, up = np.hypot(0.1, found.high - found.mean), np.hypot(0.1, found.mean - found.low)
    assert change.interval == pytest.approx((-0.2, -0.2 - down, -0.2 + up))


def test_the_comparison_says_what_both_runs_find_beyond_controls(twins: tuple[str, str], tmp_path: Path) -> None:
    found = compare(list(twins), out=str(tmp_path / "out"), beyond_controls=True).comparison
    assert [sentence.partition(":")[0] for sentence in found.statements[:2]] == ["run", "run-untrained"]
    assert all("of single-concept controls" in sentence for sentence in found.statements[:2])
    head, rows = beyond_controls_table(found)
    each = ("p <= .05", "controls", "random directions")
    assert head[1:7] == [f"{label}, {name}" for name in ("run", "run-untrained") for label in each]
    assert head[7:] == ["less controls, run-untrained less run"]
    assert [row[0] for row in rows] == list(opened(list(twins))[0].widths)
    assert all(len(row) == len(head) for row in rows)
    page = (tmp_path / "out" / "index.html").read_text()
    assert "of single-concept controls" in page


def test_the_run_of_an_untrained_network_has_no_twin(twins: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    job = open_run(twins[0]).job
    untrained = job.model_copy(update={"network": job.network.model_copy(update={"weights": "random"})})
    monkeypatch.setattr("polyscan.studies.compare.untrained.stored_job", lambda _: untrained)
    with pytest.raises(JobError, match="so it has no untrained twin; give a run of a trained network"):
        untrained_twin(twins[0])
