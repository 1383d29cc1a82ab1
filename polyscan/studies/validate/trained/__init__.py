"""Truth by training: networks are trained so that some outputs answer to two classes and others to one, then scanned.

Planted units and controls share their construction with the null; these outputs do not. A network is trained to give
one output to two classes at once, seen as often as each other, 3 to 1 or 9 to 1. The outputs go through the ordinary
stages, and each score is measured by how well it tells the merged outputs from those of one class.

`network`: small convolutional networks, trained from scratch. `head`: linear layers on the features of the job's own
network.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from polyscan import pipeline
from polyscan.errors import JobError
from polyscan.inputs import pinned_threads, settled_job
from polyscan.job import Job
from polyscan.run import Run
from polyscan.shards import Runner
from polyscan.stats.significance import Interval
from polyscan.storage import Storage
from polyscan.studies.network_input import input_settings
from polyscan.studies.validate.trained.design import ONE_CLASS, Layout
from polyscan.studies.validate.trained.making import Kind, Trained, head_settings, made
from polyscan.studies.validate.trained.networks import output_layer
from polyscan.studies.validate.trained.rates import KINDS, MERGED, OutputRate, rates_of, scored_outputs

__all__ = ["PER_STRENGTH", "Kind", "Layout", "TrainedRates", "measured_on_trained"]

PER_STRENGTH = 14
"""Merged outputs of each strength, so that there are at least 40 in all, and as many of one class."""
CONTROLS = 20
CODE = "polyscan.studies.validate.trained.networks"
QUARTILES = (0.25, 0.5, 0.75)


@dataclass(frozen=True)
class TrainedRates:
    """The numbers of one study.

    Args:
        trained: the networks.
        rates: of each score, evidence and kind of outputs.
    """

    trained: Trained
    rates: list[OutputRate]

    @property
    def name(self) -> str:
        """Its key in the report, and the name of its folder."""
        return f"{self.trained.kind}-{self.trained.layout}"

    def to_json(self) -> dict[str, Any]:
        """As in `validation.json`."""
        trained = self.trained
        return {
            "kind": trained.kind,
            "layout": trained.layout,
            "networks": trained.n_networks,
            "trained_on": trained.trained_on,
            "training_images": trained.n_images,
            "classes": trained.n_classes,
            "own_auroc": float(np.nanmean([truth.own_auroc for truth in trained.truths])),
            "outputs": dict(self._outputs()),
            "rates": [
                {
                    "score": rate.score,
                    "evidence": rate.evidence,
                    "kind": rate.kind,
                    "n": rate.n,
                    "auroc": _plain(rate.auroc),
                    "found": _plain(rate.found),
                }
                for rate in self.rates
            ],
        }

    def _outputs(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """By kind: the number of outputs; quartiles of the strength; the second class's mean share of the top k."""
        for kind in KINDS:
            chosen = [t for t in self.trained.truths if t.kind == kind or (kind == MERGED and t.kind != ONE_CLASS)]
            if not chosen:
                continue
            facts: dict[str, Any] = {"n": len(chosen)}
            if kind == ONE_CLASS:
                facts["own_share"] = float(np.mean([t.n_major / t.k for t in chosen]))
            else:
                strengths = [t.strength for t in chosen if np.isfinite(t.strength)]
                facts["strength"] = [float(q) for q in np.quantile(strengths, QUARTILES)] if strengths else None
                facts["second_share"] = float(np.mean([t.second_share for t in chosen]))
            yield kind, facts


def _plain(interval: Interval | None) -> list[float] | None:
    return None if interval is None else [float(number) for number in interval]


def measured_on_trained(
    job: Job,
    run: Run,
    runner: Runner,
    *,
    kind: Kind = "network",
    layout: Layout = "beside",
    per_strength: int = PER_STRENGTH,
    watcher: pipeline.Watcher | None = None,
) -> TrainedRates:
    """Trains networks in `trained/KIND-LAYOUT` of a run's folder, scans their outputs there, and measures every score.

    What is trained and scanned already is not done again.

    Args:
        job: the settings: images, embedder, k, null and scores of the scan, and for heads the network.
        run: the results folder of the validation.
        runner: decides where the scan's workers run; networks are trained in this process.
        kind: what is trained.
        layout: whether merged classes have outputs of their own, too.
        per_strength: merged outputs of each strength.
        watcher: is notified of every shard.

    Raises:
        ImagesError: if the images have no labels, fewer than four classes, or too few images of each.
        JobError: if the folder is not on a disk, or has networks of other settings.
        PolyscanError: as for a scan.
    """
    folder = f"{run.address}/trained/{kind}-{layout}"
    storage = Storage(f"{folder}/weights")
    if not storage.is_local:
        raise JobError(f"{run.address} is not on a disk, where the trained weights must lie; use a --run on a disk")
    run.files.require_writable()
    job = settled_job(job)
    with pinned_threads(job):
        trained = made(job, kind, storage, per_strength=per_strength, layout=layout)
    outputs = Run(f"{folder}/run")
    scanned = outputs_job(job, trained)
    pipeline.scan(scanned, outputs, runner, watcher=watcher)
    null = scanned.calibrate.nulls[0] if scanned.calibrate.nulls else ""
    with pinned_threads(job):
        return TrainedRates(trained, rates_of(scored_outputs(outputs, trained.truths, null)))


def outputs_job(job: Job, trained: Trained) -> Job:
    """The job that scans the outputs of trained networks as the given job scans its layers.

    The outputs have no positions, so each is compared by whole images, in the space of the job's embedder.
    """
    options: dict[str, Any] = {"sizes": trained.sizes, "weights": trained.folder}
    if trained.kind == "network":
        name, options["channels"] = f"{CODE}:networks", trained.preprocessing.channels
    else:
        name, options["folder"] = f"{CODE}:heads", job.folder
        # TOML has no null
        settings = head_settings(job, trained.preprocessing)
        options["network"] = {key: value for key, value in settings.items() if value is not None}
    network = job.network.model_copy(
        update={
            **input_settings(trained.preprocessing),
            "name": name,
            "weights": "",
            "weights_key": "",
            "options": options,
            "layers": tuple(output_layer(place) for place in range(trained.n_networks)),
            "trace": trained.kind == "network",  # the hook on the trunk is not in a traced graph
        }
    )
    return job.model_copy(
        update={
            "network": network,
            "survey": job.survey.model_copy(
                update={"space": "image", "sign": "up", "controls": CONTROLS, "planted": 0}
            ),
            "visualize": job.visualize.model_copy(update={"enabled": False}),
            "embed": job.embed.model_copy(update={"crops": False}),
            "picture": job.picture.model_copy(update={"crops": 0, "per_cluster": 0, "visualizations": 0}),
            "show": job.show.model_copy(update={"title": f"outputs of trained networks ({trained.kind})"}),
        }
    )
