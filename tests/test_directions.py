"""Directions of one's own go through a whole scan as channels do: those that are channels come out as these."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import toy
from safetensors.numpy import save_file

from polyscan import pipeline
from polyscan.errors import JobError
from polyscan.job import Job
from polyscan.results import Results
from polyscan.results.tiers import is_judged
from polyscan.run import Run
from polyscan.stats.significance import benjamini_hochberg
from polyscan.units import virtual_layer

SAME = {0: 3, 1: 17}
"""Directions that are channels of `coarse`: of which."""
OWN = virtual_layer("coarse", "direction")


def directions_file(folder: Path) -> Path:
    """Two directions that are channels, one that is two channels, and one that no image reaches."""
    weights = np.zeros((4, 24), dtype=np.float32)
    for row, channel in SAME.items():
        weights[row, channel] = 1
    weights[2, [3, 17]] = 1
    weights[3, 5] = 1
    bias = np.array([0, 0, 0, -1e6])
    names = {"names": json.dumps(["third", "", "both", "silent"]), "activation": "relu"}
    save_file({"weights": weights, "bias": bias}, folder / "own.safetensors", names)
    return folder / "own.safetensors"


@pytest.fixture(scope="module")
def scanned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Results, Job]:
    folder = tmp_path_factory.mktemp("directions")
    job = toy.wide_job(folder / "images", directions={"coarse": str(directions_file(folder))})
    pipeline.scan(job, Run(str(folder / "run")), pipeline.in_process)
    return Results(str(folder / "run")), job


def test_a_direction_that_is_a_channel_has_its_images_and_its_answer(scanned: tuple[Results, Job]) -> None:
    results, _ = scanned
    columns = ["mean", "sd", "max", "kurtosis", "clarity", "gap", "separation", "p", "second_separation", "second_p"]
    for row, channel in SAME.items():
        own, real = results.unit(OWN, row), results.unit("coarse", channel)
        assert own.exemplars["image"].tolist() == real.exemplars["image"].tolist()
        pd.testing.assert_series_equal(own.row[columns], real.row[columns], check_names=False, rtol=1e-4, atol=1e-6)
        assert own.row["p"] > 0
        assert own.row["verdict"] == real.row["verdict"]


def test_q_is_over_channels_and_directions_together(scanned: tuple[Results, Job]) -> None:
    frame = scanned[0].map
    assert np.allclose(frame["q"], benjamini_hochberg(frame["p"].to_numpy()), equal_nan=True)
    channels = frame[frame["role"] == "unit"]
    assert not np.allclose(channels["q"], benjamini_hochberg(channels["p"].to_numpy()), equal_nan=True)


def test_the_map_holds_them_after_their_layer_with_their_names(scanned: tuple[Results, Job]) -> None:
    frame = scanned[0].map
    assert frame["layer"].drop_duplicates().tolist() == ["fine", "coarse", OWN, "head"]
    own = frame[frame["layer"] == OWN]
    assert own["direction"].tolist() == ["third", "", "both", "silent"]
    assert own["channel"].tolist() == [0, 1, 2, 3]
    assert (own["role"] == "direction").all()
    assert (own["parent"] == "coarse").all()
    assert (frame[frame["role"] == "unit"]["direction"] == "").all()
    assert OWN in scanned[0].top(len(frame))["layer"].tolist()


def test_a_rectified_direction_that_no_image_reaches_is_dead(scanned: tuple[Results, Job]) -> None:
    frame = scanned[0].map
    assert frame[frame["layer"] == OWN]["is_dead"].tolist() == [False, False, False, True]


def test_pages_show_them_but_count_them_apart(scanned: tuple[Results, Job]) -> None:
    results, _ = scanned
    claims = json.loads(results.run.storage.read("maps/statements.json"))["statements"]
    texts = [claim["text"] for claim in claims]
    about = [text for text in texts if text.startswith("4 directions of one's own were scanned in 1 layer")]
    assert len(about) == 1
    assert "All q are over channels and directions together" in about[0]
    channels = results.map[results.map["role"] == "unit"]
    n_judged = int(is_judged(channels["verdict"]).sum())
    assert 0 < n_judged <= len(channels) == 46
    assert texts[0].startswith(f"Of {n_judged} judged units")
    front = results.run.storage.read("maps/index.html").decode()
    assert OWN in front
    assert "directions of one" in front
    scripts = [name for name in results.run.storage.files("maps/data") if "/02/" in name]
    shown = "".join(results.run.storage.read(name).decode() for name in scripts)
    assert '["direction","third"]' in shown.replace(" ", "")
    assert '["reads","coarse"]' in shown.replace(" ", "")
    sprites = results.table("sprites")
    assert set(sprites[sprites["layer"] == OWN]["channel"]) >= {0, 1, 2}


def test_other_directions_are_another_run(scanned: tuple[Results, Job], tmp_path: Path) -> None:
    results, job = scanned
    save_file({"weights": np.eye(24, dtype=np.float32)[:4]}, tmp_path / "own.safetensors")
    other = job.model_copy(update={"directions": {"coarse": str(tmp_path / "own.safetensors")}})
    with pytest.raises(JobError, match=r"the directions of \[directions\] differ from those of the run"):
        pipeline.scan(other, Run(results.run.address), pipeline.in_process)
