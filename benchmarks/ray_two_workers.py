"""How much faster two Ray workers collect than one: the clock's time with one / with two, one thread a worker.

MobileNetV2's blocks on 1,000 ImageNet images at 224 px, without virtual units, from the first shard's order to the last
one's receipt, the opening of the network in each worker among it. Workers have loaded torch before. The clock sees
whoever else works on the machine, so this line, more than others, wants it quiet.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from benchmarks.inputs import find_weights
from benchmarks.race import RUNS, Outcome, Skipped, Target, ratios
from benchmarks.stages import NO_VIRTUAL_UNITS, finish, job_of
from polyscan import pipeline
from polyscan.job import Job
from polyscan.run import Run
from polyscan.scheduling import Terms
from polyscan.shards import Runner

IMAGES, IMAGES_PER_SHARD, WARM_UP = 1000, 50, 64
NAME = "ray_two_workers"
TARGETS = {NAME: Target(1.8, "collect's time with one Ray worker / with two")}


def outcomes() -> dict[str, Outcome]:
    """The line of `ray_two_workers`."""
    if len(os.sched_getaffinity(0)) < 2:
        raise Skipped("two workers need two cores, this machine has one")
    try:
        from polyscan.ray_runner import connected, ray_runner
    except ImportError as error:
        raise Skipped("Ray is not installed") from error
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    find_weights()  # before workers inherit where they are
    times: dict[str, list[float]] = {"one": [], "two": []}
    # Idle workers keep their place in Ray's books: one for the first side, two for the second.
    with tempfile.TemporaryDirectory() as folder, connected(n_cpus=3):
        runners = {"one": ray_runner(Terms(1)), "two": ray_runner(Terms(2))}
        for side, runner in runners.items():
            collected(Path(folder, f"warm-{side}"), WARM_UP, WARM_UP // 2, runner)
        for run in range(RUNS):
            for side, runner in runners.items():
                times[side].append(collected(Path(folder, f"{side}-{run}"), IMAGES, IMAGES_PER_SHARD, runner))
    notes = {"clock_seconds": times, "images": IMAGES, "shards": IMAGES // IMAGES_PER_SHARD}
    return {NAME: Outcome(TARGETS[NAME], ratios(times["one"], times["two"]), notes)}


def collected(folder: Path, images: int, per_shard: int, runner: Runner) -> float:
    """Seconds of the stage, all around it done beforehand."""
    job = job_of(
        "images/imagenet_sample_1000.parquet",
        images={"limit": images},
        survey=NO_VIRTUAL_UNITS,
        collect={"k": 40, "images_per_shard": per_shard},
    )
    run, prints = surveyed(job, folder)
    start = time.perf_counter()
    finish(job, run, "collect", prints, runner)
    return time.perf_counter() - start


def surveyed(job: Job, folder: Path) -> tuple[Run, dict[str, str]]:
    """A run up to collect, made in this process."""
    run = Run(str(folder))
    prints = pipeline.prepare(job, run)
    finish(job, run, "survey", prints)
    return run, prints
