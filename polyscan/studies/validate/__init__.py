"""validate: error rates and power of a job's scores, measured on units and image sets whose truth is known.

It scans the job into a separate run, with every kind of planted unit and many more controls, through the ordinary
stages. They are treated exactly as real units, so the rates hold for the job's network, images, spaces and nulls.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from polyscan import pipeline
from polyscan.inputs import pinned_threads, settled_job
from polyscan.job import Job
from polyscan.maps import validation_page
from polyscan.nulls.kinds import KINDS
from polyscan.report.contents import warning
from polyscan.run import Run
from polyscan.shards import Runner
from polyscan.studies.scanning import job_of, runner_for
from polyscan.studies.validate.labelled import labelled_rows
from polyscan.studies.validate.measures import Measures, measures
from polyscan.studies.validate.trained import PER_STRENGTH, Kind, Layout, TrainedRates, measured_on_trained
from polyscan.studies.validate.truth import planted_rows, purities

CONTROLS = 400
PLANTED = 80
REPORT = "validation.json"
TRAINED = "trained"
"""The key of the numbers of trained networks in the report; no score has this name."""


def validate(
    job: Job | str | Path,
    run: str,
    *,
    on: str | None = None,
    workers: int | None = None,
    watcher: pipeline.Watcher | None = None,
    trained: Sequence[Kind] = (),
    layout: Layout = "beside",
    outputs: int = PER_STRENGTH,
) -> Measures:
    """Scans the widened job into `run`, measures every score on it, and writes `validation.json` and a page.

    Args:
        job: a job, a job file, or the name of one that comes with polyscan.
        run: a results folder for the validation alone, at any address that fsspec knows.
        on: `local` (this process) or `ray`; default: `ray` where RAY_ADDRESS is set, else `local`.
        workers: number of Ray workers; default: the job's `workers.n`, else as many as fit.
        watcher: is notified of every shard.
        trained: whether networks are also trained to answer to two classes with one output, and which: `network`, small
            ones from scratch; `head`, linear layers on the features of the job's network. Their numbers are under
            `trained` in `validation.json`.
        layout: `beside`: each class also has an output of its own; `instead`: merged classes have none.
        outputs: outputs of each strength of a merge that are trained.

    Returns:
        Numbers by score, measure, layer and type of unit. The measures are `auroc`, `fpr_05`, `power_05`, `k_exact`,
        `purity`, `fdr_10` and `n`; the layer `images` holds labelled sets of whole images.

    Raises:
        PolyscanError: see `polyscan.errors`.
    """
    job = job_of(job)
    with runner_for(on, workers, job.workers) as runner:
        found = measured(job, Run(run), runner, watcher=watcher)
        for kind in trained:
            numbers = measured_on_trained(
                job, Run(run), runner, kind=kind, layout=layout, per_strength=outputs, watcher=watcher
            )
            add_trained(job, Run(run), numbers)
    return found


def measured(job: Job, run: Run, runner: Runner, *, watcher: pipeline.Watcher | None = None) -> Measures:
    """Does the work of `validate` on an open runner."""
    wide = settled_job(widened(job))
    pipeline.scan(wide, run, runner, watcher=watcher)
    with pinned_threads(wide):
        rows = planted_rows(run)
        measured_rates = measures(rows, labelled_rows(wide, run), purities(run, rows))
    _write(job, run, measured_rates, report_of(run).get(TRAINED, {}))
    return measured_rates


def report_of(run: Run) -> dict[str, Any]:
    """The content of `validation.json`: numbers by score, and under `trained` those of trained networks, if any."""
    return json.loads(run.storage.read(REPORT)) if run.storage.exists(REPORT) else {}


def add_trained(job: Job, run: Run, numbers: TrainedRates) -> None:
    """Adds what was measured on trained networks to the report and to the page of a validation."""
    report = report_of(run)
    trained = {**report.pop(TRAINED, {}), numbers.name: numbers.to_json()}
    _write(job, run, report, trained)


def _write(job: Job, run: Run, rates: Measures, trained: Mapping[str, Any]) -> None:
    report = {**rates, TRAINED: trained} if trained else rates
    run.storage.put(REPORT, json.dumps(report, indent=1, sort_keys=True).encode())
    kinds = {name: (kind.concepts, kind.meaning) for name, kind in KINDS.items()}
    title = job.show.title or job.network.name
    page = validation_page(rates, kinds, title=title, warning=warning(run), trained=trained)
    run.storage.put("maps/validation.html", page)


def widened(job: Job) -> Job:
    """The job with enough planted units and controls to measure rates, and without stages that they do not need."""
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
