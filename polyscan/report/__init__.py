"""The report of a run: from its tables come `map.parquet`, one row per unit, and an Atlas that pages are drawn from."""

from __future__ import annotations

import pandas as pd

from polyscan import maps, tables
from polyscan.job import Job
from polyscan.maps import Atlas
from polyscan.report.contents import atlas_of
from polyscan.report.unit_map import calibrated_rows, table_of, unit_map
from polyscan.run import Run

DRAWN = ("data/", "img/", "layer/")


def draw(job: Job, run: Run) -> None:
    """Writes `map.parquet` and `maps/` of a run whose stages are done. Runs on the driver."""
    written: set[str] = set()
    # New pages replace old ones, the front page last, so that its links always work.
    for name, content in maps.pages(drawn_atlas(job, run)):
        run.storage.put(f"maps/{name}", content, is_durable=False)  # what a power cut destroys is drawn again
        written.add(name)
    for name in run.storage.files("maps"):
        relative = name.removeprefix("maps/")
        if relative.startswith(DRAWN) and relative not in written:
            run.storage.remove(name)  # of an older report, with other units or pictures


def drawn_atlas(job: Job, run: Run) -> Atlas:
    """Writes `map.parquet`, and returns what the pages are drawn from."""
    calibrated = calibrated_rows(run)
    return atlas_of(job, run, write_map(job, run, calibrated), calibrated)


def write_map(job: Job, run: Run, calibrated: pd.DataFrame | None = None) -> pd.DataFrame:
    """Writes `map.parquet` only, and returns it: one row per unit."""
    frame = unit_map(job, run, calibrated)
    tables.write_single(
        run.storage, "map.parquet", table_of(frame), {str(name): frame[name].to_numpy() for name in frame}
    )
    return frame
