"""Memory that runs out: a shard is done with half the batch, says so, and holds to a tolerance instead of the bytes."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
import toy
from sabotage import hashes, without
from toy import worker_of

from polyscan import pipeline
from polyscan.errors import ShardError
from polyscan.job import Job
from polyscan.run import Run
from polyscan.run.records import Done
from polyscan.shards import Failure, Receipt, Shard
from polyscan.studies.status import status_of
from polyscan.worker import with_batches

Make = Callable[[Job, Run], Callable[[Shard], dict[str, Any]]]
MODULES = {stage.name: stage.module for stage in pipeline.STAGES}


def out_of_memory() -> RuntimeError:
    return torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


class Small:
    """A GPU with memory for a batch of so many: larger ones end as torch ends them."""

    def __init__(self, group: str, most: int, error: Callable[[], RuntimeError] = out_of_memory) -> None:
        self.group, self.most, self.error = group, most, error
        self.made: list[int] = []

    def worker(self, real: Make) -> Make:
        """A stage's worker that lives on it."""

        def make(job: Job, run: Run) -> Callable[[Shard], dict[str, Any]]:
            batch = getattr(job, self.group).batch
            self.made.append(batch)
            work = real(job, run)

            def does(shard: Shard) -> dict[str, Any]:
                if batch > self.most:
                    raise self.error()
                return work(shard)

            return does

        return make


@pytest.fixture(scope="module", autouse=True)
def _no_maps() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline.report, "draw", lambda *_: None)
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Run]:
    """A run with enough memory, to compare with."""
    folder = tmp_path_factory.mktemp("whole")
    run = Run(str(folder / "run"))
    pipeline.scan(toy.job(folder / "images"), run, pipeline.in_process)
    return folder / "images", run


def close(found: pd.DataFrame, expected: pd.DataFrame, tolerance: float) -> None:
    """Equal, numbers up to a tolerance relative to the column's size; pictures and vectors by their own numbers."""
    assert list(found) == list(expected)
    assert len(found) == len(expected)
    for name in found:
        ours, theirs = found[name], expected[name]
        if name == "image" and ours.dtype == object:
            continue  # pixels of a PNG: their activation says how near they are
        if ours.dtype == object and len(ours) and isinstance(ours.iloc[0], np.ndarray):
            ours, theirs = np.concatenate(list(ours)), np.concatenate(list(theirs))
        elif ours.dtype.kind not in "f":
            assert ours.equals(theirs), name
            continue
        ours, theirs = np.asarray(ours, dtype=float), np.asarray(theirs, dtype=float)
        scale = np.nanmax(np.abs(theirs[np.isfinite(theirs)]), initial=1e-30)
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance * scale, equal_nan=True, err_msg=name)


@pytest.mark.parametrize(
    ("stage", "group", "batches", "tables", "tolerance"),
    [
        ("survey", "collect", [8, 4, 2], ["layers", "readouts"], 1e-5),
        ("collect", "collect", [8, 4, 2], ["candidates", "moments", "images"], 1e-5),
        ("visualize", "visualize", [8, 4, 2], ["visualizations"], 1e-3),
        ("embed", "embed", [16, 8, 4, 2], ["embeddings", "features", "concepts"], 1e-5),
    ],
)
def test_where_memory_runs_out_a_stage_is_done_with_smaller_batches_and_says_so(
    whole: tuple[Path, Run],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    stage: str,
    group: str,
    batches: list[int],
    tables: list[str],
    tolerance: float,
) -> None:
    images, reference = whole
    gpu = Small(group, most=2)
    monkeypatch.setattr(MODULES[stage], "Worker", gpu.worker(MODULES[stage].Worker))
    run = without(stage, Path(reference.address), tmp_path / "run")
    with caplog.at_level(logging.WARNING, logger="polyscan"):
        pipeline.scan(toy.job(images), run, pipeline.in_process)
    assert gpu.made == batches, "halved until it fits, and left so: it would run out again"
    setting = f"{group}.batch"
    for record in run.ledger.done(stage).values():
        assert record.batch is not None
        assert record.batch[setting] == 2
        for part in record.parts:
            with run.storage.open(part.file) as file:
                about = json.loads(pq.read_schema(file).metadata[b"polyscan"])
            assert about["batch"] == record.batch, "rows say that they are not the others' bytes"
    for status in status_of(run.address):
        assert status.halved == (status.done if status.stage == stage else 0)
    assert f"memory ran out, done with {setting} = 2" in caplog.text
    for table in tables:
        close(run.read(table), reference.read(table), tolerance)
    before = hashes(run.address)
    monkeypatch.undo()
    pipeline.scan(toy.job(images), run, pipeline.in_process)
    assert hashes(run.address) == before, "what is done is done: the settings are those of the job"


def test_with_memory_enough_nothing_is_said_of_batches(whole: tuple[Path, Run]) -> None:
    _, run = whole
    part = run.parts("candidates")[0]
    with run.storage.open(part.file) as file:
        assert "batch" not in json.loads(pq.read_schema(file).metadata[b"polyscan"])
    assert all(record.batch is None for record in run.ledger.done("collect").values())


def test_a_shard_that_does_not_fit_alone_fails(
    whole: tuple[Path, Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, _ = whole
    gpu = Small("collect", most=0)
    monkeypatch.setattr(MODULES["collect"], "Worker", gpu.worker(MODULES["collect"].Worker))
    with pytest.raises(ShardError, match="shard 0 of `collect` failed: OutOfMemoryError: CUDA out of memory"):
        pipeline.scan(toy.job(images), Run(str(tmp_path / "run")), pipeline.in_process)
    assert gpu.made[:4] == [8, 4, 2, 1]


@pytest.mark.parametrize(
    ("message", "is_memory"),
    [
        ("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", True),
        ("cuDNN error: CUDNN_STATUS_ALLOC_FAILED", True),
        ("CUDA error: out of memory", True),
        ("CUDA error: device-side assert triggered", False),
    ],
)
def test_libraries_beside_torch_run_out_in_their_own_words(
    whole: tuple[Path, Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, message: str, is_memory: bool
) -> None:
    images, reference = whole
    gpu = Small("collect", most=4, error=lambda: RuntimeError(message))
    monkeypatch.setattr(MODULES["collect"], "Worker", gpu.worker(MODULES["collect"].Worker))
    fingerprint = reference.ledger.done("collect")[0].fingerprint
    run = Run(str(tmp_path / "run"))
    run.save_manifest(reference.manifest())
    worker = worker_of("survey", toy.job(images), run, reference.ledger.done("survey")[0].fingerprint)
    for shard in MODULES["survey"].shards(worker.job, run):
        assert isinstance(worker.work(shard), Receipt)
    outcome = worker_of("collect", toy.job(images), run, fingerprint).work(Shard("collect", 0, 3, 0, 20))
    if is_memory:
        assert isinstance(outcome, Receipt)
        assert outcome.batch == {"collect.batch": 4}
    else:
        assert isinstance(outcome, Failure)
        assert gpu.made == [8]
    assert run.ledger.running("collect") == []


def test_a_stage_without_a_batch_fails_at_once(
    whole: tuple[Path, Run], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    images, _ = whole
    made = []

    def make(job: Job, run: Run) -> Callable[[Shard], dict[str, Any]]:
        made.append(job)

        def does(shard: Shard) -> dict[str, Any]:
            raise out_of_memory()

        return does

    monkeypatch.setattr(MODULES["combine"], "Worker", make)
    outcome = worker_of("combine", toy.job(images), Run(str(tmp_path / "run")), "print").work(
        Shard("combine", 0, 1, 0, 5)
    )
    assert isinstance(outcome, Failure)
    assert outcome.cause.startswith("OutOfMemoryError: ")
    assert len(made) == 1


def test_what_filled_the_memory_is_gone_before_the_next_try(
    whole: tuple[Path, Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error's own frames hold what was allocated: it must be let go of before memory is asked for again."""
    import weakref

    images, _ = whole
    held: list[weakref.ref[Any]] = []

    class Large:
        """What a worker holds, in a knot with itself."""

        def __init__(self) -> None:
            self.itself = self

    def make(job: Job, run: Run) -> Callable[[Shard], dict[str, Any]]:
        assert [ref() for ref in held] == [None] * len(held), "the last worker's memory is still held"

        def does(shard: Shard) -> dict[str, Any]:
            large = Large()
            held.append(weakref.ref(large))
            raise out_of_memory()

        return does

    monkeypatch.setattr(MODULES["collect"], "Worker", make)
    outcome = worker_of("collect", toy.job(images), Run(str(tmp_path / "run")), "print").work(
        Shard("collect", 0, 1, 0, 5)
    )
    assert isinstance(outcome, Failure)
    assert "OutOfMemoryError" in outcome.cause
    assert len(held) == 4


def test_only_the_batches_of_a_job_are_changed(whole: tuple[Path, Run]) -> None:
    images, _ = whole
    job = toy.job(images)
    other = with_batches(job, {"embed.batch": 3, "collect.batch": 2})
    assert (other.embed.batch, other.collect.batch, other.visualize.batch) == (3, 2, job.visualize.batch)
    assert with_batches(other, {"embed.batch": job.embed.batch, "collect.batch": job.collect.batch}) == job
    assert with_batches(job, {}) == job


def test_records_of_earlier_versions_are_read(whole: tuple[Path, Run]) -> None:
    storage = whole[1].storage
    record = json.loads(storage.read(storage.files("done/collect")[0]))
    del record["at"], record["batch"]
    done = Done.parse(json.dumps(record).encode())
    assert (done.at, done.batch) == (None, None)
    assert done.rows > 0
