"""The whole scan: a fixed sequence of stages, each of which reads tables and writes tables.

    survey -> collect -> combine -> deflate -> recollect -> recombine
           -> visualize -> embed -> calibrate -> score -> name -> swap -> picture   (then the report)

A stage splits its work into shards. A worker runs a shard: it computes columns, which are written as parts with a done
record. A runner decides where workers run and knows nothing of their work. So a rerun does only what is missing, and
the tables do not depend on the runner.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing

from polyscan import manifest, report
from polyscan.errors import JobError, ShardError
from polyscan.inputs import pinned_threads, settled_job
from polyscan.job import Job
from polyscan.manifest import Stage
from polyscan.run import Run
from polyscan.run.integrity import IntegrityCheck, writing
from polyscan.shards import Failure, Outcome, Receipt, Resources, Runner, Shard, Silence, Watcher, Work
from polyscan.stages import (
    calibrate,
    collect,
    combine,
    deflate,
    embed,
    name,
    picture,
    recollect,
    recombine,
    score,
    survey,
    swap,
    visualize,
)
from polyscan.worker import ShardWorker

log = logging.getLogger("polyscan")

TRIES = 3

STAGES = (
    Stage(
        survey,
        ("network", "code", "images", "directions"),
        ("network", "survey", "collect"),
        uses_gpu=True,
        batches=("collect",),
    ),
    Stage(collect, ("survey", "images"), ("collect",), uses_gpu=True, batches=("collect",)),
    Stage(combine, ("collect",)),
    Stage(deflate, ("combine",), ("second",), uses_gpu=True, batches=("collect",)),
    Stage(recollect, ("deflate",), uses_gpu=True, batches=("collect",)),
    Stage(recombine, ("recollect",)),
    Stage(visualize, ("combine", "distance"), ("visualize",), uses_gpu=True, batches=("visualize",)),
    Stage(
        embed,
        ("combine", "recombine", "visualize", "embedder", "words"),
        ("embed",),
        uses_gpu=True,
        batches=("embed", "collect"),
    ),
    Stage(calibrate, ("embed",), ("calibrate", "score", "scores")),
    Stage(score, ("calibrate",), ("calibrate", "score", "scores")),
    Stage(name, ("score", "namer", "names"), ("score", "name"), uses_gpu=True, batches=("embed",)),
    Stage(swap, ("score",), ("swap",), uses_gpu=True, batches=("collect", "embed")),
    Stage(picture, ("swap",), ("picture",)),
)


# ---- the scan --------------------------------------------------------------------------------------------------------


def scan(
    job: Job,
    run: Run,
    runner: Runner,
    *,
    redo: str | None = None,
    verify: bool | None = None,
    watcher: Watcher | None = None,
) -> None:
    """Completes a run: does the missing shards of each stage in turn, then draws the maps.

    Args:
        job: the settings.
        run: the results folder; shards that it already holds are not done again.
        runner: decides where workers run.
        redo: a stage to redo, with all stages that depend on it.
        verify: whether the bytes of existing parts are read, so that damaged ones are made again; else only their sizes
            are compared. Default: on a local disk.
        watcher: receives the progress.

    Raises:
        JobError: if the job is wrong, the run was made with other settings, or its folder can't be written.
        ModelError: if the network can't be used as the job says.
        ImagesError: if the images can't be opened.
        ShardError: if a shard failed three times; the stage's other shards are done, and no later stage has begun.
    """
    run.files.require_writable()
    job = settled_job(job)
    fingerprints = settle(job, run, redo=redo, verify=bool(verify))
    run.clean_up()
    _warn_of_others(run)
    run.ledger.checked = IntegrityCheck()
    try:
        for stage in STAGES:
            worker = shard_worker(stage, job, run, fingerprints[stage.name])
            complete(stage, worker, run, runner, watcher or Silence(), verify=verify)
    finally:
        run.clean_up()  # temporary files of workers that died meanwhile
        if run.ledger.checked.parts:
            log.info("what was done before: %s", run.ledger.checked)
    started = time.perf_counter()
    with pinned_threads(job), writing(run.address):
        report.draw(job, run)
    log.info("report: %s drawn in %.1f s", f"{run.address}/maps/index.html", time.perf_counter() - started)


def settle(job: Job, run: Run, *, redo: str | None = None, verify: bool = False) -> dict[str, str]:
    """Checks the job and writes the run's manifest; returns each stage's fingerprint. See `manifest.settle`.

    Args:
        job: with k as a number, as `settled_job` gives it.
        run: its results folder.
        redo: a stage to redo, with all stages that depend on it.
        verify: whether all images are compared with those that the run has read.
    """
    fingerprints = manifest.settle(STAGES, job, run, redo=redo, verify=verify)
    for warning in manifest.warnings_of(job, run):
        log.warning("%s", warning)
    return fingerprints


def shard_worker(stage: Stage, job: Job, run: Run, fingerprint: str) -> ShardWorker:
    """The worker for a stage's shards, which a runner may send to another process."""
    return ShardWorker(stage.name, stage.module.__name__, stage.batches, job, run.address, fingerprint)


def _warn_of_others(run: Run) -> None:
    """Warns if another scan seems to be working on the same run: this does no harm, but wastes work."""
    others = run.ledger.others([stage.name for stage in STAGES])
    if others:
        first = min(others, key=lambda trace: trace.since)
        log.warning(
            "another scan seems to be running on %s (process %d on %s for %.0f s): both will end with the same tables, "
            "but do much of the work twice",
            run.address,
            first.pid,
            first.host,
            time.time() - first.since,
        )


def complete(
    stage: Stage, worker: ShardWorker, run: Run, runner: Runner, watcher: Watcher, *, verify: bool | None = None
) -> None:
    """Does the missing shards of one stage, trying each at most three times.

    Raises:
        JobError: if a worker finds the job wrong, or the folder can't be written.
        ShardError: if a shard failed three times.
    """
    pending = _pending(stage, worker, run, watcher, verify=verify)
    failures: dict[int, Failure] = {}
    cpus: set[str] = set()
    run.ledger.clear_running(stage.name)  # traces that a killed driver left behind
    try:
        for _ in range(TRIES):
            # Closed at once if anything is raised here: its workers must not go on without the driver.
            with closing(runner(worker, pending, _resources(stage, worker.job))) as outcomes:
                for outcome in outcomes:
                    watcher.outcome(outcome)
                    _note(outcome, run, failures)
                    _note_cpu(outcome, run, cpus)
            pending = [failure.shard for failure in failures.values() if not failure.is_final]
    finally:
        run.ledger.clear_running(stage.name)
    run.forget_tables()
    if failures:
        first, *others = sorted(failures)
        also = f" (also failed: {', '.join(map(str, others))})" if others else ""
        raise ShardError(stage.name, first, f"{failures[first].cause}{also}")


def _pending(stage: Stage, worker: ShardWorker, run: Run, watcher: Watcher, *, verify: bool | None) -> list[Shard]:
    """The missing shards of a stage; the watcher and the ledger are notified that it begins."""
    with pinned_threads(worker.job):
        shards: list[Shard] = stage.module.shards(worker.job, run)
    pending = run.ledger.missing(shards, worker.fingerprint, verify=verify)
    watcher.begin(stage.name, done=len(shards) - len(pending), total=len(shards))
    if pending or run.ledger.planned(stage.name) != len(shards):
        run.ledger.note_plan(stage.name, len(shards))
    return pending


def _resources(stage: Stage, job: Job) -> Resources:
    """What one worker of a stage needs."""
    uses_gpu = stage.uses_gpu and job.device != "cpu"
    return Resources(
        cpus=job.threads, gpus=job.workers.gpus if uses_gpu else 0.0, gpus_are_optional=job.device == "auto"
    )


def _note(outcome: Outcome, run: Run, failures: dict[int, Failure]) -> None:
    """Logs an outcome; keeps and records a failure, and drops the failure of a shard that is done now."""
    shard = outcome.shard
    if isinstance(outcome, Receipt):
        failures.pop(shard.index, None)
        log.info("%s %d/%d: %d rows in %.2f s", shard.stage, shard.index, shard.count, outcome.rows, outcome.seconds)
        if outcome.batch:
            sizes = ", ".join(f"{name} = {size}" for name, size in outcome.batch.items())
            log.warning("%s %d/%d: memory ran out, done with %s", shard.stage, shard.index, shard.count, sizes)
        return
    failures[shard.index] = outcome
    log.warning("%s %d/%d failed: %s", shard.stage, shard.index, shard.count, outcome.cause)
    try:
        run.ledger.write_failure(shard, cause=outcome.cause, traceback=outcome.traceback)
    except (JobError, OSError) as error:  # `status` can't show it then, but it is logged, and raised in the end
        log.warning("%s %d/%d: its failure record can't be written: %s", shard.stage, shard.index, shard.count, error)
    if outcome.is_job_error:
        raise JobError(outcome.cause)


def _note_cpu(outcome: Outcome, run: Run, noted: set[str]) -> None:
    """Records each kind of CPU in `run.json`, and warns if a run has shards from several kinds."""
    if not isinstance(outcome, Receipt) or outcome.cpu is None or outcome.cpu in noted:
        return
    noted.add(outcome.cpu)
    others = manifest.note_cpu(run, outcome.cpu)
    if others:
        log.warning(
            "%s: shards run on %s, others ran on %s: exemplars are the same, other numbers agree up to rounding",
            run.address,
            outcome.cpu,
            ", ".join(others),
        )


def in_process(make_work: Callable[[], Work], shards: Sequence[Shard], resources: Resources) -> Generator[Outcome]:
    """The simplest runner: one worker, in this process."""
    work = make_work()
    for shard in shards:
        yield work(shard)
