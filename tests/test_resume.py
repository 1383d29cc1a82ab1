"""Law 2: done is a fact on disk, resuming does what is missing and nothing else, other settings are refused."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import toy
from sabotage import hashes

from polyscan import pipeline
from polyscan.errors import JobError
from polyscan.job import Job
from polyscan.run import Run
from polyscan.shards import Outcome, Receipt

LINE = [stage.name for stage in pipeline.STAGES]


class Ledger:
    """Notes which shards were done."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def begin(self, stage: str, *, done: int, total: int) -> None: ...

    def outcome(self, outcome: Outcome) -> None:
        assert isinstance(outcome, Receipt)
        self.done.append(f"{outcome.shard.stage}/{outcome.shard.index}")


def scanned(job: Job, address: Path, *, redo: str | None = None) -> list[str]:
    ledger = Ledger()
    pipeline.scan(job, Run(str(address)), pipeline.in_process, redo=redo, watcher=ledger)
    return ledger.done


@pytest.fixture(scope="module", autouse=True)
def _no_maps() -> Iterator[None]:
    """What is resumed are stages; drawing takes longer than all of them here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline.report, "draw", lambda *_: None)
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Job, Path]:
    folder = tmp_path_factory.mktemp("whole")
    job = toy.job(folder / "images")
    scanned(job, folder / "run")
    return job, folder / "run"


def test_a_finished_run_does_nothing_again(whole: tuple[Job, Path]) -> None:
    job, address = whole
    before = hashes(str(address))
    assert scanned(job, address) == []
    assert hashes(str(address)) == before


def test_what_is_lost_is_made_again_with_the_same_bytes(whole: tuple[Job, Path]) -> None:
    job, address = whole
    before = hashes(str(address))
    lost = next(address.glob("visualizations/part-00001-of-*.parquet"))
    lost.unlink()
    next(address.glob("done/score/00000-of-*.json")).unlink()
    assert scanned(job, address) == ["visualize/1", "score/0"]
    assert hashes(str(address)) == before


def test_a_part_without_its_done_record_has_not_happened(whole: tuple[Job, Path], tmp_path: Path) -> None:
    job, address = whole
    record = next(address.glob("done/embed/00001-of-*.json"))
    part = next(address.glob("embeddings/part-00001-of-*.parquet"))
    whole_part = part.read_bytes()
    record.unlink()
    part.write_bytes(whole_part[:100])  # as if the power had gone between the part and its record
    assert scanned(job, address) == ["embed/1"]
    assert part.read_bytes() == whole_part


@pytest.mark.parametrize(
    ("changes", "stage", "says"),
    [
        ({"collect__k": 9}, "survey", r"\[collect\] k: 8 in the run, 9 here"),
        ({"seed": 1}, "survey", r"seed: 0 in the run, 1 here"),
        ({"visualize__steps": 9}, "visualize", r"\[visualize\] steps: 8 in the run, 9 here"),
        ({"calibrate__match": "nearest"}, "calibrate", r'match: "regression" in the run, "nearest" here'),
        ({"survey__planted": 3}, "survey", r"\[survey\] planted: 4 in the run, 3 here"),
        ({"scores__semanticity": {"k_rule": "published"}}, "calibrate", r"k_rule"),
    ],
)
def test_other_settings_are_refused_with_what_differs(
    whole: tuple[Job, Path], changes: dict[str, object], stage: str, says: str
) -> None:
    _, address = whole
    before = hashes(str(address))
    other = toy.job(address.parent / "images", **changes)
    with pytest.raises(JobError, match=says) as caught:
        scanned(other, address)
    assert "Use a new --run" in str(caught.value)
    assert f"--redo {stage}" in str(caught.value)
    assert hashes(str(address)) == before, "a refused job has changed the run"


def test_other_images_are_refused(whole: tuple[Job, Path], tmp_path: Path) -> None:
    _, address = whole
    other = toy.job(toy.paint(tmp_path / "others", n=toy.N_IMAGES + 1, seed=1))
    with pytest.raises(JobError, match="the image files, by name and size, differ from those of the run"):
        scanned(other, address)


def test_drawing_settings_are_in_no_fingerprint(whole: tuple[Job, Path]) -> None:
    _, address = whole
    assert scanned(toy.job(address.parent / "images", show__pictures_per_layer=1), address) == []


def test_redo_makes_a_stage_and_what_follows_anew_and_nothing_else(whole: tuple[Job, Path], tmp_path: Path) -> None:
    job, address = whole
    shutil.copytree(address, tmp_path / "run")
    before = hashes(str(tmp_path / "run"))
    done = scanned(job, tmp_path / "run", redo="embed")
    assert {name.split("/")[0] for name in done} == set(LINE[LINE.index("embed") :]) - {"swap"}  # off by default
    assert hashes(str(tmp_path / "run")) == before
    other = toy.job(address.parent / "images", embed__thumbnail_px=8)
    scanned(other, tmp_path / "run", redo="embed")
    after = hashes(str(tmp_path / "run"))
    assert {name.split("/")[0] for name in before if after[name] != before[name]} >= {"thumbnails"}
    with pytest.raises(JobError, match=r'unknown stage "embedd" after --redo; stages: survey, collect'):
        scanned(job, tmp_path / "run", redo="embedd")


def test_shards_of_any_size_and_order_give_the_same_exemplars(whole: tuple[Job, Path], tmp_path: Path) -> None:
    _, address = whole
    reference = Run(str(address)).read("exemplars")
    units = Run(str(address)).read("units")
    for size in (7, 60):
        other = toy.job(address.parent / "images", collect__images_per_shard=size, visualize__enabled=False)
        scanned(other, tmp_path / str(size))
        found = Run(str(tmp_path / str(size)))
        assert found.read("exemplars").equals(reference)
        assert (found.read("units")[["mean", "sd"]] - units[["mean", "sd"]]).abs().max(axis=None) < 1e-12


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["visualize", "embed"])
def test_a_killed_driver_loses_nothing_and_repeats_nothing(whole: tuple[Job, Path], tmp_path: Path, stage: str) -> None:
    job, address = whole
    job_file = tmp_path / "job.toml"
    job_file.write_text(job.to_toml())
    command = [sys.executable, "-m", "polyscan", "scan", str(job_file), "--run", str(tmp_path / "run"), "--quiet"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, env=environment, cwd=tmp_path) as driver:
        deadline = time.monotonic() + 60
        while not list((tmp_path / "run" / "done" / stage).glob("*.json")):
            assert driver.poll() is None, "the driver ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.002)
        driver.send_signal(signal.SIGKILL)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run" / "done").rglob("*.json")}
    assert before
    scanned(job, tmp_path / "run")
    assert {path: path.stat().st_mtime_ns for path in before} == before, "a shard that was done was done again"
    assert hashes(str(tmp_path / "run")) == hashes(str(address))
