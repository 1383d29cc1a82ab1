"""The whole machine: a job goes down a line of verbs, each of which reads tables and writes tables.

    survey -> collect -> combine -> visualize -> embed -> calibrate -> score -> name -> picture -> show

A stage cuts its work into shards. A worker does a shard: it computes columns, and the pen files them as a part with a
done record. A runner decides where workers live and never looks inside. So a rerun does what is missing and nothing
else, whoever runs it, and the tables are the same.
"""

from __future__ import annotations

import logging
import platform
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from importlib.metadata import version
from types import ModuleType
from typing import Any, Protocol

import torch

from polyscan.desk import Desk
from polyscan.errors import JobError, ShardError
from polyscan.job import Job, settings_of
from polyscan.run import Run
from polyscan.run.fingerprints import differences, fingerprint
from polyscan.run.inputs import open_distance, open_embedder, open_images, open_reader, pinned_threads
from polyscan.run.mending import Tally, writing
from polyscan.shards import Failure, Outcome, Receipt, Resources, Runner, Shard, Work
from polyscan.stages import calibrate, collect, combine, embed, name, picture, score, show, survey, visualize
from polyscan.vision.readouts import chosen_layers

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
        batches: the groups whose `batch` is halved where memory runs out.
    """

    name: str
    module: ModuleType
    reads: tuple[str, ...]
    settings: tuple[str, ...]
    uses_gpu: bool
    batches: tuple[str, ...] = ()

    def desk(self, job: Job, run: Run, fingerprint: str) -> Desk:
        """Where a worker of this stage sits."""
        return Desk(self.name, self.module.__name__, self.batches, job, run.address, fingerprint)


STAGES = (
    Stage(
        "survey",
        survey,
        reads=("network", "images"),
        settings=("network", "survey", "collect"),
        uses_gpu=True,
        batches=("collect",),
    ),
    Stage("collect", collect, reads=("survey", "images"), settings=("collect",), uses_gpu=True, batches=("collect",)),
    Stage("combine", combine, reads=("collect",), settings=(), uses_gpu=False),
    Stage(
        "visualize",
        visualize,
        reads=("combine", "distance"),
        settings=("visualize",),
        uses_gpu=True,
        batches=("visualize",),
    ),
    Stage(
        "embed",
        embed,
        reads=("combine", "visualize", "embedder"),
        settings=("embed",),
        uses_gpu=True,
        batches=("embed", "collect"),
    ),
    Stage("calibrate", calibrate, reads=("embed",), settings=("calibrate", "score", "scores"), uses_gpu=False),
    Stage("score", score, reads=("calibrate",), settings=("calibrate", "score", "scores"), uses_gpu=False),
    Stage("name", name, reads=("score",), settings=("score",), uses_gpu=False),
    Stage("picture", picture, reads=("score",), settings=("picture",), uses_gpu=False),
    # `swap` has its place here: what pasting a cluster's patches into other images does.
)
EVERYWHERE = ("seed", "threads", "device")  # settings that every table depends on
TRIES = 3


def stage_named(name: str) -> Stage:
    """The stage of that name; a StopIteration if there is none."""
    return next(stage for stage in STAGES if stage.name == name)


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


def scan(
    job: Job,
    run: Run,
    runner: Runner,
    *,
    redo: str | None = None,
    verify: bool | None = None,
    watcher: Watcher | None = None,
) -> None:
    """Brings a run to its end: does what is missing of each stage in turn, then draws the maps.

    Args:
        job: what is asked for.
        run: where the results lie; what it already holds is not done again.
        runner: where workers live.
        redo: a stage to make anew, with all that follows from it.
        verify: whether the bytes of what was done before are read, and what is damaged is done again; else sizes
            alone tell. Default: on a local disk.
        watcher: is told of every shard.

    Raises:
        JobError: if the job is wrong, the run was made with other settings, or its folder can't be written.
        ModelError: if the network can't be used as asked.
        ImagesError: if the images can't be had.
        ShardError: if a shard failed three times; its siblings are done, and no later stage has begun.
    """
    run.require_writable()
    prints = prepare(job, run, redo=redo)
    run.tidy()
    _tell_of_others(run)
    run.checked = Tally()
    try:
        for stage in STAGES:
            desk = stage.desk(job, run, prints[stage.name])
            complete(stage, desk, run, runner, watcher or Silence(), verify=verify)
    finally:
        run.tidy()  # what workers left that died meanwhile
        if run.checked.parts:
            log.info("what was done before: %s", run.checked)
    started = time.perf_counter()
    with pinned_threads(job), writing(run.address):
        show.draw(job, run)
    log.info("show: %s drawn in %.1f s", f"{run.address}/maps/index.html", time.perf_counter() - started)


def _tell_of_others(run: Run) -> None:
    """Warns where another scan seems to be at work on the same run: it is no harm, but work done twice."""
    others = run.others([stage.name for stage in STAGES])
    if others:
        first = min(others, key=lambda trace: trace.since)
        log.warning(
            "another scan seems to be at work on %s (process %d on %s for %.0f s): both will end with the same tables, "
            "but do much of the work twice",
            run.address,
            first.pid,
            first.host,
            time.time() - first.since,
        )


def complete(
    stage: Stage, desk: Desk, run: Run, runner: Runner, watcher: Watcher, *, verify: bool | None = None
) -> None:
    """Does the missing shards of one stage, each at most three times.

    Raises:
        JobError: if a worker finds the job wrong, or the folder can't be written.
        ShardError: if a shard failed three times.
    """
    with pinned_threads(desk.job):
        shards: list[Shard] = stage.module.shards(desk.job, run)
    pending = run.missing(shards, desk.print_, verify=verify)
    watcher.begin(stage.name, done=len(shards) - len(pending), total=len(shards))
    if pending or run.planned(stage.name) != len(shards):
        run.note_plan(stage.name, len(shards))
    uses_gpu = stage.uses_gpu and desk.job.device != "cpu"
    resources = Resources(
        cpus=desk.job.threads,
        gpus=desk.job.workers.gpus if uses_gpu else 0.0,
        gpus_are_optional=desk.job.device == "auto",
    )
    failures: dict[int, Failure] = {}
    run.clear_running(stage.name)  # what a driver left behind that was killed
    try:
        for _ in range(TRIES):
            # Closed at once, whatever is raised here: its workers must not go on behind the driver's back.
            with closing(runner(desk, pending, resources)) as outcomes:
                for outcome in outcomes:
                    watcher.outcome(outcome)
                    _note(outcome, run, failures)
            pending = [failure.shard for failure in failures.values() if not failure.is_final]
    finally:
        run.clear_running(stage.name)
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
        if outcome.batch:
            sizes = ", ".join(f"{name} = {size}" for name, size in outcome.batch.items())
            log.warning("%s %d/%d: memory ran out, done with %s", shard.stage, shard.index, shard.count, sizes)
        return
    failures[shard.index] = outcome
    log.warning("%s %d/%d failed: %s", shard.stage, shard.index, shard.count, outcome.cause)
    try:
        run.write_failure(shard, cause=outcome.cause, traceback=outcome.traceback)
    except (JobError, OSError) as error:  # what `status` then can't show was logged, and is raised in the end
        log.warning("%s %d/%d: its failure can't be filed: %s", shard.stage, shard.index, shard.count, error)
    if outcome.is_job_error:
        raise JobError(outcome.cause)


def in_process(make_work: Callable[[], Work], shards: Sequence[Shard], resources: Resources) -> Generator[Outcome]:
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
    run.put("job.toml", job.to_toml().encode())
    return {name: entry["fingerprint"] for name, entry in settled.items()}


def _opened(job: Job) -> tuple[dict[str, str], dict[str, Any]]:
    """Digests of the inputs, and what the run records about them."""
    reader = open_reader(job)
    images = open_images(job)
    embedder = open_embedder(job, reader.network)
    distance = None
    if job.visualize.enabled:
        chosen_layers([point.layer for point in reader.points], job.visualize.layers)  # a wrong word is told now
        distance = open_distance(job, reader.network).version
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
