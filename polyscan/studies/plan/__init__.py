"""Estimates what a job takes before it runs: rows and disk by arithmetic, time and memory from measured batches."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from polyscan.inputs import pinned_threads
from polyscan.job import Job
from polyscan.pipeline import STAGES
from polyscan.results import Results
from polyscan.studies.plan.costs import Cost, cost_of
from polyscan.studies.plan.detectable import detectable
from polyscan.studies.plan.measuring import watched
from polyscan.studies.plan.outlook import Outlook
from polyscan.studies.plan.row import PlanRow
from polyscan.studies.scanning import job_of
from polyscan.vision.memory import enough_memory

REPORT = "report"


@dataclass(frozen=True)
class Plan:
    """The estimate of a whole job: a row for each stage, and one for the maps that are drawn at the end.

    `detectable` says in a few sentences what its k, its null sets and its number of units let it find.
    """

    n_layers: int
    n_units: int
    n_images: int
    rows: list[PlanRow]
    maps: PlanRow
    detectable: list[str]


def plan(job: Job | str | Path, run: str | None = None) -> Plan:
    """Estimates what a job takes: one batch of each costly stage is measured and extrapolated.

    Shards and rows are upper bounds: they hold if no unit is dead, no two units share a crop or a place, and every
    virtual unit that the job asks for can be made. Seconds, disk and memory are estimates. Memory is that of one
    worker: the peak of this process while a batch is measured, plus what grows with the job, by arithmetic. So plan in
    a process that holds nothing else.

    Args:
        job: a job, a job file, or the name of one that comes with polyscan.
        run: a finished run of a similar job; its planted units show how much can be found.

    Raises:
        PolyscanError: if anything is wrong with the job, or there is no such run.
        LookupError: if a stage has no cost.
    """
    costs = [cost_of(stage.name) for stage in STAGES]
    job = job_of(job)
    finished = Results(run).run if run else None
    with pinned_threads(job), enough_memory(job.network.name, job.network.input_px):
        outlook = Outlook(job)
        rows = [_with_peak(cost, outlook) for cost in costs]
        maps = _with_peak(cost_of(REPORT), outlook)
    n_units = sum(layer.point.n_channels for layer in outlook.layers)
    n_images = len(outlook.images)
    sentences = list(detectable(outlook.job, n_units=n_units, n_images=n_images, run=finished))
    return Plan(len(outlook.layers), n_units, n_images, rows, maps, sentences)


def _with_peak(cost: Cost, outlook: Outlook) -> PlanRow:
    with watched() as peak:
        row = cost(outlook)
    return replace(row, peak=peak)
