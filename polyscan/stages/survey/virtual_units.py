"""The virtual units of one layer: readouts made from its activations, planted units, and directions of one's own."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Int64

from polyscan.evidence import SEEN
from polyscan.inputs.directions import OwnDirections
from polyscan.inputs.virtual import OF_INPUTS, OWN, VirtualReadout
from polyscan.job import Job
from polyscan.nulls.deflation import main_readouts
from polyscan.nulls.kinds import CHANNELS, CLASSES, CONTROLS, KINDS, Plant, Sources, parts_of, planted
from polyscan.nulls.null_sets import LAYER_REACHES, reaches
from polyscan.nulls.readouts import Activations, OneExemplar, one_exemplar
from polyscan.shards import seed
from polyscan.stages.survey.geometry import Row
from polyscan.stages.survey.sampling import PeakValues, Sampled
from polyscan.stats.whitening import Whitening
from polyscan.units import DIRECTION, virtual_layer
from polyscan.vision.readouts import Directions

log = logging.getLogger("polyscan")

LEAST_OF_CLASS = 20
"""Sampled vectors of a class at least, for its mean."""
LEAST_TOP = 20  # images of the sample that stand for a planted unit's exemplars


class VirtualUnits:
    """Null readouts, controls, planted units and the user's directions of one layer.

    Args:
        job: gives their numbers.
        layer: its name.
        n_images: number of scanned images.
        sample: of the layer's activation vectors.
        inputs: of what the layer reads, if its readouts are made of that.
        labels: of images of the sample.
        own: the user's directions; None for none.
    """

    def __init__(
        self,
        job: Job,
        layer: str,
        n_images: int,
        sample: Sampled,
        *,
        inputs: Sampled | None = None,
        labels: Mapping[int, int] | None = None,
        own: OwnDirections | None = None,
    ) -> None:
        self.job = job
        self.layer = layer
        self.n_images = n_images
        self.n_channels = sample.vectors.shape[1]
        self.readouts: dict[str, tuple[OneExemplar, Int64[np.ndarray, "u 2"]]] = {}
        self.planted: dict[str, list[Row]] = {}
        self.classes: Directions | None = None
        """Readouts of labelled classes, if a kind of planted units is made of them."""
        self.of = OWN if inputs is None else OF_INPUTS
        self.own = own
        if job.survey.readouts:
            source = inputs or sample
            self._make(source.vectors, source.places, labels or {})

    def _make(
        self, vectors: Float32[np.ndarray, "p c"], places: Int64[np.ndarray, "p 2"], labels: Mapping[int, int]
    ) -> None:
        counts = {"null": self.job.survey.readouts, "control": self.job.survey.controls}
        try:
            activations = Activations.of(vectors)
            for role, count in counts.items():
                if count:
                    generator = np.random.default_rng(seed(self.job.seed, f"{role} read-outs", self.layer))
                    readouts = one_exemplar(
                        vectors, activations.mean, activations.covariance, count=count, generator=generator
                    )
                    self.readouts[role] = (readouts, places[readouts.row])
            if any(KINDS[kind].role == CLASSES for kind in self.job.survey.plants):
                self.classes = self._class_readouts(vectors, places, labels, activations)
        except ValueError as error:
            log.warning("%s has no null: %s", self.layer, error)
            self.readouts = {}

    def _class_readouts(
        self,
        vectors: Float32[np.ndarray, "p c"],
        places: Int64[np.ndarray, "p 2"],
        labels: Mapping[int, int],
        activations: Activations,
    ) -> Directions | None:
        """Readouts of the classes with the most images in the sample, each tuned to its class's mean vector."""
        label = np.array([labels.get(image, -1) for image in places[:, 0].tolist()], dtype=np.int64)
        classes, counts = np.unique(label[label >= 0], return_counts=True)
        classes = classes[counts >= LEAST_OF_CLASS]
        if len(classes) < 2:  # a pair
            log.warning(
                "%s has no planted units of labelled classes: they need two classes with %d sampled vectors each, and "
                "the images have %d",
                self.layer,
                LEAST_OF_CLASS,
                len(classes),
            )
            return None
        generator = np.random.default_rng(seed(self.job.seed, "classes", self.layer))
        classes = np.sort(generator.permutation(classes)[: self.job.survey.planted])
        means = np.stack([vectors[label == one].mean(axis=0, dtype=np.float64) for one in classes])
        weights = np.nan_to_num(main_readouts(means, activations.mean, activations.covariance))
        bias = -(weights @ activations.mean.astype(np.float32))
        return Directions(torch.from_numpy(weights), torch.from_numpy(bias.astype(np.float32)))

    def sources(self) -> dict[str, VirtualReadout]:
        """What planted units are made of beside channels, by role; empty if the layer has no controls."""
        if CONTROLS not in self.readouts:
            return {}
        controls, _ = self.readouts[CONTROLS]
        found = {CONTROLS: Directions(torch.from_numpy(controls.weights), torch.from_numpy(controls.bias))}
        if self.classes is not None:
            found[CLASSES] = self.classes
        return {role: VirtualReadout(directions, self.of) for role, directions in found.items()}

    def plant(self, peaks: Mapping[str, PeakValues]) -> None:
        """Makes planted units of every kind in the job.

        Args:
            peaks: on the survey's sample, of this layer's channels and sources, by the name of their layer.
        """
        sources = self._sources(peaks)
        for kind in self.job.survey.plants:
            generator = np.random.default_rng(seed(self.job.seed, f"{kind} units", self.layer))
            plants = planted(kind, sources, self.job.survey.planted, generator)
            rows: list[Row] = []
            for channel, plant in enumerate(plants):
                rows += self._plant_rows(kind, channel, plant, sources[KINDS[kind].role])
            self.planted[kind] = rows

    def _sources(self, peaks: Mapping[str, PeakValues]) -> dict[str, Sources]:
        """What planted units can be made of, by role."""
        top = max(LEAST_TOP, round(self.job.k * len(peaks[self.layer]) / self.n_images))
        top = min(top, len(peaks[self.layer]))
        identity = np.eye(self.n_channels, dtype=np.float32)
        sources = {CHANNELS: Sources(CHANNELS, identity, np.zeros(self.n_channels), peaks[self.layer], top)}
        for role, readout in self.sources().items():
            assert isinstance(readout.units, Directions)
            weights, bias = readout.units.weights.numpy(), readout.units.bias.numpy()
            sources[role] = Sources(role, weights, bias, peaks[virtual_layer(self.layer, role)], top)
        return sources

    def _plant_rows(self, kind: str, channel: int, plant: Plant, sources: Sources) -> Iterator[Row]:
        """Rows of one planted unit, one row per part."""
        parts = parts_of(plant, sources)
        for number, (direction, bias) in enumerate(parts):
            of = OWN if sources.role == CHANNELS else self.of
            part = {"kind": plant.how if len(parts) > 1 else "linear", "part": number, "of": of}
            source = {"source": plant.sources[number], "source_layer": virtual_layer(self.layer, sources.role)}
            yield readout_row(self.layer, kind, channel, direction, bias, **part, **source)

    def sizes(self) -> dict[str, int]:
        """Number of units of each role."""
        sizes = {DIRECTION: 0 if self.own is None else len(self.own.weights)}
        sizes |= {role: len(readouts.row) for role, (readouts, _) in self.readouts.items()}
        sizes |= {kind: len({row["channel"] for row in rows}) for kind, rows in self.planted.items()}
        return {role: n for role, n in sizes.items() if n}

    def rows(self) -> Iterator[Row]:
        """Rows of `readouts`."""
        yield from self._own_rows()
        for role, (readouts, places) in self.readouts.items():
            reach = self._reaches(role, len(readouts.row))
            for channel, (image, position) in enumerate(places):
                yield readout_row(
                    self.layer,
                    role,
                    channel,
                    readouts.weights[channel],
                    float(readouts.bias[channel]),
                    of=self.of,
                    reach=int(reach[channel]),
                    image=int(image),
                    position=int(position),
                    ridge=float(readouts.ridge[channel]),
                    is_salient=bool(readouts.is_salient[channel]),
                )
        for rows in self.planted.values():
            yield from rows

    def _own_rows(self) -> Iterator[Row]:
        """Rows of the user's directions."""
        if self.own is None:
            return
        names = self.own.names or ("",) * len(self.own.weights)
        for channel, (direction, bias, name) in enumerate(zip(self.own.weights, self.own.bias, names, strict=True)):
            yield readout_row(self.layer, DIRECTION, channel, direction, float(bias), name=name, of=self.own.of)

    def _reaches(self, role: str, count: int) -> Int64[np.ndarray, " u"]:
        """How much each unit is thinned: null readouts by different amounts in seeded order, others not at all."""
        if role != "null":
            return np.ones(count, dtype=np.int64)
        generator = np.random.default_rng(seed(self.job.seed, "reaches", self.layer))
        return reaches(LAYER_REACHES, self.job.k, self.n_images, count=count, generator=generator)


def whitening_rows(layer: str, whitening: Whitening) -> list[Row]:
    """Mean and axes that whiten the features in which a layer's evidence is compared, as rows of `readouts`."""
    axes = [readout_row(layer, SEEN, channel, axis, 0.0, kind="axis") for channel, axis in enumerate(whitening.axes.T)]
    return [readout_row(layer, SEEN, -1, whitening.mean, 0.0, kind="mean"), *axes]


def readout_row(parent: str, role: str, channel: int, weights: np.ndarray, bias: float, **columns: Any) -> Row:
    """One row of `readouts`; columns that are not passed have default values."""
    unit = {"layer": virtual_layer(parent, role), "parent": parent, "role": role, "channel": channel}
    defaults = {"part": 0, "kind": "linear", "of": OWN, "reach": 1, "image": -1, "position": -1, "ridge": math.nan}
    defaults |= {"is_salient": False, "source": -1, "source_layer": "", "name": ""}
    return {**unit, "weights": weights, "bias": bias, **defaults, **columns}
