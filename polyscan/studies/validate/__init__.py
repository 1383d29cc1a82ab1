"""validate: how far a job's numbers can be trusted, measured on units and sets of known truth.

A run of its own: the job with every kind of planted unit and many more controls, through the ordinary stages. What a
unit goes through, they go through, so the rates are those of the job's own network, images, spaces and nulls.
"""

from __future__ import annotations

import json
from pathlib import Path

from polyscan import pipeline
from polyscan.inputs import pinned_threads
from polyscan.job import Job
from polyscan.maps import validation_page
from polyscan.nulls.kinds import KINDS
from polyscan.run import Run
from polyscan.shards import Runner
from polyscan.studies.scanning import job_of, runner_for
from polyscan.studies.validate.labelled import labelled_rows
from polyscan.studies.validate.measures import Measures, measures
from polyscan.studies.validate.truth import planted_rows, purities

CONTROLS = 400
PLANTED = 80
REPORT = "validation.json"


def validate(
    job: Job | str | Path,
    run: str,
    *,
    on: str | None = None,
    workers: int | None = None,
    watcher: pipeline.Watcher | None = None,
) -> Measures:
    """Scans the widened job into `run`, measures every score on it, and writes `validation.json` and a page.

    Args:
        job: what is to be trusted: a job, a job file, or the name of one that comes with polyscan.
        run: a results folder of its own, at any address that fsspec knows.
        on: `local` (this process) or `ray`; default: `ray` where RAY_ADDRESS is set, else `local`.
        workers: Ray workers to ask for; default: the job's `workers.n`, else as many as fit.
        watcher: is told of every shard.

    Returns:
        `{score: {"auroc" | "fpr_05" | "power_05" | "k_exact" | "purity" | "fdr_10" | "n": {layer: {type: number}}}}`;
        the layer `images` holds labelled sets of whole images.

    Raises:
        PolyscanError: see `polyscan.errors`.
    """
    asked = job_of(job)
    with runner_for(on, workers, asked.workers) as runner:
        return measured(asked, Run(run), runner, watcher=watcher)


def measured(job: Job, run: Run, runner: Runner, *, watcher: pipeline.Watcher | None = None) -> Measures:
    """As `validate`, on a runner that is at hand."""
    wide = widened(job)
    pipeline.scan(wide, run, runner, watcher=watcher)
    with pinned_threads(wide):
        rows = planted_rows(run)
        found = measures(rows, labelled_rows(wide, run), purities(run, rows))
    run.storage.put(REPORT, json.dumps(found, indent=1, sort_keys=True).encode())
    kinds = {name: (kind.concepts, kind.meaning) for name, kind in KINDS.items()}
    run.storage.put("maps/validation.html", validation_page(found, kinds, title=wide.show.title or wide.network.name))
    return found


def widened(job: Job) -> Job:
    """The job with enough units of known truth to measure rates, and nothing that they do not need."""
    survey = job.survey.model_copy(
        update={
            "controls": max(job.survey.controls, CONTROLS),
            "planted": max(job.survey.planted, PLANTED),
            "plants": tuple(KINDS),
        }
    )
    visualize = job.visualize.model_copy(update={"enabled": False})
    embed = job.embed.model_copy(update={"crops": False})
    return job.model_copy(update={"survey": survey, "visualize": visualize, "embed": embed})
