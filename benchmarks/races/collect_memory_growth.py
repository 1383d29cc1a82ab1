"""Whether collect's memory grows with the number of images: the peak over 10,000 of them / the peak over 1,000.

MobileNetV2's blocks on Tiny-ImageNet at its own 64 px, without virtual units. Each measurement is the largest resident
set of a fresh process that opens the run, does the stage in one worker, and files its parts; the survey before it is
done in another one. Torch itself is a large part of either peak, so `mib_per_1000_images` stands in the notes, too.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.peers.rival import FRESH, Rival
from benchmarks.race import Outcome, Skipped, Target, ratios
from benchmarks.stages import NO_VIRTUAL_UNITS, job_of

FEW, MANY = 1000, 10_000
RUNS = 2  # memory repeats to a few per cent, and 10,000 images take long
SIDE_PX = 64
NAME = "collect_memory_growth"
TARGETS = {NAME: Target(1.10, "collect's peak memory over 10,000 images / over 1,000", at_most=True)}


def outcomes() -> dict[str, Outcome]:
    """The line of `collect_memory_growth`."""
    if not Path("/proc/self/status").exists():
        raise Skipped("peak memory is read from /proc, which only Linux has")
    peaks: dict[int, list[float]] = {FEW: [], MANY: []}
    for _ in range(RUNS):
        for count, found in peaks.items():
            found.append(peak_of_collect(count))
    growth = [(many - few) * 1000 / (MANY - FEW) for many, few in zip(peaks[MANY], peaks[FEW], strict=True)]
    notes = {"peak_mib": {str(count): found for count, found in peaks.items()}, "mib_per_1000_images": growth}
    return {NAME: Outcome(TARGETS[NAME], ratios(peaks[MANY], peaks[FEW]), notes)}


def peak_of_collect(count: int) -> float:
    """MiB."""
    job = job_of(
        "images/tiny_imagenet_train_10000.parquet",
        network={"input_px": SIDE_PX, "resize_px": SIDE_PX},
        images={"limit": count},
        survey=NO_VIRTUAL_UNITS,
        collect={"k": 100},  # the same for any number of images
    )
    with tempfile.TemporaryDirectory() as folder:
        order = {"job": job.model_dump(mode="json"), "run": folder}
        with Rival(FRESH) as survey:
            survey.ask(order | {"stage": "survey"})
        with Rival(FRESH) as collect:
            return collect.ask(order | {"stage": "collect"})["peak_mib"]
