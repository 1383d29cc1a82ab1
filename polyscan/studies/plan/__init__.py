"""What a job would take, before anything runs: rows and disk by arithmetic, time and memory from a measured batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from polyscan.inputs import pinned_threads
from polyscan.job import Job
from polyscan.studies.plan.evidence import calibrate_row, embed_row, name_row, score_row
from polyscan.studies.plan.measuring import watched
from polyscan.studies.plan.outlook import Outlook
from polyscan.studies.plan.passes import PlanRow, collect_row, combine_row, survey_row
from polyscan.studies.plan.pictures import visualize_row
from polyscan.studies.plan.seen import picture_row, show_row

ROWS: tuple[Callable[[Outlook], PlanRow], ...] = (
    survey_row,
    collect_row,
    combine_row,
    visualize_row,
    embed_row,
    calibrate_row,
    score_row,
    name_row,
    picture_row,
)


@dataclass(frozen=True)
class Plan:
    """The whole job: a row for each stage, and one for the maps that are drawn in the end."""

    n_layers: int
    n_units: int
    n_images: int
    rows: list[PlanRow]
    maps: PlanRow


def planned(job: Job) -> Plan:
    """Measures one batch of each costly stage and multiplies.

    Shards and rows are what comes to pass if no unit is dead, no two units share a crop or a place, and every virtual
    unit that the job asks for can be made: upper bounds. Seconds, disk and memory are estimates. Memory is that of a
    worker: of this process at its peak while a batch is measured, and what grows with the job on top of it by
    arithmetic; so plan in a process that holds nothing else.

    Raises:
        PolyscanError: whatever is wrong with the job.
    """
    with pinned_threads(job):
        outlook = Outlook(job)
        rows = [_with_peak(row_of, outlook) for row_of in ROWS if row_of is not visualize_row or job.visualize.enabled]
    n_units = sum(layer.point.n_channels for layer in outlook.layers)
    return Plan(len(outlook.layers), n_units, len(outlook.images), rows, _with_peak(show_row, outlook))


def _with_peak(row_of: Callable[[Outlook], PlanRow], outlook: Outlook) -> PlanRow:
    with watched() as peak:
        row = row_of(outlook)
    return replace(row, peak=peak)
