"""What a job asks for, counted before anything runs: layers, their virtual units, the spaces of their evidence."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
from jaxtyping import UInt8
from torch import Tensor

from polyscan.inputs import batches, open_embedder, open_images, open_reader
from polyscan.job import Job
from polyscan.scores.concepts import Concepts
from polyscan.scores.sample import Sample, prepare
from polyscan.scores.score import Score, values_of
from polyscan.stages.survey.geometry import compared
from polyscan.stats.whitening import COMPONENTS, Whitening
from polyscan.studies.plan.measuring import once, seconds
from polyscan.vision.readouts import ReadPoint, chosen_layers

MEASURED_SETS, WARMING_SETS = 64, 8
ELBOW = 4 / 3
"""Images of a unit / `visualize.min_images`, as a guess: 11.2 / 6 on the digits, 6.2 / 6 on MobileNetV2 by LPIPS."""
PARTS = {"null": 1, "control": 1, "sum": 1, "noisy": 1, "random": 1, "three": 3}
"""Directions of a virtual unit by its role; 2 where it is not named."""
PROOF = ("null", "control", "planted")
"""Virtual units that are visualized where a job asks for it."""


@dataclass(frozen=True)
class LayerOutlook:
    """One scanned layer: its virtual units, and where its evidence is compared.

    Args:
        point: where it is read.
        virtual: how many units each of its virtual layers has, at most, by role.
        space: `image`, `own` or `next`.
        source: the layer whose features are looked at in the space `next`, else itself.
        width: numbers of one vector in its space.
        n_visualized: its units that are visualized, at most.
        n_null_visualized: how many of them are null readouts.
    """

    point: ReadPoint
    virtual: Mapping[str, int]
    space: str
    source: ReadPoint
    width: int
    n_visualized: int
    n_null_visualized: int

    @property
    def n_units(self) -> int:
        """Units that are scanned."""
        return self.point.n_channels + sum(self.virtual.values())

    @property
    def scored(self) -> list[int]:
        """Sizes of the layers that `score` scores: its own, and all virtual ones but the null."""
        return [self.point.n_channels, *(n for role, n in self.virtual.items() if role != "null")]


class Outlook:
    """A job's inputs, opened, and what they make of its settings.

    Raises:
        PolyscanError: whatever is wrong with the job.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self.reader = open_reader(job)
        self.images = open_images(job)
        self.embedder = open_embedder(job, self.reader.network)
        self.n = job.n_embedded
        self.n_scored = job.n_scored
        self.n_pictures = min(job.visualize.max_images, math.ceil(ELBOW * job.visualize.min_images))
        self.calibrated = {name: score for name, score in job.score_functions().items() if score.tail != "none"}
        self.n_sample = min(job.survey.images, len(self.images))
        self.layers = list(self._layers())

    def _layers(self) -> Iterator[LayerOutlook]:
        settings, points = self.job.visualize, self.reader.points
        names = [point.layer for point in points]
        wanted = chosen_layers(names, settings.layers) if settings.enabled else set[str]()
        for point in points:
            virtual = virtual_units(self.job, point)
            space, source = self._space(point)
            width = self.embedding_width if space == "image" else source.n_channels
            real, null = 0, 0
            if point.layer in wanted:
                proof = {role: min(settings.virtual_units, virtual.get(role, 0)) for role in PROOF}
                real = min(settings.units_per_layer or point.n_channels, point.n_channels) + sum(proof.values())
                null = proof["null"]
            yield LayerOutlook(point, virtual, space, source, width, real, null)

    def _space(self, point: ReadPoint) -> tuple[str, ReadPoint]:
        points = self.reader.points
        input_px = self.reader.network.preprocessing.input_px
        found = compared(point, points, wanted=self.job.survey.space, input_px=input_px)
        space = str(found["space"])
        return space, next(p for p in points if p.layer == found["next"]) if space == "next" else point

    @property
    def has_pool(self) -> bool:
        """Whether every image is embedded whole."""
        return self.job.embed.pool and any(layer.space == "image" for layer in self.layers)

    @property
    def n_pooled_nulls(self) -> int:
        """Nulls whose sets are drawn from the pool."""
        return sum(name != "layer" for name in self.job.calibrate.nulls) if self.has_pool else 0

    # ---- measured --------------------------------------------------------------------------------------------------

    @cached_property
    def embedding_width(self) -> int:
        """Numbers of an embedding."""
        return self.embedder(self._blank(1)).shape[1]

    @cached_property
    def embedding_seconds(self) -> float:
        """Of one crop."""
        crops = self._blank(self.job.embed.batch)
        return seconds(lambda: self.embedder(crops)) / len(crops)

    def _blank(self, n: int) -> UInt8[np.ndarray, "n y x c"]:
        side, channels = self.embedder.preprocessing.input_px, self.embedder.preprocessing.channels
        return np.zeros((n, side, side, channels), dtype=np.uint8)

    @cached_property
    def unit_cost(self) -> SetCost:
        """What scoring a unit's exemplars takes."""
        return self._set_cost(self.n_scored, self.job.score_functions())

    @cached_property
    def null_cost(self) -> SetCost:
        """The same of a null set, of which a score without a tail is not asked."""
        return self._set_cost(self.n_scored, self.calibrated)

    @cached_property
    def picture_cost(self) -> SetCost:
        """What scoring a unit's visualizations takes."""
        return self._set_cost(self.n_pictures, self.job.score_functions())

    def _set_cost(self, n: int, scores: Mapping[str, Score]) -> SetCost:
        return SetCost.measured(self.job, n, [*(layer.width for layer in self.layers), self.embedding_width], scores)

    def pass_seconds(self, read: Callable[[Tensor], None]) -> float:
        """Of one batch of images: fetched, decoded, made inputs and read."""
        size = self.job.collect.batch
        wanted = range(min(size, len(self.images)))

        def one_batch() -> None:
            for batch in batches(self.reader.network, self.images, wanted, size):
                read(batch.inputs)

        return seconds(one_batch)


def virtual_units(job: Job, point: ReadPoint) -> dict[str, int]:
    """Virtual units of a layer by role, at most: plants need controls, and these need readouts."""
    survey = job.survey
    n_controls = survey.controls if survey.readouts else 0
    found = {"null": survey.readouts, "control": n_controls}
    found |= {kind: survey.planted if n_controls else 0 for kind in survey.plants}
    found |= {"down": point.n_channels if survey.sign == "both" else 0}
    return {role: n for role, n in found.items() if n}


@dataclass(frozen=True, eq=False)
class SetCost:
    """What scoring one set takes and gives.

    Args:
        widths: numbers of a vector, narrowest and widest space.
        seconds: of a set in each of them.
        n_values: scores and parts of a set.
    """

    widths: list[int]
    seconds: list[float]
    n_values: int

    def of(self, width: int) -> float:
        """Seconds at that width, on the straight line between the measured ones."""
        return float(np.interp(width, self.widths, self.seconds))

    @classmethod
    def measured(cls, job: Job, n: int, widths: Iterable[int], scores: Mapping[str, Score]) -> SetCost:
        """From sets of n vectors of noise, on which clusterings converge as slowly as on any."""
        widths = set(widths)
        ends = sorted({min(widths), max(widths)})
        generator = np.random.default_rng(0)
        n_values = _scored(scores, list(_noise(job, n, ends[0], WARMING_SETS, generator)))
        sets = [list(_noise(job, n, width, MEASURED_SETS, generator)) for width in ends]
        taken = [once(partial(_scored, scores, samples)) / MEASURED_SETS for samples in sets]
        return cls(ends, taken, n_values)


def _scored(scores: Mapping[str, Score], samples: Sequence[Sample]) -> int:
    """How many values a set gets."""
    prepare(samples)
    return max(sum(1 for _ in values_of(scores, sample)) for sample in samples)


def _noise(job: Job, n: int, width: int, count: int, generator: np.random.Generator) -> Iterator[Sample]:
    """Random vectors of two classes, seen through random axes, as many as there ever are."""
    seen = generator.standard_normal((width, min(width, COMPONENTS))).astype(np.float32)
    for seed in range(count):
        yield Sample(
            generator.standard_normal((n, width)).astype(np.float32),
            np.zeros(n, dtype=np.float32),
            0.0,
            0.0,
            max_clusters=job.score.max_clusters,
            restarts=job.score.restarts,
            seed=seed,
            whitening=Whitening(np.zeros(width, dtype=np.float32), seen),
            labels=np.arange(n, dtype=np.int64) % 2,
            prototypes=Concepts(generator.standard_normal((2, width)), np.arange(2), ["0", "1"]),
        )
