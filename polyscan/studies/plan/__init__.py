"""What a job would take, before anything runs: rows and disk by arithmetic, time from one measured batch each."""

from __future__ import annotations

from dataclasses import dataclass

from polyscan.job import Job
from polyscan.run.inputs import pinned_threads
from polyscan.studies.plan.evidence import calibrate_row, embed_row, name_row, score_row
from polyscan.studies.plan.outlook import Outlook
from polyscan.studies.plan.passes import PlanRow, collect_row, combine_row, survey_row
from polyscan.studies.plan.pictures import visualize_row


@dataclass(frozen=True)
class Plan:
    """The whole job."""

    n_layers: int
    n_units: int
    n_images: int
    rows: list[PlanRow]


def planned(job: Job) -> Plan:
    """Measures one batch of each costly stage and multiplies.

    Counted is what comes to pass if no unit is dead, no two units share a crop or a place, and every virtual unit that
    the job asks for can be made.

    Raises:
        PolyscanError: whatever is wrong with the job.
    """
    with pinned_threads(job):
        outlook = Outlook(job)
        rows = [
            survey_row(outlook),
            collect_row(outlook),
            combine_row(outlook),
            *([visualize_row(outlook)] if job.visualize.enabled else []),
            embed_row(outlook),
            calibrate_row(outlook),
            score_row(outlook),
            name_row(outlook),
        ]
    n_units = sum(layer.point.n_channels for layer in outlook.layers)
    return Plan(len(outlook.layers), n_units, len(outlook.images), rows)
