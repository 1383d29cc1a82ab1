"""The virtual units of one layer: readouts from its activations, then plants from the readouts' peaks."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Int64

from polyscan.evidence import SEEN
from polyscan.job import Job
from polyscan.nulls.kinds import CHANNELS, CONTROLS, KINDS, Plant, Sources, parts_of, planted
from polyscan.nulls.null_sets import LAYER_REACHES, reaches
from polyscan.nulls.readouts import Activations, OneExemplar, one_exemplar
from polyscan.shards import seed
from polyscan.stages.survey.geometry import Row
from polyscan.stages.survey.sampling import PeakValues
from polyscan.stats.whitening import Whitening
from polyscan.units import virtual_layer
from polyscan.vision.readouts import Directions

log = logging.getLogger("polyscan")

LEAST_TOP = 20  # images that stand for a planted unit on the sample


class VirtualUnits:
    """Null readouts, controls and planted units of one layer.

    Args:
        job: says how many.
        layer: its name.
        n_images: how many images are scanned.
        vectors: its sampled activation vectors.
        places: (image, position) of each.
    """

    def __init__(
        self,
        job: Job,
        layer: str,
        n_images: int,
        vectors: Float32[np.ndarray, "p c"],
        places: Int64[np.ndarray, "p 2"],
    ) -> None:
        self.job = job
        self.layer = layer
        self.n_images = n_images
        self.n_channels = vectors.shape[1]
        self.made: dict[str, tuple[OneExemplar, Int64[np.ndarray, "u 2"]]] = {}
        self.planted: dict[str, list[Row]] = {}
        if job.survey.readouts:
            self._make(vectors, places)

    def _make(self, vectors: Float32[np.ndarray, "p c"], places: Int64[np.ndarray, "p 2"]) -> None:
        counts = {"null": self.job.survey.readouts, "control": self.job.survey.controls}
        try:
            activations = Activations.of(vectors)
            for role, count in counts.items():
                if count:
                    generator = np.random.default_rng(seed(self.job.seed, f"{role} read-outs", self.layer))
                    its = one_exemplar(
                        vectors, activations.mean, activations.covariance, count=count, generator=generator
                    )
                    self.made[role] = (its, places[its.row])
        except ValueError as error:
            log.warning("%s has no null: %s", self.layer, error)
            self.made = {}

    @property
    def controls(self) -> Directions | None:
        """The controls as something to read; None where there are none."""
        if "control" not in self.made:
            return None
        its, _ = self.made["control"]
        return Directions(torch.from_numpy(its.weights), torch.from_numpy(its.bias))

    def plant(self, peaks: Mapping[str, PeakValues]) -> None:
        """Makes planted units of every kind the job names, from peaks on the survey's sample, by layer and role."""
        top = max(LEAST_TOP, round(self.job.collect.k * len(peaks[self.layer]) / self.n_images))
        top = min(top, len(peaks[self.layer]))
        identity = np.eye(self.n_channels, dtype=np.float32)
        sources = {CHANNELS: Sources(CHANNELS, identity, np.zeros(self.n_channels), peaks[self.layer], top)}
        if "control" in self.made:
            its, _ = self.made["control"]
            sources[CONTROLS] = Sources(
                CONTROLS, its.weights, its.bias, peaks[virtual_layer(self.layer, CONTROLS)], top
            )
        for kind in self.job.survey.plants:
            generator = np.random.default_rng(seed(self.job.seed, f"{kind} units", self.layer))
            plants = planted(kind, sources, self.job.survey.planted, generator)
            rows: list[Row] = []
            for channel, plant in enumerate(plants):
                rows += self._plant_rows(kind, channel, plant, sources[KINDS[kind].role])
            self.planted[kind] = rows

    def _plant_rows(self, kind: str, channel: int, plant: Plant, sources: Sources) -> Iterator[Row]:
        """Rows of one planted unit: one a part."""
        parts = parts_of(plant, sources)
        for number, (direction, bias) in enumerate(parts):
            about = {"kind": plant.how if len(parts) > 1 else "linear", "part": number}
            source = {"source": plant.sources[number], "source_layer": virtual_layer(self.layer, sources.role)}
            yield readout_row(self.layer, kind, channel, direction, bias, **about, **source)

    def sizes(self) -> dict[str, int]:
        """How many units of each role there are."""
        sizes = {role: len(its.row) for role, (its, _) in self.made.items()}
        sizes |= {kind: len({row["channel"] for row in rows}) for kind, rows in self.planted.items()}
        return {role: n for role, n in sizes.items() if n}

    def rows(self) -> Iterator[Row]:
        """Rows of `readouts`."""
        for role, (its, places) in self.made.items():
            reach = self._reaches(role, len(its.row))
            for channel, (image, position) in enumerate(places):
                yield readout_row(
                    self.layer,
                    role,
                    channel,
                    its.weights[channel],
                    float(its.bias[channel]),
                    reach=int(reach[channel]),
                    image=int(image),
                    position=int(position),
                    ridge=float(its.ridge[channel]),
                    is_salient=bool(its.is_salient[channel]),
                )
        for rows in self.planted.values():
            yield from rows

    def _reaches(self, role: str, count: int) -> Int64[np.ndarray, " u"]:
        """How much each unit is thinned: null readouts in turn, in an order of their own, others not at all."""
        if role != "null":
            return np.ones(count, dtype=np.int64)
        generator = np.random.default_rng(seed(self.job.seed, "reaches", self.layer))
        return reaches(LAYER_REACHES, self.job.collect.k, self.n_images, count=count, generator=generator)


def whitening_rows(layer: str, whitening: Whitening) -> list[Row]:
    """How the features are seen in which a layer's evidence is compared, as rows of `readouts`."""
    axes = [readout_row(layer, SEEN, channel, axis, 0.0, kind="axis") for channel, axis in enumerate(whitening.axes.T)]
    return [readout_row(layer, SEEN, -1, whitening.mean, 0.0, kind="mean"), *axes]


def readout_row(parent: str, role: str, channel: int, weights: np.ndarray, bias: float, **given: Any) -> Row:
    """One row of `readouts`; what is not given has no value there."""
    layer = {"layer": virtual_layer(parent, role), "parent": parent, "role": role, "channel": channel}
    nothing = {"part": 0, "kind": "linear", "reach": 1, "image": -1, "position": -1, "ridge": math.nan}
    virtual = {**nothing, "is_salient": False, "source": -1, "source_layer": ""}
    return {**layer, "weights": weights, "bias": bias, **virtual, **given}
