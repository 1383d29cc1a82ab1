"""What a run was made from: kinds of CPU are recorded, and a resume on another kind says so."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
import toy

from polyscan import manifest, pipeline, worker
from polyscan.errors import ImagesError, JobError, ShardError
from polyscan.inputs import digests_and_facts, open_images
from polyscan.job import Job
from polyscan.run import Run
from polyscan.vision.devices import cpu_kind


@pytest.fixture
def few_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line ends after its first three stages, and draws nothing."""
    monkeypatch.setattr(pipeline, "STAGES", pipeline.STAGES[:3])
    monkeypatch.setattr(pipeline.report, "draw", lambda *_: None)


@pytest.fixture
def toy_state(tmp_path: Path) -> Path:
    """The toy's weights as a checkpoint of Lightning."""
    state = {f"model.{name}": value for name, value in toy.network().state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "toy.ckpt")
    return tmp_path / "toy.ckpt"


def test_a_resume_on_another_kind_of_cpu_says_so_and_both_are_recorded(
    tmp_path: Path, few_stages: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    job, run = toy.job(tmp_path / "images"), Run(str(tmp_path / "run"))
    pipeline.scan(job, run, pipeline.in_process)
    assert run.manifest()["cpus"] == [cpu_kind()]
    assert {done.cpu for done in run.ledger.done("collect").values()} == {cpu_kind()}
    assert "other numbers agree up to rounding" not in caplog.text
    run.storage.remove("done/combine")
    monkeypatch.setattr(worker, "cpu_kind", lambda: "x86_64 OTHER")
    with caplog.at_level(logging.WARNING):
        pipeline.scan(job, run, pipeline.in_process)
    assert run.manifest()["cpus"] == sorted([cpu_kind(), "x86_64 OTHER"])
    (said,) = [record.getMessage() for record in caplog.records if "rounding" in record.getMessage()]
    assert f"shards run on x86_64 OTHER, others ran on {cpu_kind()}" in said


def facts(job: Job) -> tuple[dict[str, str], dict[str, Any]]:
    return digests_and_facts(job, open_images(job))


def test_a_run_records_which_weights_were_taken(tmp_path: Path, toy_state: Path) -> None:
    _, about = facts(toy.job(tmp_path / "images"))
    assert about["network"]["weights_taken"] == "as toy:network gives them"
    assert about["network"]["is_untrained"] is False
    _, about = facts(toy.job(tmp_path / "images", network__weights=str(toy_state)))
    assert about["network"]["weights_taken"] == 'toy.ckpt "state_dict" without the prefix "model."'
    _, about = facts(toy.job(tmp_path / "images", network__weights="random"))
    assert about["network"]["is_untrained"] is True


def test_kinds_of_cpu_are_no_part_of_a_fingerprint(tmp_path: Path, few_stages: None) -> None:
    job, run = toy.job(tmp_path / "images"), Run(str(tmp_path / "run"))
    first = pipeline.settle(job, run)
    assert manifest.note_cpu(run, "one") == []
    assert manifest.note_cpu(run, "two") == ["one"]
    assert manifest.note_cpu(run, "one") == ["two"]
    assert pipeline.settle(job, run) == first
    assert run.manifest()["cpus"] == ["one", "two"]


def test_what_a_user_should_know_is_said_before_the_scan(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    toy.paint(tmp_path / "images")
    (tmp_path / "images" / "notes.txt").write_text("no image")
    job = toy.job(tmp_path / "images", network__weights="random")
    with caplog.at_level(logging.WARNING):
        pipeline.settle(job, Run(str(tmp_path / "run")))
    said = [record.getMessage() for record in caplog.records]
    assert said == [
        "toy:network is untrained: its weights are random, as the job asks",
        "not counted as images: files that are no images by their names (1): notes.txt",
    ]


def test_labels_that_were_looked_for_and_not_found_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    images = toy.paint(tmp_path / "painted")
    (tmp_path / "flat").mkdir()
    for number, path in enumerate(sorted(images.rglob("*.png"))):
        path.rename(tmp_path / "flat" / f"{number}.png")
    with caplog.at_level(logging.WARNING):
        pipeline.settle(toy.job(tmp_path / "flat"), Run(str(tmp_path / "run")))
    assert "labels: none found (no class folders: all files lie in the folder itself)" in caplog.text


def changed(folder: Path, change: object) -> tuple[Run, Job]:
    """A run of a network of one's own whose source has changed since."""
    (folder / "own_net.py").write_text(OWN)
    (folder / "helpers.py").write_text("def between(x):\n    return x.relu()\n")
    job = toy.job(toy.paint(folder / "images"), network__name="own_net:build", visualize__layers="all")
    job = job.model_copy(update={"folder": str(folder)})
    run = Run(str(folder / "run"))
    pipeline.settle(job, run)
    (folder / "helpers.py").write_text(f"def between(x):\n    return {change}\n")
    return run, job


OWN = """
from torch import nn
from helpers import between

class Own(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1)

    def forward(self, x):
        return self.second(between(self.first(x)))

def build():
    return Own()
"""


@pytest.mark.parametrize("change", ["x.abs()", "x.relu() * 1"])
def test_other_code_is_refused_also_where_it_is_imported(tmp_path: Path, change: str) -> None:
    run, job = changed(tmp_path, change)
    with pytest.raises(JobError, match=r"the sources of the network's code differ from those of .*--redo survey"):
        pipeline.settle(job, run)
    pipeline.settle(job, run, redo="survey")


def test_other_values_of_the_same_code_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after another version of a library that the code uses."""
    job, run = toy.job(toy.paint(tmp_path / "images")), Run(str(tmp_path / "run"))
    pipeline.settle(job, run)
    monkeypatch.setattr(torch, "relu", torch.tanh)
    with pytest.raises(JobError, match=r"toy:network gives other values than when .* \(first at layer head\)"):
        pipeline.settle(job, run)


def test_a_worker_with_other_weights_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Own code may draw its weights from a generator that nobody seeds."""
    monkeypatch.setattr(toy, "network", lambda: (net := toy.Toy(), net.head.weight.data.normal_(generator=FREE))[0])
    job, run = toy.job(toy.paint(tmp_path / "images")), Run(str(tmp_path / "run"))
    with pytest.raises(ShardError, match="toy:network has other values at layer head in this process than where the"):
        pipeline.scan(job, run, pipeline.in_process)


FREE = torch.Generator()


def test_a_worker_with_other_images_is_refused(tmp_path: Path) -> None:
    job, run = toy.job(toy.paint(tmp_path / "images")), Run(str(tmp_path / "run"))
    fingerprints = pipeline.settle(job, run)
    (tmp_path / "images" / "red" / "new.png").write_bytes(b"new")
    work = pipeline.shard_worker(pipeline.STAGES[0], job, run, fingerprints["survey"])()
    failure = work(pipeline.STAGES[0].module.shards(job, run)[0])
    assert failure.is_job_error
    assert "are not those that the scan began with" in failure.cause


def test_another_setting_of_the_images_is_named(tmp_path: Path) -> None:
    run = Run(str(tmp_path / "run"))
    pipeline.settle(toy.job(tmp_path / "images"), run)
    with pytest.raises(JobError, match=r"\[images\] exif: \"turn\" in the run, \"ignore\" here\)") as refused:
        pipeline.settle(toy.job(tmp_path / "images", images__exif="ignore"), run)
    assert "image files" not in str(refused.value)
    next((tmp_path / "images").glob("*/*.png")).unlink()
    with pytest.raises(JobError, match="the image files, by name and size, differ"):
        pipeline.settle(toy.job(tmp_path / "images"), run)


@pytest.mark.parametrize("content", [b"", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"])
def test_images_of_which_none_can_be_read_are_refused_at_once(tmp_path: Path, content: bytes) -> None:
    job, run = toy.job(tmp_path / "images"), Run(str(tmp_path / "run"))
    paths = sorted((tmp_path / "images").glob("*/*.png"))
    for path in paths[1:]:
        path.write_bytes(content)
    pipeline.settle(job, run)  # one is fine
    paths[0].write_bytes(content)
    with pytest.raises(ImagesError, match=r"none of the 16 images of .* can be read \(first blue/"):
        pipeline.settle(job, Run(str(tmp_path / "other")))
    assert not (tmp_path / "other").exists()
