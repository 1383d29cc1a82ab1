"""How much faster two Ray workers are than one: the clock's time with one / with two, one thread a worker.

Two stages of a scan of MobileNetV2's blocks, their times added: collect, of 1,000 ImageNet images at 224 px without
virtual units, and visualize, of 64 units. A stage lasts from its first shard's order to its last one's receipt, the
opening of the networks in each worker among it. Workers have loaded torch before. The clock sees whoever else works on
the machine, so this line, more than others, wants it quiet.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.inputs import find_weights
from benchmarks.race import RUNS, Outcome, Skipped, Target, ratios
from benchmarks.stages import NO_VIRTUAL_UNITS, finish, job_of
from polyscan import pipeline
from polyscan.run import Run
from polyscan.scheduling import WorkerPolicy
from polyscan.shards import Runner

IMAGES, IMAGES_PER_SHARD = 1000, 50
UNITS_PER_LAYER, UNITS_PER_SHARD = 4, 2
LAYERS = [f"features.{block}" for block in range(2, 18)]
ASCENT = {"max_images": 4, "min_images": 3, "steps": 32, "canvas_px": 64, "units_per_shard": UNITS_PER_SHARD}
WARM_UP = {"images": 64, "layers": LAYERS[:2]}
STAGES = ("collect", "visualize")
NAME = "ray_two_workers"
TARGETS = {NAME: Target(1.8, "time of collect and visualize with one Ray worker / with two")}


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
    times: dict[str, list[dict[str, float]]] = {"one": [], "two": []}
    # Idle workers keep their place in Ray's books: one for the first side, two for the second.
    with tempfile.TemporaryDirectory() as folder, connected(n_cpus=3):
        runners = {"one": ray_runner(WorkerPolicy(1)), "two": ray_runner(WorkerPolicy(2))}
        for side, runner in runners.items():
            seconds_of_stages(Path(folder, f"warm-{side}"), runner, **WARM_UP)
        for run in range(RUNS):
            for side, runner in runners.items():
                times[side].append(seconds_of_stages(Path(folder, f"{side}-{run}"), runner))
    notes = {
        "clock_seconds": times,
        "images": IMAGES,
        "units": UNITS_PER_LAYER * len(LAYERS),
        **{stage: ratios(*([run[stage] for run in side] for side in times.values())) for stage in STAGES},
    }
    sums = ([sum(run.values()) for run in side] for side in times.values())
    return {NAME: Outcome(TARGETS[NAME], ratios(*sums), notes)}


def seconds_of_stages(
    folder: Path, runner: Runner, images: int = IMAGES, layers: Sequence[str] = LAYERS
) -> dict[str, float]:
    """Seconds of each stage, all around them done beforehand."""
    job = job_of(
        "images/imagenet_sample_1000.parquet",
        layers=layers,
        images={"limit": images},
        survey=NO_VIRTUAL_UNITS,
        collect={"k": 40, "images_per_shard": min(IMAGES_PER_SHARD, images // 2)},
        visualize={"enabled": True, "units_per_layer": UNITS_PER_LAYER, **ASCENT},
    )
    run = Run(str(folder))
    fingerprints = pipeline.settle(job, run)
    seconds: dict[str, float] = {}
    for stage in ("survey", "collect", "combine", "visualize"):
        start = time.perf_counter()
        finish(job, run, stage, fingerprints, runner if stage in STAGES else pipeline.in_process)
        seconds[stage] = time.perf_counter() - start
    return {stage: seconds[stage] for stage in STAGES}
