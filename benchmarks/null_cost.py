"""What more null read-outs cost: `python -m benchmarks.null_cost [--before TREE] [--runs N]`.

Some of MobileNetV2's blocks on images of Tiny-ImageNet are scanned without visualizations and crops, stage by stage, on
one thread, without the second test. The scans alternate, each in a process of its own: 800 read-outs a layer with every
score on each, and more read-outs with every score on the first 800. With `--before`, another checkout of polyscan does
the first of them. The table holds CPU seconds by stage, medians of the runs, their sums, and the ratios of these to the
first scan's.

The times of `collect` and `embed` are proportional to the number of images, and that of `calibrate` does not depend on
it; so the sum is also given for 10,000 images.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from statistics import median

from benchmarks.places import DATA, REPOSITORY

LAYERS = ("features.2", "features.6", "features.10", "features.15")
IMAGES, SIDE_PX, MANY = 1000, 128, 10_000
STAGES = ("survey", "collect", "combine", "visualize", "embed", "calibrate", "score")
BY_IMAGE = ("collect", "embed")
"""Stages whose time is proportional to the number of images."""
FULL = 800
READOUTS = (1600, 3200)

Seconds = Mapping[str, float]

SCAN = """
import json, sys, tempfile, time
from benchmarks.stages import do, job_of
from polyscan.job import Job
from polyscan.run import Run
layers, images, side, readouts, stages = json.loads(sys.argv[1])
job = job_of(
    "images/tiny_imagenet_train_10000.parquet",
    layers=layers,
    network={"input_px": side, "resize_px": side},
    images={"limit": images},
    survey={"readouts": readouts},
    collect={"k": 100},
    # The question is what the first test's null costs; older checkouts have no second test.
    **({"second": {"enabled": False}} if "second" in Job.model_fields else {}),
    embed={"crops": False, "pool": False},
    calibrate={"nulls": ["layer"]},
)
seconds = {}
with tempfile.TemporaryDirectory() as folder:
    run = Run(folder)
    for stage in stages:
        start = time.process_time()
        do(job, run, stage)
        seconds[stage] = time.process_time() - start
print(json.dumps(seconds))
"""


def main() -> None:
    """Scans in turn and prints a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.null_cost", description=__doc__)
    parser.add_argument(
        "--before", metavar="TREE", default=str(REPOSITORY), help="the checkout that does the first scan"
    )
    parser.add_argument("--runs", type=int, default=3, help="how often each scan is done (default: 3)")
    arguments = parser.parse_args()
    sides = [(FULL, arguments.before), *((readouts, str(REPOSITORY)) for readouts in (FULL, *READOUTS))]
    taken: list[list[Seconds]] = [[] for _ in sides]
    for _ in range(arguments.runs):
        for place, (readouts, tree) in enumerate(sides):
            taken[place].append(scanned(readouts, tree))
    rows = [{stage: median(run[stage] for run in runs) for stage in STAGES} for runs in taken]
    print("\n".join(table([f"{readouts}" for readouts, _ in sides], rows)))


def scanned(readouts: int, tree: str) -> Seconds:
    """CPU seconds of each stage of one scan by the polyscan of a checkout."""
    settings = json.dumps([LAYERS, IMAGES, SIDE_PX, readouts, STAGES])
    threads = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    done = subprocess.run(
        [sys.executable, "-c", SCAN, settings],
        cwd=tempfile.gettempdir(),
        env={**os.environ, **threads, "PYTHONPATH": tree, "POLYSCAN_TEST_DATA": str(DATA)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def table(names: Sequence[str], rows: Sequence[Seconds]) -> list[str]:
    """Lines of a Markdown table: seconds by stage, their sum, the sum for many images, and ratios to the first row."""
    wide = [
        {stage: taken * (MANY / IMAGES if stage in BY_IMAGE else 1) for stage, taken in row.items()} for row in rows
    ]
    sums, wide_sums = ([sum(row.values()) for row in each] for each in (rows, wide))
    head = ["read-outs", *STAGES, "all", "ratio", f"{MANY:,} images", "ratio"]
    lines = [f"| {' | '.join(head)} |", f"|{' ---: |' * len(head)}"]
    for place, name in enumerate(names):
        cells = [name, *(f"{rows[place][stage]:.1f}" for stage in STAGES)]
        cells += [f"{sums[place]:.0f}", f"{sums[place] / sums[0]:.2f}"]
        cells += [f"{wide_sums[place]:.0f}", f"{wide_sums[place] / wide_sums[0]:.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    main()
