"""What a run was made from: kinds of CPU are recorded, and a resume on another kind says so."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
import toy

from polyscan import manifest, pipeline, worker
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
