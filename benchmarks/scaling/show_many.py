"""How long the pages of 30,000 units take, and how large they are.

`python -m benchmarks.scaling.show_many [--profile]`

A synthetic run of 30,000 units in 50 layers, each unit with pictures, is drawn as `polyscan show` draws it, by the
clock and in CPU seconds, and by part: the map of all tables, what the pages are drawn from, and each kind of file. The
limit is a minute. With `--profile` it ends with where the time goes.
"""

from __future__ import annotations

import cProfile
import pstats
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.synthetic.network import Plan
from benchmarks.synthetic.run import write
from polyscan import tables
from polyscan.maps import Site
from polyscan.report.contents import atlas_of
from polyscan.report.unit_map import calibrated_rows, table_of, unit_map
from polyscan.run import Run
from polyscan.studies.showing import finished, stored_job

LIMIT_S = 60.0
PLAN = Plan(sprites=None)
SHOWN = ("index.html", "unit.html", "data/20/0.js", "img/20/1.jpg", "assets/polyscan.js", "assets/vega.js")


class Stopwatch:
    """Seconds by the clock and of the CPU, by part."""

    def __init__(self) -> None:
        self.clock: Counter[str] = Counter()
        self.cpu: Counter[str] = Counter()

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        clock, cpu = time.perf_counter(), time.process_time()
        yield
        self.clock[name] += time.perf_counter() - clock
        self.cpu[name] += time.process_time() - cpu


def drawn(run: Run, watch: Stopwatch) -> None:
    """What `polyscan.report.draw` does, part by part."""
    job = stored_job(run, {})
    with watch.part("rows of scores"):
        calibrated = calibrated_rows(run)
    with watch.part("map.parquet"):
        frame = unit_map(job, run, calibrated)
        columns = {str(name): frame[name].to_numpy() for name in frame}
        tables.write_single(run.storage, "map.parquet", table_of(frame), columns)
    with watch.part("trends, associations, sentences"):
        site = Site(atlas_of(job, run, frame, calibrated))
    names = site.names()
    while True:
        with watch.part("units' cards"):
            name = next(names, None)
        if name is None:
            return
        with watch.part(name.partition("/")[0]):
            run.storage.put(f"maps/{name}", site.content(name), is_durable=False)


def told(watch: Stopwatch, run: Run) -> None:
    """Times and sizes."""
    for name in watch.clock:
        print(f"{name:34} {watch.clock[name]:7.2f} s  {watch.cpu[name]:7.2f} s of CPU")
    print(f"{'all':34} {watch.clock.total():7.2f} s  {watch.cpu.total():7.2f} s of CPU  (limit {LIMIT_S:g} s)")
    folder = Path(run.address) / "maps"
    for name in SHOWN:
        print(f"{name:34} {(folder / name).stat().st_size / 1e3:9.1f} kB")
    files = [path for path in folder.rglob("*") if path.is_file()]
    print(f"{'whole folder':34} {sum(path.stat().st_size for path in files) / 1e6:9.1f} MB in {len(files):,} files")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        write(f"{folder}/run", PLAN)
        print(f"run written in {time.perf_counter() - started:.1f} s")
        run, watch, profile = finished(f"{folder}/run", {}), Stopwatch(), cProfile.Profile()
        if "--profile" in sys.argv:
            profile.enable()
        drawn(run, watch)
        profile.disable()
        told(watch, run)
        if "--profile" in sys.argv:
            pstats.Stats(profile).sort_stats("cumtime").print_stats(40)


if __name__ == "__main__":
    main()
