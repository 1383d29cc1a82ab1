"""How time and memory of each stage grow.

`python -m benchmarks.scaling.growth [images|units|workers ...] [--markdown|--draw]`

MobileNetV2's blocks on Tiny-ImageNet at 128 px, k = 20, 80 virtual units a layer, no visualizations:

- **images**: 250 to 4,000 of them, every other block;
- **units**: 2 to 16 blocks of 1,000 images; all sets end at the same block, so the network's own pass is the same;
- **workers**: one and two Ray workers of one thread on the same 1,000 images.

Each point is a process of its own, whose peak memory is taken anew before each stage. Seconds are the worker's own CPU
seconds (with one thread the clock's on a quiet machine), those of the points by workers the clock's. Growth is the
exponent of a straight line through the logarithms, with its standard error: 1 is proportional, 0 does not grow. Memory
starts from what an idle worker holds (torch and the network, about a gigabyte), so its growth is a straight line's
slope. Results go to `build/growth.json`, figures to `docs/figures/`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import linregress

from benchmarks.__main__ import ONE_THREAD
from benchmarks.inputs import find_weights
from benchmarks.peers.rival import Peer, Rival
from benchmarks.places import BUILD, REPOSITORY
from benchmarks.race import Skipped
from benchmarks.stages import finish, job_of
from polyscan import pipeline
from polyscan.job import Job
from polyscan.run import Run

RESULTS, FIGURES = BUILD / "growth.json", REPOSITORY / "docs" / "figures"
SIDE = Peer("polyscan", "benchmarks.peers.measured_side")
STAGES = tuple(stage.name for stage in pipeline.STAGES if stage.name not in ("visualize", "picture"))
SIDE_PX = 128
IMAGES = (250, 500, 1000, 2000, 4000)
MANY = 1000
LAYERS = (
    ("features.9", "features.17"),
    ("features.5", "features.13"),
    ("features.3", "features.7", "features.11", "features.15"),
    (
        "features.2",
        "features.4",
        "features.6",
        "features.8",
        "features.10",
        "features.12",
        "features.14",
        "features.16",
    ),
)
"""What each set of blocks has beyond those before it."""
EVERY_OTHER = sum(LAYERS[:3], ())
WORKERS = (1, 2)
AXES = {"images": "images", "units": "units, virtual ones among them", "workers": "workers"}

Point = dict[str, Any]


def job_with(layers: Sequence[str], n_images: int) -> Job:
    """The job of one point."""
    return job_of(
        "images/tiny_imagenet_train_10000.parquet",
        layers=list(layers),
        network={"input_px": SIDE_PX, "resize_px": SIDE_PX},
        images={"limit": n_images},
        survey={"readouts": 64, "controls": 8, "planted": 8, "positions": 4096},
        collect={"k": 20, "images_per_shard": 125},
        embed={"crops": False, "input_px": 64},
        calibrate={"embedding_sets": 160},
    )


# ---- measured ------------------------------------------------------------------------------------------------------


def by_images() -> list[Point]:
    """A point for each number of images."""
    return [{"x": count, "stages": alone(job_with(EVERY_OTHER, count))} for count in IMAGES]


def by_units() -> list[Point]:
    """A point for each set of blocks."""
    points: list[Point] = []
    for place in range(len(LAYERS)):
        layers = sum(LAYERS[: place + 1], ())
        with tempfile.TemporaryDirectory() as folder:
            stages = alone(job_with(layers, MANY), folder)
            points.append({"x": len(Run(folder).unit_order()), "layers": len(layers), "stages": stages})
    return points


def alone(job: Job, folder: str | None = None) -> dict[str, Any]:
    """What each stage takes, in a process of its own."""
    with tempfile.TemporaryDirectory() as other, Rival(SIDE) as worker:
        return worker.ask({"job": job.model_dump(mode="json"), "run": folder or other, "stages": STAGES})


def by_workers() -> list[Point]:
    """The clock's seconds of each stage, and the most that all workers have held together, by number of workers."""
    try:
        from polyscan.ray_runner import connected, ray_runner
        from polyscan.scheduling import WorkerPolicy
    except ImportError as error:
        raise Skipped("Ray is not installed") from error
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    find_weights()  # before workers inherit where they are
    points: list[Point] = []
    for workers in WORKERS:
        job = job_with(EVERY_OTHER, MANY)
        with tempfile.TemporaryDirectory() as folder, connected(n_cpus=max(WORKERS)):
            run, runner = Run(folder), ray_runner(WorkerPolicy(workers))
            fingerprints = pipeline.settle(job, run)
            stages: dict[str, Any] = {}
            for stage in STAGES:
                started = time.perf_counter()
                finish(job, run, stage, fingerprints, runner)
                stages[stage] = {"seconds": time.perf_counter() - started}
            points.append({"x": workers, "stages": stages, "peak_mib": ray_workers_mib()})
    return points


def ray_workers_mib() -> float:
    """Peaks of the Ray actors that this process has started, summed."""
    parents: dict[int, tuple[int, str, float]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            lines = dict(line.split(":\t", 1) for line in (folder / "status").read_text().splitlines() if ":\t" in line)
            command = (folder / "cmdline").read_text()
        except OSError:
            continue  # it has ended
        peak = int(lines.get("VmHWM", "0 kB").split()[0]) / 1024
        parents[int(folder.name)] = int(lines["PPid"]), command, peak
    return sum(
        peak
        for pid, (_, command, peak) in parents.items()
        if "_Actor" in command and os.getpid() in _line(pid, parents)
    )


def _line(pid: int, parents: Mapping[int, tuple[int, str, float]]) -> list[int]:
    """A process and those from which it comes."""
    line = [pid]
    while line[-1] in parents and parents[line[-1]][0] not in line:
        line.append(parents[line[-1]][0])
    return line


# ---- fitted --------------------------------------------------------------------------------------------------------


def fits(points: Sequence[Point]) -> dict[str, dict[str, float]]:
    """Of each stage: exponent of time, and MiB for 1,000 more, each with its standard error."""
    found: dict[str, dict[str, float]] = {}
    x = np.array([point["x"] for point in points], dtype=float)
    for stage in STAGES:
        time_ = np.array([point["stages"][stage]["seconds"] for point in points])
        memory = np.array([point["stages"][stage]["peak_mib"] or np.nan for point in points])
        growth: Any = linregress(np.log(x), np.log(time_))
        line: Any = linregress(x / 1000, memory)
        found[stage] = {
            "time_exponent": float(growth.slope),
            "time_exponent_error": float(growth.stderr),
            "mib_per_1000": float(line.slope),
            "mib_per_1000_error": float(line.stderr),
        }
    return found


# ---- told ----------------------------------------------------------------------------------------------------------


def markdown(found: Mapping[str, Any]) -> str:
    """Tables for `docs/performance.md`."""
    lines: list[str] = []
    for axis in [axis for axis in ("images", "units") if axis in found]:
        points, fit = found[axis]["points"], found[axis]["fits"]
        heads = [f"{point['x']:,}" for point in points]
        lines += [f"CPU seconds, and peak MiB, by {AXES[axis]}:", ""]
        lines += ["| stage | " + " | ".join(heads) + " | exponent of time | MiB for 1,000 more |"]
        lines += ["| --- |" + " ---: |" * (len(heads) + 2)]
        for stage in STAGES:
            cells = [f"{p['stages'][stage]['seconds']:.1f}, {p['stages'][stage]['peak_mib']:.0f}" for p in points]
            its = fit[stage]
            cells.append(f"{its['time_exponent']:.2f} ± {its['time_exponent_error']:.2f}")
            cells.append(f"{its['mib_per_1000']:.0f} ± {its['mib_per_1000_error']:.0f}")
            lines.append(f"| {stage} | " + " | ".join(cells) + " |")
        lines += ["", _load(found[axis]), ""]
    if "workers" in found:
        one, two = found["workers"]["points"]
        lines += ["| stage | one worker, s | two workers, s | ratio |", "| --- | ---: | ---: | ---: |"]
        for stage in STAGES:
            a, b = one["stages"][stage]["seconds"], two["stages"][stage]["seconds"]
            lines.append(f"| {stage} | {a:.1f} | {b:.1f} | {a / b:.2f} |")
        a, b = (sum(point["stages"][stage]["seconds"] for stage in STAGES) for point in (one, two))
        lines += [f"| all | {a:.1f} | {b:.1f} | {a / b:.2f} |"]
        lines += [f"| peak MiB of all workers | {one['peak_mib']:.0f} | {two['peak_mib']:.0f} | |"]
        lines += ["", _load(found["workers"]), ""]
    return "\n".join(lines)


def _load(axis: Mapping[str, Any]) -> str:
    return "Load average {:.1f} to {:.1f}.".format(*axis["load"])


# Readable on a light and on a dark page.
GREY = "#8a929a"
COLOURS = ("#3089aa", "#d0672f", "#4d9a52", "#7f6a55", "#2f9e8f", "#8f8f3c", "#b0569b", "#9a7d0a", "#6c74c9", "#c0504d")
WIDTH, HEIGHT = 330, 230
DECADES = (0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000)


def draw(found: Mapping[str, Any]) -> list[Path]:
    """Figures of what was measured."""
    import altair as alt

    FIGURES.mkdir(parents=True, exist_ok=True)
    drawn: list[Path] = []
    for axis, its in found.items():
        rows = [
            {"x": point["x"], "stage": stage, **point["stages"][stage]} for point in its["points"] for stage in STAGES
        ]
        charts = [_chart(rows, axis, "seconds", "seconds of one worker", is_log=True)]
        if axis == "workers":
            charts = [_chart(rows, axis, "seconds", "seconds of the clock", is_log=False)]
        else:
            charts.append(_chart(rows, axis, "peak_mib", "peak MiB of one worker", is_log=False))
        path = FIGURES / f"growth-{axis}.svg"
        alt.hconcat(*charts, spacing=40).configure(
            background="transparent",
            font="system-ui, sans-serif",
            view=alt.ViewConfig(stroke=None),
            axis=alt.AxisConfig(
                domainColor=GREY, tickColor=GREY, labelColor=GREY, titleColor=GREY, gridColor=GREY, gridOpacity=0.25
            ),
            legend=alt.LegendConfig(labelColor=GREY, titleColor=GREY),
        ).save(path)
        drawn.append(path)
    return drawn


def _chart(rows: Sequence[Point], axis: str, measure: str, title: str, *, is_log: bool) -> Any:
    import altair as alt

    ticks = sorted({row["x"] for row in rows})
    x_scale = alt.Scale(type="linear" if axis == "workers" else "log", nice=False, padding=12)
    y_scale = alt.Scale(type="log") if is_log else alt.Scale(zero=measure == "seconds")
    y_axis = alt.Axis(values=list(DECADES), format="~g") if is_log else alt.Axis(tickCount=5)
    return (
        alt.Chart(alt.Data(values=[{key: row[key] for key in ("x", "stage", measure)} for row in rows]))
        .mark_line(point=True)
        .encode(
            x=alt.X("x:Q", title=AXES[axis], scale=x_scale, axis=alt.Axis(values=ticks, format=",d", grid=False)),
            y=alt.Y(f"{measure}:Q", title=title, scale=y_scale, axis=y_axis),
            color=alt.Color("stage:N", title="stage", sort=STAGES, scale=alt.Scale(domain=STAGES, range=COLOURS)),
        )
        .properties(width=WIDTH, height=HEIGHT)
    )


MEASURED = {"images": by_images, "units": by_units, "workers": by_workers}


def main() -> None:
    """Measures along the axes named, all by default, and draws all that is known."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling.growth", description=__doc__)
    parser.add_argument("axes", nargs="*", metavar="AXIS", help=f"along which to measure, of {', '.join(MEASURED)}")
    parser.add_argument("--markdown", action="store_true", help="print what was measured before as tables")
    parser.add_argument("--draw", action="store_true", help="draw what was measured before")
    arguments = parser.parse_args()
    if unknown := set(arguments.axes) - set(MEASURED):
        parser.error(f"no axis {', '.join(sorted(unknown))}; there are: {', '.join(MEASURED)}")
    found: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    if not (arguments.markdown or arguments.draw):
        os.environ.update({**dict.fromkeys(ONE_THREAD, "1"), "CUDA_VISIBLE_DEVICES": ""})
        for axis in arguments.axes or MEASURED:
            load = os.getloadavg()[0]
            sys.stderr.write(f"{axis} (load average before it: {load:.2f})\n")
            points = MEASURED[axis]()
            found[axis] = {"points": points, "load": [load, os.getloadavg()[0]]}
            found[axis] |= {} if axis == "workers" else {"fits": fits(points)}
            RESULTS.parent.mkdir(exist_ok=True)
            RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if arguments.draw or not arguments.markdown:
        sys.stderr.write("".join(f"{path}\n" for path in draw(found)))
    sys.stdout.write(markdown(found))


if __name__ == "__main__":
    try:
        main()
    except Skipped as reason:
        sys.exit(str(reason))
