"""What a job asks for, counted before anything runs: layers, their virtual units and the spaces of their evidence."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
from jaxtyping import UInt8
from torch import Tensor

from polyscan.inputs import batches, open_directions, open_embedder, open_images, open_namer, open_reader
from polyscan.job import Job, settled
from polyscan.nulls.deflation import searched_share
from polyscan.scores.concepts import Concepts
from polyscan.scores.sample import Sample, prepare, prepare_halves
from polyscan.scores.score import Score, values_of
from polyscan.stages.calibrate import TEST_SCORES
from polyscan.stages.survey.geometry import compared
from polyscan.stats.whitening import COMPONENTS, Whitening
from polyscan.studies.plan.measuring import once, seconds
from polyscan.units import DIRECTION
from polyscan.vision.embedders import Embedder
from polyscan.vision.readouts import ReadPoint, chosen_layers

MEASURED_SETS, WARMING_SETS = 64, 8
ELBOW = 4 / 3
"""Estimate of a unit's images / `visualize.min_images`: 11.2 / 6 on the digits, 6.2 / 6 on MobileNetV2 by LPIPS."""
PARTS = {DIRECTION: 1, "null": 1, "control": 1, "sum": 1, "noisy": 1, "random": 1, "three": 3}
"""Directions of a virtual unit, by its role; 2 for roles that are not listed."""
VISUALIZED_ROLES = ("null", "control", "planted")
"""Roles of virtual units that are visualized if the job asks for it."""


@dataclass(frozen=True)
class LayerOutlook:
    """One scanned layer: its virtual units, and the space of its evidence.

    Args:
        point: where it is read.
        virtual: number of units of each of its virtual layers, at most, by role.
        space: `image`, `own` or `next`.
        source: the layer whose features are compared: the next one in the space `next`, else itself.
        width: length of a vector in its space.
        n_visualized: number of its units that are visualized, at most.
        n_null_visualized: how many of these are null readouts.
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
        """Number of units that are scanned, with virtual ones."""
        return self.point.n_channels + sum(self.virtual.values())

    @property
    def n_judged(self) -> int:
        """Number of its channels, and of the user's directions."""
        return self.point.n_channels + self.virtual.get(DIRECTION, 0)

    @property
    def scored(self) -> list[int]:
        """Sizes of the layers that `score` scores: the layer itself, and its virtual layers except the null."""
        return [self.point.n_channels, *(n for role, n in self.virtual.items() if role != "null")]


class Outlook:
    """A job with its inputs opened, and the counts and measurements that its estimates are made from.

    Raises:
        PolyscanError: if anything is wrong with the job.
    """

    def __init__(self, job: Job) -> None:
        self.reader = open_reader(job)
        self.images = open_images(job)
        self.job = job = settled(job, len(self.images))
        self.embedder = open_embedder(job, self.reader.network)
        self.namer = open_namer(job, self.reader.network)
        self.n = job.n_embedded
        self.n_scored = job.n_scored
        self.n_pictures = min(job.visualize.max_images, math.ceil(ELBOW * job.visualize.min_images))
        self.calibrated = {name: score for name, score in job.score_functions().items() if score.tail != "none"}
        self.n_sample = min(job.survey.images, len(self.images))
        self.layers = list(self._layers())

    def _layers(self) -> Iterator[LayerOutlook]:
        settings, points = self.job.visualize, self.reader.points
        own = open_directions(self.job, self.reader)
        names = [point.layer for point in points]
        visualized = chosen_layers(names, settings.layers) if settings.enabled else set[str]()
        for point in points:
            virtual = virtual_units(self.job, point, len(own[point.layer].weights) if point.layer in own else 0)
            space, source = self._space(point)
            width = self.embedding_width if space == "image" else source.n_channels
            n_visualized, n_null = 0, 0
            if point.layer in visualized:
                of_roles = {role: min(settings.virtual_units, virtual.get(role, 0)) for role in VISUALIZED_ROLES}
                judged = (point.n_channels, virtual.get(DIRECTION, 0))
                n_judged = sum(min(settings.units_per_layer or n, n) for n in judged)
                n_visualized, n_null = n_judged + sum(of_roles.values()), of_roles["null"]
            yield LayerOutlook(point, virtual, space, source, width, n_visualized, n_null)

    def _space(self, point: ReadPoint) -> tuple[str, ReadPoint]:
        points = self.reader.points
        input_size = self.reader.network.preprocessing.size
        comparison = compared(point, points, wanted=self.job.survey.space, input_size=input_size)
        space = str(comparison["space"])
        return space, next(p for p in points if p.layer == comparison["next"]) if space == "next" else point

    @property
    def has_pool(self) -> bool:
        """Whether every image is embedded whole."""
        return self.job.embed.pool and any(layer.space == "image" for layer in self.layers)

    @property
    def n_pooled_nulls(self) -> int:
        """Number of nulls whose sets are drawn from the pool."""
        return sum(name != "layer" for name in self.job.calibrate.nulls) if self.has_pool else 0

    @property
    def searched(self) -> float | None:
        """Share of the images that the second test searches; None if there is no second test."""
        job = self.job
        if not job.second.enabled or not job.survey.readouts:
            return None
        return searched_share(job.k, len(self.images), reach=job.second.reach)

    @property
    def second_layers(self) -> list[LayerOutlook]:
        """The layers with a second test."""
        return [] if self.searched is None else self.layers

    @property
    def n_items(self) -> int:
        """Items of a unit's evidence: exemplars, and those that only its deflated evidence has."""
        return self.n + self.job.n_half * bool(self.second_layers)

    # ---- measured --------------------------------------------------------------------------------------------------

    @cached_property
    def embedding_width(self) -> int:
        """Length of an embedding."""
        return self.embedder(self._blank(1, self.embedder)).shape[1]

    @cached_property
    def embedding_seconds(self) -> float:
        """Seconds to embed one crop."""
        return self._seconds_of(self.embedder)

    @cached_property
    def naming_seconds(self) -> float:
        """Seconds in which the model that names sees one crop; 0 if labels are counted."""
        return self._seconds_of(self.namer) if self.namer else 0.0

    @cached_property
    def naming_width(self) -> int:
        """Length of a vector of the model that names; 0 if labels are counted."""
        return self.namer(self._blank(1, self.namer)).shape[1] if self.namer else 0

    def _seconds_of(self, embedder: Embedder) -> float:
        crops = self._blank(self.job.embed.batch, embedder)
        return seconds(lambda: embedder(crops)) / len(crops)

    def _blank(self, n: int, embedder: Embedder) -> UInt8[np.ndarray, "n y x c"]:
        preprocessing = embedder.preprocessing
        return np.zeros((n, *preprocessing.size, preprocessing.channels), dtype=np.uint8)

    @cached_property
    def unit_cost(self) -> SetCost:
        """Cost of scoring the exemplars of a unit."""
        return self._set_cost(self.n_scored, self.job.score_functions())

    @cached_property
    def null_cost(self) -> SetCost:
        """Cost of scoring a null set, for which scores without a tail are not computed."""
        return self._set_cost(self.n_scored, self.calibrated)

    @cached_property
    def test_cost(self) -> SetCost:
        """Cost of a null set that has the scores of the test alone."""
        return self._test_cost(self.n_scored)

    @cached_property
    def second_cost(self) -> SetCost:
        """Cost of scoring a set of deflated evidence, which has the scores of the test alone."""
        return self._test_cost(2 * self.job.n_half)

    def _test_cost(self, n: int) -> SetCost:
        scores = {name: score for name, score in self.calibrated.items() if name in TEST_SCORES}
        return self._set_cost(n, scores, prepare_halves)

    @cached_property
    def picture_cost(self) -> SetCost:
        """Cost of scoring the visualizations of a unit."""
        return self._set_cost(self.n_pictures, self.job.score_functions())

    def _set_cost(
        self, n: int, scores: Mapping[str, Score], prepared: Callable[[Sequence[Sample]], None] = prepare
    ) -> SetCost:
        widths = [*(layer.width for layer in self.layers), self.embedding_width]
        return SetCost.measured(self.job, n, widths, partial(scored_sets, scores, prepared))

    def pass_seconds(self, read: Callable[[Tensor], None]) -> float:
        """Seconds to load, decode and preprocess one batch of images and to read the network on it."""
        size = self.job.collect.batch
        indices = range(min(size, len(self.images)))

        def one_batch() -> None:
            for batch in batches(self.reader.network, self.images, indices, size):
                read(batch.inputs)

        return seconds(one_batch)


def virtual_units(job: Job, point: ReadPoint, n_directions: int = 0) -> dict[str, int]:
    """Virtual units of a layer by role, at most; planted units need controls, and controls need readouts."""
    survey = job.survey
    n_controls = survey.controls if survey.readouts else 0
    counts = {DIRECTION: n_directions, "null": survey.readouts, "control": n_controls}
    counts |= {kind: survey.planted if n_controls else 0 for kind in survey.plants}
    counts |= {"down": point.n_channels if survey.sign == "both" else 0}
    return {role: n for role, n in counts.items() if n}


@dataclass(frozen=True, eq=False)
class SetCost:
    """Time to score one set, and the number of its values.

    Args:
        widths: lengths of a vector in the narrowest and the widest space.
        seconds: time to score a set at each of these widths.
        n_values: number of scores and parts of scores of a set.
    """

    widths: list[int]
    seconds: list[float]
    n_values: int

    def of(self, width: int) -> float:
        """Seconds at that width, interpolated linearly between the measured widths."""
        return float(np.interp(width, self.widths, self.seconds))

    @classmethod
    def measured(cls, job: Job, n: int, widths: Iterable[int], scored: Callable[[Sequence[Sample]], int]) -> SetCost:
        """Measures it on sets of n noise vectors, on which clustering converges slowly.

        Args:
            job: sets how items are clustered.
            n: items of a set.
            widths: lengths of a vector in every space.
            scored: scores sets; gives the number of values of a set.
        """
        widths = set(widths)
        ends = sorted({min(widths), max(widths)})
        generator = np.random.default_rng(0)
        n_values = scored(list(_noise(job, n, ends[0], WARMING_SETS, generator)))
        sets = [list(_noise(job, n, width, MEASURED_SETS, generator)) for width in ends]
        durations = [once(partial(scored, samples)) / MEASURED_SETS for samples in sets]
        return cls(ends, durations, n_values)


def scored_sets(
    scores: Mapping[str, Score], prepared: Callable[[Sequence[Sample]], None], samples: Sequence[Sample]
) -> int:
    """Scores all samples; the number of values of a set."""
    prepared(samples)
    return max(sum(1 for _ in values_of(scores, sample)) for sample in samples)


def _noise(job: Job, n: int, width: int, count: int, generator: np.random.Generator) -> Iterator[Sample]:
    """Random vectors of two classes, whitened with as many random axes as a scan uses at most."""
    axes = generator.standard_normal((width, min(width, COMPONENTS))).astype(np.float32)
    for seed in range(count):
        yield Sample(
            generator.standard_normal((n, width)).astype(np.float32),
            np.zeros(n, dtype=np.float32),
            0.0,
            0.0,
            max_clusters=job.score.max_clusters,
            restarts=job.score.restarts,
            seed=seed,
            whitening=Whitening(np.zeros(width, dtype=np.float32), axes),
            labels=np.arange(n, dtype=np.int64) % 2,
            prototypes=Concepts(generator.standard_normal((2, width)), np.arange(2), ["0", "1"]),
        )
