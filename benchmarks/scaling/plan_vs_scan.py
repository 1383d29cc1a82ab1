"""Whether `plan` tells the truth: `python -m benchmarks.scaling.plan_vs_scan [JOB ...] [--markdown]`.

Each job is planned in a process of its own, then scanned, each stage by one worker of one thread in a process of its
own, whose peak memory is so that stage's. Foretold and taken stand side by side: seconds of the worker, bytes filed,
and the process's largest resident set. A ratio above 1: `plan` foretold too much. The maps are not drawn, since `plan`
says nothing of them.

Seconds are the process's own on both sides (`plan` is given another clock for that), which with one thread are those of
the clock on a quiet machine; the clock's stand beside them in `build/plan_vs_scan.json`, to which each job is added.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.__main__ import ONE_THREAD
from benchmarks.peers.rival import Peer, Rival
from benchmarks.places import BUILD
from benchmarks.race import Skipped
from benchmarks.stages import job_of
from polyscan import job as jobs
from polyscan.job import Job
from polyscan.pipeline import STAGES
from polyscan.studies.scanning import job_file

RESULTS = BUILD / "plan_vs_scan.json"
SIDE = Peer("polyscan", "benchmarks.peers.measured_side")
SIDE_PX = 128
SMALL = {"readouts": 200, "controls": 20, "planted": 20}
SHOWN = ("features.3", "features.9", "features.16")
MEASURES = ("seconds", "bytes", "peak_mib")
LONG_S, FAR = 5.0, 1.5
"""A stage that takes longer should not be foretold wrong by a larger factor."""

Entry = dict[str, Any]


def digits() -> Job:
    """The job that comes with polyscan, on the CPU."""
    return jobs.load(job_file("digits"), {"device": "cpu"})


def blocks() -> Job:
    """MobileNetV2's blocks on 1,000 images of Tiny-ImageNet, without visualizations."""
    return _mobilenet({"enabled": False}, "blocks")


def visualized() -> Job:
    """Three of these blocks, with 4 visualized units each."""
    return _mobilenet({"enabled": True, "distance": "lpips:squeeze", "units_per_layer": 4, "steps": 64}, SHOWN)


def _mobilenet(visualize: Mapping[str, Any], layers: Any) -> Job:
    return job_of(
        "images/tiny_imagenet_train_10000.parquet",
        layers=layers,
        network={"input_px": SIDE_PX, "resize_px": SIDE_PX},
        images={"limit": 1000},
        survey=SMALL,
        collect={"k": 40, "images_per_shard": 256},
        visualize=visualize,
        embed={"model": "torchvision:squeezenet1_1/DEFAULT", "input_px": SIDE_PX},
        calibrate={"embedding_sets": 400},
    )


JOBS: Mapping[str, Callable[[], Job]] = {"digits": digits, "blocks": blocks, "visualized": visualized}


def main() -> None:
    """Measures the jobs of these names, all by default."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling.plan_vs_scan", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="JOB", help=f"which to run, of {', '.join(JOBS)}")
    parser.add_argument("--markdown", action="store_true", help="print what was measured before as tables for the docs")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(JOBS):
        parser.error(f"no job {', '.join(sorted(unknown))}; there are: {', '.join(JOBS)}")
    found: dict[str, Entry] = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    if arguments.markdown:
        sys.stdout.write("\n".join(markdown(name, entry) for name, entry in found.items()))
        return
    os.environ.update({**dict.fromkeys(ONE_THREAD, "1"), "CUDA_VISIBLE_DEVICES": ""})
    for name in arguments.names or JOBS:
        found[name] = compared(JOBS[name]())
        draw(name, found[name])
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def compared(job: Job) -> Entry:
    """What was foretold and what was taken, stage by stage, and the load average before and after."""
    load = [os.getloadavg()[0]]
    with tempfile.TemporaryDirectory() as folder:
        order = {"job": job.model_dump(mode="json"), "run": folder}
        with Rival(SIDE) as planner:
            plan = planner.ask(order)
        taken: dict[str, Entry] = {}
        for stage in [stage.name for stage in STAGES if stage.name in plan["rows"]]:
            sys.stderr.write(f"{stage}\n")
            with Rival(SIDE) as worker:
                taken |= worker.ask(order | {"stages": [stage]})
    load.append(os.getloadavg()[0])
    return {"planning_s": plan["clock_seconds"], "load": load, "foretold": plan["rows"], "taken": taken}


def ratios(entry: Entry, stage: str) -> dict[str, float]:
    """Foretold / taken of each measure; NaN where nothing was foretold or taken."""
    foretold, taken = entry["foretold"][stage], entry["taken"][stage]
    return {name: foretold[name] / taken[name] if taken[name] and foretold[name] else float("nan") for name in MEASURES}


def _cells(entry: Entry) -> list[list[str]]:
    """The rows of the table, one a stage, and their sum."""
    rows: list[list[str]] = []
    for stage, foretold in entry["foretold"].items():
        taken, ratio = entry["taken"][stage], ratios(entry, stage)
        row = [stage]
        for name, scale, places in (("seconds", 1, 1), ("bytes", 1e-6, 1), ("peak_mib", 1, 0)):
            row += [f"{scale * (side[name] or 0):,.{places}f}" for side in (foretold, taken)] + [f"{ratio[name]:.2f}"]
        rows.append(row)
    sums = [sum(side[stage]["seconds"] for stage in side) for side in (entry["foretold"], entry["taken"])]
    files = [sum(side[stage]["bytes"] for stage in side) / 1e6 for side in (entry["foretold"], entry["taken"])]
    total = [f"{sums[0]:,.1f}", f"{sums[1]:,.1f}", f"{sums[0] / sums[1]:.2f}"]
    total += [f"{files[0]:,.1f}", f"{files[1]:,.1f}", f"{files[0] / files[1]:.2f}"]
    return [*rows, ["all", *total, "", "", ""]]


HEAD = (
    "stage",
    "foretold s",
    "taken s",
    "ratio",
    "foretold MB",
    "filed MB",
    "ratio",
    "foretold MiB",
    "peak MiB",
    "ratio",
)


def draw(name: str, entry: Entry) -> None:
    """The table on the terminal."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(*HEAD, box=box.SIMPLE_HEAD, title=name)
    for row in _cells(entry):
        is_far = row[0] in entry["taken"] and wrong(entry, row[0])
        table.add_row(*row, style="red" if is_far else None)
    console = Console(width=None if sys.stdout.isatty() else 140)
    console.print(table)
    console.print(
        f"planned in {entry['planning_s']:.0f} s; load average {entry['load'][0]:.1f} to {entry['load'][1]:.1f}"
    )


def wrong(entry: Entry, stage: str) -> bool:
    """Whether a long stage was foretold far too long or far too short."""
    ratio = ratios(entry, stage)["seconds"]
    return entry["taken"][stage]["seconds"] > LONG_S and not 1 / FAR <= ratio <= FAR


def markdown(name: str, entry: Entry) -> str:
    """The same for `docs/performance.md`."""
    lines = [f"`{name}`:", "", "| " + " | ".join(HEAD) + " |", "| --- |" + " ---: |" * (len(HEAD) - 1)]
    lines += ["| " + " | ".join(row) + " |" for row in _cells(entry)]
    load = "{:.1f} to {:.1f}".format(*entry["load"])
    return "\n".join([*lines, "", f"Planned in {entry['planning_s']:.0f} s; load average {load}.", ""])


if __name__ == "__main__":
    try:
        main()
    except Skipped as reason:
        sys.exit(str(reason))
