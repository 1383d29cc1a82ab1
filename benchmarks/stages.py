"""Single stages of a scan, as the pipeline does them, on MobileNetV2's blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.inputs import find_weights, held
from polyscan import job as jobs
from polyscan import pipeline
from polyscan.inputs import settled_job
from polyscan.job import Job
from polyscan.run import Run
from polyscan.shards import Runner

NO_VIRTUAL_UNITS = {"readouts": 0, "controls": 0, "planted": 0, "images": 64, "positions": 1024}
"""A survey that is soon done, where only what follows is timed."""


def job_of(source: str, *, layers: str | Sequence[str] = "blocks", **groups: Mapping[str, Any]) -> Job:
    """MobileNetV2 on one of the shared image sets, on one thread of the CPU; nothing but the scanned network is opened.

    Raises:
        Skipped: if the shared data are not here.
    """
    find_weights()
    content: dict[str, Any] = {
        "device": "cpu",
        "network": {"name": "torchvision:mobilenet_v2", "weights": "IMAGENET1K_V1", "layers": layers},
        "images": {"source": str(held(source))},
        "visualize": {"enabled": False},
        "embed": {"model": "penultimate"},
    }
    for group, settings in groups.items():
        content[group] = {**content.get(group, {}), **settings}
    return jobs.build(content, "benchmarks")


def do(job: Job, run: Run, stage: str, runner: Runner = pipeline.in_process, *, anew: bool = False) -> None:
    """Brings one stage of a run to its end; what it reads is there.

    Args:
        anew: whether its results are thrown away first.
    """
    job = settled_job(job)
    fingerprints = pipeline.settle(job, run, redo=stage if anew else None)
    finish(job, run, stage, fingerprints, runner)


def finish(
    job: Job, run: Run, stage: str, fingerprints: Mapping[str, str], runner: Runner = pipeline.in_process
) -> None:
    """The same behind `pipeline.settle`, which is no part of the stage."""
    verb = next(one for one in pipeline.STAGES if one.name == stage)
    worker = pipeline.shard_worker(verb, job, run, fingerprints[stage])
    pipeline.complete(verb, worker, run, runner, pipeline.Silence())
