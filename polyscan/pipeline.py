"""The whole machine: a job goes down a line of verbs, each of which reads tables and writes tables.

    survey -> collect -> combine -> visualize -> embed -> calibrate -> score -> name -> show

A stage cuts its work into shards. A worker does a shard: it computes columns, and the pen files them as a part with a
done record. A runner decides where workers live and never looks inside. So a rerun does what is missing and nothing
else, whoever runs it, and the tables are the same.
"""

from __future__ import annotations

import logging
import platform
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from types import ModuleType
from typing import Any, Protocol

import torch

from polyscan.errors import JobError, ShardError
from polyscan.job import Job, settings_of
from polyscan.run import Run
from polyscan.run.fingerprints import differences, fingerprint
from polyscan.run.inputs import open_distance, open_embedder, open_images, open_reader, pinned_threads
from polyscan.shards import Failure, Outcome, Receipt, Resources, Runner, Shard, Work
from polyscan.stages import calibrate, collect, combine, embed, name, score, show, survey, visualize

log = logging.getLogger("polyscan")


@dataclass(frozen=True)
class Stage:
    """One verb of the line.

    Args:
        name: the verb.
        module: gives `shards(job, run)` and `Worker(job, run)`.
        reads: the stages and inputs (`network`, `images`, `distance`, `embedder`) whose results it reads.
        settings: the groups of the job that it obeys; a change of them makes its tables others.
        uses_gpu: whether its workers hold a network.
    """

    name: str
    module: ModuleType
    reads: tuple[str, ...]
    settings: tuple[str, ...]
    uses_gpu: bool


STAGES = (
    Stage("survey", survey, reads=("network", "images"), settings=("network", "survey", "collect"), uses_gpu=True),
    Stage("collect", collect, reads=("survey", "images"), settings=("collect",), uses_gpu=True),
    Stage("combine", combine, reads=("collect",), settings=(), uses_gpu=False),
    Stage("visualize", visualize, reads=("combine", "distance"), settings=("visualize",), uses_gpu=True),
    Stage("embed", embed, reads=("combine", "visualize", "embedder"), settings=("embed",), uses_gpu=True),
    Stage("calibrate", calibrate, reads=("embed",), settings=("calibrate", "score", "scores"), uses_gpu=False),
    Stage("score", score, reads=("calibrate",), settings=("calibrate", "score", "scores"), uses_gpu=False),
    Stage("name", name, reads=("score",), settings=("score",), uses_gpu=False),
    # `swap` has its place here: what pasting a cluster's patches into other images does.
)
EVERYWHERE = ("seed", "threads", "device")  # settings that every table depends on
TRIES = 3


class Watcher(Protocol):
    """Is told how a scan goes on; a progress bar, for one."""

    def begin(self, stage: str, *, done: int, total: int) -> None:
        """A stage begins; so many of its shards were done before."""
        ...

    def outcome(self, outcome: Outcome) -> None:
        """A shard of it is done or has failed."""
        ...


class Silence:
    """Watches and says nothing."""

    def begin(self, stage: str, *, done: int, total: int) -> None:
        """Nothing."""

    def outcome(self, outcome: Outcome) -> None:
        """Nothing."""


# ---- the line ------------------------------------------------------------------------------------------------------


def scan(job: Job, run: Run, runner: Runner, *, redo: str | None = None, watcher: Watcher | None = None) -> None:
    """Brings a run to its end: does what is missing of each stage in turn, then draws the maps.

    Args:
        job: what is asked for.
        run: where the results lie; what it already holds is not done again.
        runner: where workers live.
        redo: a stage to make anew, with all that follows from it.
        watcher: is told of every shard.

    Raises:
        JobError: if the job is wrong, or the run was made with other settings.
        ModelError: if the network can't be used as asked.
        ImagesError: if the images can't be had.
        ShardError: if a shard failed three times; its siblings are done, and no later stage has begun.
    """
    run.require_writable()
    prints = prepare(job, run, redo=redo)
    for stage in STAGES:
        complete(stage, Desk(stage.name, job, run.address, prints[stage.name]), run, runner, watcher or Silence())
    started = time.perf_counter()
    with pinned_threads(job):
        show.draw(job, run)
    log.info("show: %s drawn in %.1f s", f"{run.address}/maps/index.html", time.perf_counter() - started)


def complete(stage: Stage, desk: Desk, run: Run, runner: Runner, watcher: Watcher) -> None:
    """Does the missing shards of one stage, each at most three times.

    Raises:
        JobError: if a worker finds the job wrong.
        ShardError: if a shard failed three times.
    """
    with pinned_threads(desk.job):
        shards: list[Shard] = stage.module.shards(desk.job, run)
    pending = run.missing(shards, desk.print_)
    watcher.begin(stage.name, done=len(shards) - len(pending), total=len(shards))
    run.note_plan(stage.name, len(shards))
    uses_gpu = stage.uses_gpu and desk.job.device != "cpu"
    resources = Resources(cpus=desk.job.threads, gpus=1.0 if uses_gpu else 0.0)
    failures: dict[int, Failure] = {}
    for _ in range(TRIES):
        for outcome in runner(desk, pending, resources):
            watcher.outcome(outcome)
            _note(outcome, run, failures)
        pending = [failure.shard for failure in failures.values() if not failure.is_final]
    run.forget_frames()
    if failures:
        first, *others = sorted(failures)
        also = f" (also failed: {', '.join(map(str, others))})" if others else ""
        raise ShardError(stage.name, first, f"{failures[first].cause}{also}")


def _note(outcome: Outcome, run: Run, failures: dict[int, Failure]) -> None:
    """Logs an outcome, keeps and files a failure, and forgets the failure of a shard that is done now."""
    shard = outcome.shard
    if isinstance(outcome, Receipt):
        failures.pop(shard.index, None)
        log.info("%s %d/%d: %d rows in %.2f s", shard.stage, shard.index, shard.count, outcome.rows, outcome.seconds)
        return
    failures[shard.index] = outcome
    run.write_failure(shard, cause=outcome.cause, traceback=outcome.traceback)
    log.warning("%s %d/%d failed: %s", shard.stage, shard.index, shard.count, outcome.cause)
    if outcome.is_job_error:
        raise JobError(outcome.cause)


@dataclass
class Desk:
    """Where one worker of one stage sits: makes the worker on first use, files what it computes, never raises.

    Failures are filed by the driver, which hears of a worker's death as well.

    It travels to workers as these few plain values; what is heavy is loaded where it is used.
    """

    stage: str
    job: Job
    address: str
    print_: str
    _worker: Any = field(default=None, repr=False)
    _run: Run | None = field(default=None, repr=False)

    def __call__(self) -> Work:
        """The desk itself does the work; calling it is what a runner does once per worker."""
        return self.work

    def work(self, shard: Shard) -> Outcome:
        """Does one shard: computes, then files."""
        started = time.perf_counter()
        run = self._run = self._run or Run(self.address)
        try:
            if (done := run.done_record(shard)) is not None and done.fingerprint == self.print_:
                return Receipt(shard, done.rows, done.seconds)  # its last worker died before it could tell
            with pinned_threads(self.job):
                worker = self._worker = self._worker or _stage(self.stage).module.Worker(self.job, run)
                columns = worker(shard)
                done = run.write(shard, columns, fingerprint=self.print_, seconds=time.perf_counter() - started)
        except Exception as error:  # whatever a shard stumbles over, its siblings go on
            cause = str(error) if isinstance(error, JobError) else f"{type(error).__name__}: {error}"
            return Failure(shard, cause, traceback.format_exc(), is_job_error=isinstance(error, JobError))
        return Receipt(shard, done.rows, done.seconds)


def _stage(name: str) -> Stage:
    return next(stage for stage in STAGES if stage.name == name)


def in_process(make_work: Callable[[], Work], shards: Sequence[Shard], resources: Resources) -> Iterator[Outcome]:
    """The plain runner: one worker, here."""
    work = make_work()
    for shard in shards:
        yield work(shard)


# ---- before the first shard ----------------------------------------------------------------------------------------


def prepare(job: Job, run: Run, *, redo: str | None = None) -> dict[str, str]:
    """Opens all that the job names, so that what is wrong is said before anything runs, and settles the run's manifest.

    Returns:
        Each stage's fingerprint.

    Raises:
        JobError: if the run was made with other settings, or `redo` names no stage.
    """
    inputs, about = _opened(job)
    settled = stage_entries(job, inputs)
    if redo is not None and redo not in settled:
        raise JobError(f'--redo "{redo}" names no stage; stages: {", ".join(settled)}')
    manifest = run.manifest()
    anew = _following(redo) if redo else set[str]()
    _refuse_other_settings(run, manifest, settled, anew)
    for stage in anew:
        run.clear(stage)
    run.save_manifest({**manifest, **about, "stages": {**manifest.get("stages", {}), **settled}})
    run.storage.put("job.toml", job.to_toml().encode())
    return {name: entry["fingerprint"] for name, entry in settled.items()}


def _opened(job: Job) -> tuple[dict[str, str], dict[str, Any]]:
    """Digests of the inputs, and what the run records about them."""
    reader = open_reader(job)
    images = open_images(job)
    embedder = open_embedder(job, reader.network)
    distance = open_distance(job, reader.network).version if job.visualize.enabled else None
    if not reader.is_traced:
        log.warning(
            "%s can't be traced (%s): layers are read at their modules' own outputs",
            job.network.name,
            reader.untraced_because,
        )
    inputs = {
        "network": reader.network.digest,
        "images": images.digest,
        "distance": str(distance),
        "embedder": embedder.digest,
    }
    about: dict[str, Any] = {
        "network": {"name": job.network.name, "weights": job.network.weights, "digest": inputs["network"]},
        "is_traced": reader.is_traced,
        "untraced_because": reader.untraced_because,
        "input_px": reader.network.preprocessing.input_px,
        "images": {"source": job.images.source, "n": len(images), "digest": inputs["images"]},
        "embedder": {"name": embedder.name, "digest": embedder.digest, "input_px": embedder.preprocessing.input_px},
        "distance": distance,
        "device": str(reader.network.device),
        "versions": {name: version(name) for name in ("polyscan", "torch", "pyarrow", "numpy", "scikit-learn")},
        "python": platform.python_version(),
        "gpu": {"tf32": torch.backends.cudnn.allow_tf32, "deterministic": torch.backends.cudnn.deterministic},
    }
    return inputs, about


def stage_entries(job: Job, inputs: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Settings and fingerprint of each stage; a stage's fingerprint holds those of what it reads."""
    entries: dict[str, dict[str, Any]] = {}
    known = dict(inputs)
    for stage in STAGES:
        settings = settings_of(job, (*EVERYWHERE, *stage.settings))
        reads = {name: known[name] for name in stage.reads}
        known[stage.name] = fingerprint(stage.name, settings, reads)
        inputs_read = {name: known[name] for name in stage.reads if name in inputs}
        entries[stage.name] = {"fingerprint": known[stage.name], "settings": settings, "inputs": inputs_read}
    return entries


def _following(redo: str) -> set[str]:
    """A stage and all that read it, directly or not."""
    following = {redo}
    for stage in STAGES:
        if following & set(stage.reads):
            following.add(stage.name)
    return following


def _refuse_other_settings(run: Run, manifest: Mapping[str, Any], entries: Mapping[str, Any], anew: set[str]) -> None:
    for stage, entry in entries.items():
        before = manifest.get("stages", {}).get(stage)
        if before is None or stage in anew or before["fingerprint"] == entry["fingerprint"]:
            continue
        found = [*differences(before["settings"], entry["settings"]), *differences(before["inputs"], entry["inputs"])]
        what = "; ".join(found) or "another version of its tables"
        raise JobError(
            f"{run.address} was made with other settings (`{stage}` {before['fingerprint'][:4]}, here "
            f"{entry['fingerprint'][:4]}: {what}). Use a new --run, restore them, or make it anew with --redo {stage}."
        )
