"""survey: describes each layer, samples its activations, and makes its virtual units.

Virtual units provide a layer's null, its error rate and its power. Those of the roles `null` and `control` are
single-concept readouts, each made from one exemplar: what a unit that answers to one thing looks like in this layer.
Those of the role `planted` are maxima of two controls: units that answer to two things.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from polyscan.errors import JobError
from polyscan.inputs.batches import batches
from polyscan.inputs.checking import check_worker
from polyscan.inputs.directions import check_directions, open_directions
from polyscan.inputs.opening import open_images, open_reader
from polyscan.inputs.virtual import OF_INPUTS, reads_inputs
from polyscan.job import Job
from polyscan.nulls.coherence import random_clarity
from polyscan.nulls.kinds import KINDS
from polyscan.run import Run
from polyscan.shards import Shard, seed, split_by_weight
from polyscan.stages.survey.geometry import Row, compared, layer_row, virtual_row
from polyscan.stages.survey.sampling import Sampled, Sampler, View, inputs_name
from polyscan.stages.survey.virtual_units import VirtualUnits, whitening_rows
from polyscan.stats.whitening import Whitening, place_directions
from polyscan.tables import Columns
from polyscan.units import DIRECTION
from polyscan.vision.readouts import Channels, Reader, ReadPoint
from polyscan.vision.readouts.effective import effective_fields

log = logging.getLogger("polyscan")

CHANNELS_PER_SHARD = 8192  # so that the sampled vectors of one shard stay under a gigabyte
FIELD_IMAGES = 8
FEW_CHANNELS = 64
"""With fewer channels, the readouts of a layer without positions are made of what it reads (`survey.vectors`)."""


def shards(job: Job, run: Run) -> list[Shard]:
    """Ranges of layers."""
    reader = open_reader(job)
    return split_by_weight("survey", [point.n_channels for point in reader.points], CHANNELS_PER_SHARD)


class Worker:
    """Holds the network and a sample of the images."""

    def __init__(self, job: Job, run: Run) -> None:
        if unknown := set(job.survey.plants) - set(KINDS):
            raise JobError(f"unknown kinds {sorted(unknown)} in `survey.plants`; allowed: {', '.join(KINDS)}")
        self.job = job
        self.reader = open_reader(job)
        self.images = open_images(job)
        check_worker(job, run, self.reader.network, self.images)
        self.directions = open_directions(job, self.reader)
        check_directions(run, self.directions)
        self.sampler = Sampler(job, self.images)

    def __call__(self, shard: Shard) -> dict[str, Columns]:
        """The tables `layers`, `readouts` and `sample` of one range of layers."""
        points = self.reader.points[shard.start : shard.stop]
        reader = Reader(self.reader.network, [point.layer for point in points])
        fields = self._fields(reader)
        spaces, samples = self._spaces(points)
        layers: list[Row] = []
        units: list[VirtualUnits] = []
        readouts: list[Row] = []
        for point, field in zip(points, fields, strict=True):
            space = spaces[point.layer]
            whitening, clarity = self._compared(point.layer, samples[self._view(point.layer, space)])
            layers.append({**layer_row(point), **space, "effective_field": field, "random_clarity": clarity})
            sample = samples[View(point.layer)]
            inputs = samples.get(View(inputs_name(point.layer)))
            own, labels, n = self.directions.get(point.layer), self.sampler.labels, len(self.images)
            units.append(VirtualUnits(self.job, point.layer, n, sample, inputs=inputs, labels=labels, own=own))
            readouts += whitening_rows(point.layer, whitening)
        self._plant(reader, units)
        readouts += [row for of_layer in units for row in of_layer.rows()]
        checksums = self.sampler.checksums
        return {
            "layers": _columns(list(self._with_virtual(layers, units))),
            "readouts": _columns(readouts),
            "sample": {"image": list(checksums), "checksum": list(checksums.values())},
        }

    def _compared(self, layer: str, sample: Sampled) -> tuple[Whitening, float]:
        """How the layer's features are compared, from a sample of them, and the clarity of random sets of them."""
        generator = np.random.default_rng(seed(self.job.seed, "random sets", layer))
        whitening = Whitening.of(sample.vectors, without=place_directions(sample.means))
        return whitening, random_clarity(whitening(sample.vectors), self.job.k, generator=generator)

    def _spaces(self, points: Sequence[ReadPoint]) -> tuple[dict[str, Row], dict[View, Sampled]]:
        """Where each layer's evidence is compared, and a sample of all maps that this takes."""
        spaces = {point.layer: self._space(point) for point in points}
        samples = self._sampled(spaces)
        # The features of a dead layer tell nothing apart: the layer before it is compared by its own.
        of_dead = {
            layer: {**space, "space": "own"}
            for layer, space in spaces.items()
            if space["space"] == "next" and not samples[self._view(layer, space)].varies
        }
        for layer, space in of_dead.items():
            log.warning(
                "%s: its evidence is compared by its own features, because all vectors of the next layer, %s, are "
                "equal on this sample",
                layer,
                space["next"],
            )
        return {**spaces, **of_dead}, {**samples, **(self._sampled(of_dead) if of_dead else {})}

    def _space(self, point: ReadPoint) -> Row:
        input_size = self.reader.network.preprocessing.size
        return compared(point, self.reader.points, wanted=self.job.survey.space, input_size=input_size)

    def _view(self, layer: str, space: Row) -> View:
        """The map whose features a layer's evidence is compared by, if it is compared by features."""
        source = str(space["next"]) if space["space"] == "next" else layer
        sizes = {point.layer: point.map_size for point in self.reader.points}
        return View(source, is_smooth=sizes[source] == sizes[layer] != (1, 1))

    def _sampled(self, spaces: Mapping[str, Row]) -> dict[View, Sampled]:
        """Samples of these layers' maps and of the maps whose features they are compared by."""
        views = [View(layer) for layer in spaces] + [self._view(layer, space) for layer, space in spaces.items()]
        views = list(dict.fromkeys(views))
        of_inputs = [layer for layer in spaces if self._reads_inputs(layer)]
        names = list(dict.fromkeys(view.layer for view in views))
        raw = {layer: {OF_INPUTS: Channels()} for layer in of_inputs}
        views += [View(inputs_name(layer)) for layer in of_inputs]
        return self.sampler.sampled(Reader(self.reader.network, names, None, raw), views)

    def _reads_inputs(self, layer: str) -> bool:
        """Whether the layer's readouts are made of what it reads."""
        point = next(point for point in self.reader.points if point.layer == layer)
        wanted = self.job.survey.vectors
        # A layer of few channels can't tell concepts apart that its units answer to in common.
        is_few = wanted != "auto" or point.n_channels < FEW_CHANNELS
        return is_few and reads_inputs(self.reader.inputs(layer), wanted)

    def _fields(self, reader: Reader) -> list[float]:
        ids = self.sampler.first(FIELD_IMAGES)
        first = next(iter(batches(reader.network, self.images, ids, FIELD_IMAGES)), None)
        points = range(len(reader.points))
        return [math.nan for _ in points] if first is None else effective_fields(reader, points, first.inputs)

    def _plant(self, reader: Reader, units: list[VirtualUnits]) -> None:
        """Makes planted units, after a second pass over the sample, which gives the peaks of what they are made of."""
        sources = {of_layer.layer: found for of_layer in units if (found := of_layer.sources())}
        if not sources or not self.job.survey.planted:
            return
        peaks = self.sampler.peaks(reader, sources)
        for of_layer in units:
            if of_layer.layer in sources:
                of_layer.plant(peaks)

    def _with_virtual(self, layers: list[Row], units: list[VirtualUnits]) -> Iterator[Row]:
        """Each layer's row, followed by those of its virtual layers."""
        for row, of_layer in zip(layers, units, strict=True):
            yield row
            sizes = of_layer.sizes()
            if self.job.survey.sign == "both":
                sizes["down"] = row["n_units"]
            for role, n in sizes.items():
                is_rectified = role == DIRECTION and of_layer.own is not None and of_layer.own.is_rectified
                yield virtual_row(row, role, n, is_rectified=is_rectified)


def _columns(rows: list[Row]) -> Columns:
    return {name: [row[name] for row in rows] for name in rows[0]}
