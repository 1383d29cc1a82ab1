"""survey: which layers there are and what they can see; of each, its mean activation and its virtual units.

The virtual units carry a layer's null and its proof: `@null` and `@control` are one-exemplar read-outs (what a unit
that answers to one thing looks like in this layer), `@planted` are maxima of two controls (units that answer to two).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor

from polyscan.errors import ModelError
from polyscan.job import Job
from polyscan.run import Run
from polyscan.run.batches import batches
from polyscan.run.inputs import open_images, open_reader
from polyscan.run.virtual import MEAN
from polyscan.shards import Shard, seed, split_by_weight
from polyscan.stats.coherence import random_clarity
from polyscan.stats.null_sets import widths
from polyscan.stats.read_outs import Activations, OneExemplar, one_exemplar, plantable_pairs
from polyscan.tables import Columns
from polyscan.vision.fields import Axis
from polyscan.vision.readouts import Directions, Reader, ReadPoint
from polyscan.vision.readouts.effective import effective_fields

log = logging.getLogger("polyscan")

CHANNELS_PER_SHARD = 8192  # so that the sampled vectors of one shard stay under a gigabyte
FIELD_IMAGES = 8
LEAST_TOP = 20  # images that stand for a planted unit on the sample

Row = dict[str, Any]
Peaks = Float32[np.ndarray, "images u"]


def shards(job: Job, run: Run) -> list[Shard]:
    """Ranges of layers."""
    reader = open_reader(job)
    return split_by_weight("survey", [point.n_channels for point in reader.points], CHANNELS_PER_SHARD)


class Worker:
    """Holds the network and the image source."""

    def __init__(self, job: Job, run: Run) -> None:
        self.job = job
        self.reader = open_reader(job)
        self.images = open_images(job)
        generator = np.random.default_rng(seed(job.seed, "survey's images"))
        count = min(job.survey.images, len(self.images))
        self.sample: list[int] = np.sort(generator.permutation(len(self.images))[:count]).tolist()

    def __call__(self, shard: Shard) -> dict[str, Columns]:
        """The tables `layers` and `readouts` of one range of layers."""
        points = self.reader.points[shard.start : shard.stop]
        reader = Reader(self.reader.network, [point.layer for point in points])
        vectors, rows = self._vectors(reader)
        layers: list[Row] = []
        readouts: list[Row] = []
        fields = self._fields(reader)
        makers = [_VirtualUnits(self.job, point.layer, len(self.images)) for point in points]
        for maker, sampled in zip(makers, vectors, strict=True):
            maker.make(sampled)
        self._plant(reader, makers)
        for point, maker, sampled, field in zip(points, makers, vectors, fields, strict=True):
            row = {**_row(point), "effective_field": field, **self._space(point)}
            generator = np.random.default_rng(seed(self.job.seed, "random sets", point.layer))
            row["random_clarity"] = random_clarity(sampled, self.job.collect.k, generator=generator)
            virtual = {**maker.sizes(), **({"down": point.n_channels} if self.job.survey.sign == "both" else {})}
            layers += [row, *(_virtual_row(row, name, n) for name, n in virtual.items())]
            places = rows[point.layer]
            readouts += [_mean_row(point.layer, sampled), *maker.rows(places)]
        return {"layers": _columns(layers), "readouts": _columns(readouts)}

    def _vectors(self, reader: Reader) -> tuple[list[Float32[np.ndarray, "p c"]], dict[str, Int64[np.ndarray, "p 2"]]]:
        """Activation vectors of each layer at seeded positions, and the (image, position) of each."""
        per_image = max(1, math.ceil(self.job.survey.positions / len(self.sample)))
        drawn = [self._positions(point, per_image) for point in reader.points]
        found: list[list[Tensor]] = [[] for _ in reader.points]
        seen: list[int] = []
        place = {image: row for row, image in enumerate(self.sample)}
        for batch in batches(reader.network, self.images, self.sample, self.job.collect.batch):
            rows = [place[picture.image] for picture in batch.pictures]
            seen += rows

            def gather(index: int, maps: Float[Tensor, "b c y x"], rows: list[int] = rows) -> None:
                where = torch.from_numpy(drawn[index][rows]).to(maps.device)  # [b, per]
                flat = maps[: len(rows)].flatten(2)
                taken = flat.gather(2, where[:, None, :].expand(-1, flat.shape[1], -1))
                found[index].append(taken.permute(0, 2, 1).flatten(0, 1).float().cpu())

            reader.read(batch.inputs, gather)
        vectors = [torch.cat(parts).numpy() if parts else np.empty((0, 0), np.float32) for parts in found]
        for point, sampled in zip(reader.points, vectors, strict=True):
            _check_finite(point.layer, sampled)
        images = np.array(self.sample, dtype=np.int64)[seen]
        places = {
            point.layer: np.stack([np.repeat(images, each.shape[1]), each[seen].ravel()], axis=1)
            for point, each in zip(reader.points, drawn, strict=True)
        }
        return vectors, places

    def _positions(self, point: ReadPoint, per_image: int) -> Int64[np.ndarray, "images per"]:
        """Seeded places in the map, row by row; each once an image."""
        n = point.map_size[0] * point.map_size[1]
        generator = np.random.default_rng(seed(self.job.seed, "survey's positions", point.layer))
        keys = generator.random((len(self.sample), n)) if n <= 4 * per_image else None
        if keys is not None:
            return np.argsort(keys, axis=1)[:, : min(per_image, n)]
        return generator.integers(n, size=(len(self.sample), per_image))

    def _fields(self, reader: Reader) -> list[float]:
        first = next(iter(batches(reader.network, self.images, self.sample[:FIELD_IMAGES], FIELD_IMAGES)), None)
        everywhere = range(len(reader.points))
        return [math.nan for _ in everywhere] if first is None else effective_fields(reader, everywhere, first.inputs)

    def _plant(self, reader: Reader, makers: list[_VirtualUnits]) -> None:
        """Pairs the controls by their peaks on the sample: a second pass, with the controls as read-outs."""
        if not self.job.survey.planted:
            return
        controls = {
            maker.layer: {"control": maker.control_read_out()} for maker in makers if maker.controls is not None
        }
        if not controls:
            return
        virtual = Reader(reader.network, [maker.layer for maker in makers], controls)
        index = {point.layer.partition("@")[0]: i for i, point in enumerate(virtual.points) if "@" in point.layer}
        peaks: dict[int, list[Peaks]] = {i: [] for i in index.values()}
        for batch in batches(reader.network, self.images, self.sample, self.job.collect.batch):
            n = len(batch)

            def keep(place: int, maps: Float[Tensor, "b u y x"], n: int = n) -> None:
                if place in peaks:
                    peaks[place].append(maps[:n].amax(dim=(2, 3)).float().cpu().numpy())

            virtual.read(batch.inputs, keep)
        for maker in makers:
            if maker.layer in index:
                maker.plant(np.concatenate(peaks[index[maker.layer]]))

    def _space(self, point: ReadPoint) -> dict[str, str]:
        """The next stage, and where the layer's evidence is compared."""
        deeper = self.reader.points[point.depth + 1 :]
        shape = (point.n_channels, point.map_size)
        following = next((p.layer for p in deeper if has_space(p) and (p.n_channels, p.map_size) != shape), "")
        wanted = self.job.survey.space
        if wanted == "auto":
            wanted = "next" if following and has_space(point) else "own"
            if not has_space(point) or (wanted == "own" and covers(point, self.reader.network.preprocessing.input_px)):
                wanted = "image"
        if wanted == "next" and not following:
            wanted = "own"
        return {"next": following, "space": wanted}


def has_space(point: ReadPoint) -> bool:
    """Whether its units are somewhere in the image."""
    return point.field is not None and point.map_size != (1, 1)


def covers(point: ReadPoint, input_px: int) -> bool:
    """Whether the field of every position holds the whole image."""
    if point.field is None:
        return True
    lasts = [axis.low + (size - 1) * axis.stride for axis, size in zip(point.field, point.map_size, strict=True)]
    return all(last <= 0 for last in lasts) and all(axis.high >= input_px - 1 for axis in point.field)


class _VirtualUnits:
    """The virtual units of one layer, made step by step."""

    def __init__(self, job: Job, layer: str, n_images: int) -> None:
        self.job = job
        self.layer = layer
        self.n = job.collect.k
        self.n_images = n_images
        self.reaches = widths(self.n, n_images) if job.survey.read_outs else (1,)
        self.nulls: OneExemplar | None = None
        self.controls: OneExemplar | None = None
        self.planted: list[Row] = []

    def make(self, vectors: Float32[np.ndarray, "p c"]) -> None:
        """Null read-outs and controls, from the layer's activation vectors."""
        if not self.job.survey.read_outs:
            return
        try:
            activations = Activations.of(vectors)
            self.nulls = self._read_outs(vectors, activations, "null", self.job.survey.read_outs)
            if self.job.survey.controls:
                self.controls = self._read_outs(vectors, activations, "control", self.job.survey.controls)
        except ValueError as error:
            log.warning("%s has no null: %s", self.layer, error)
            self.nulls = self.controls = None

    def _read_outs(
        self, vectors: Float32[np.ndarray, "p c"], activations: Activations, purpose: str, count: int
    ) -> OneExemplar:
        generator = np.random.default_rng(seed(self.job.seed, f"{purpose} read-outs", self.layer))
        return one_exemplar(vectors, activations.mean, activations.covariance, count=count, generator=generator)

    def control_read_out(self) -> Directions:
        """The controls as something to read."""
        assert self.controls is not None
        return Directions(torch.from_numpy(self.controls.weights), torch.from_numpy(self.controls.bias).float())

    def plant(self, peaks: Peaks) -> None:
        """Pairs of controls that rarely peak together, from the controls' peaks on the sample."""
        assert self.controls is not None
        generator = np.random.default_rng(seed(self.job.seed, "planted pairs", self.layer))
        # As many of the sample's images as the exemplars are of all images.
        top = max(LEAST_TOP, round(self.n * len(peaks) / self.n_images))
        pairs = plantable_pairs(peaks, count=self.job.survey.planted, generator=generator, top=min(top, len(peaks)))
        mean, sd = peaks.mean(axis=0), peaks.std(axis=0)
        for channel, pair in enumerate(zip(pairs.a, pairs.b, strict=True)):
            for part, source in enumerate(int(number) for number in pair):
                direction = {
                    "weights": self.controls.weights[source] / sd[source],
                    "bias": (float(self.controls.bias[source]) - float(mean[source])) / float(sd[source]),
                }
                self.planted.append(
                    _readout_row(f"{self.layer}@planted", channel, kind="max", part=part, source=source, **direction)
                )

    def sizes(self) -> dict[str, int]:
        """How many units of each role there are."""
        sizes = {
            "null": len(self.nulls.row) if self.nulls is not None else 0,
            "control": len(self.controls.row) if self.controls is not None else 0,
            "planted": len(self.planted) // 2,
        }
        return {name: n for name, n in sizes.items() if n}

    def rows(self, places: Int64[np.ndarray, "p 2"]) -> Iterator[Row]:
        """Rows of `readouts`."""
        for name, made in (("null", self.nulls), ("control", self.controls)):
            if made is None:
                continue
            for channel in range(len(made.row)):
                image, position = places[made.row[channel]]
                yield _readout_row(
                    f"{self.layer}@{name}",
                    channel,
                    weights=made.weights[channel],
                    bias=float(made.bias[channel]),
                    # Exemplars' kinds and ridges take turns with a period of 4; every reach goes with each of them.
                    reach=self.reaches[channel // 4 % len(self.reaches)] if name == "null" else 1,
                    image=int(image),
                    position=int(position),
                    ridge=float(made.ridge[channel]),
                    is_salient=bool(made.is_salient[channel]),
                )
        yield from self.planted


def _readout_row(layer: str, channel: int, **given: Any) -> Row:
    nothing = {"part": 0, "kind": "linear", "reach": 1, "image": -1, "position": -1, "ridge": math.nan}
    return {"layer": layer, "channel": channel, **nothing, "is_salient": False, "source": -1, **given}


def _mean_row(layer: str, vectors: Float32[np.ndarray, "p c"]) -> Row:
    return _readout_row(f"{layer}{MEAN}", 0, kind="mean", weights=vectors.mean(axis=0, dtype=np.float64), bias=0.0)


def _check_finite(layer: str, vectors: Float32[np.ndarray, "p c"]) -> None:
    bad = ~np.isfinite(vectors).all(axis=0)
    if bad.any():
        unit = f"{layer}:{int(np.argmax(bad))}"
        raise ModelError(f"unit {unit} gives values that are not finite; check the weights and the input")


def _columns(rows: list[Row]) -> Columns:
    return {name: [row[name] for row in rows] for name in rows[0]}


def _virtual_row(row: Row, name: str, n_units: int) -> Row:
    virtual = {"layer": f"{row['layer']}@{name}", "n_units": n_units, "relu_follows": False}
    return {**row, **virtual, "read_out": f"{name} of: {row['read_out']}"}


def _row(point: ReadPoint) -> Row:
    rows, columns = point.field or (None, None)
    return {
        "layer": point.layer,
        "parent": point.layer,
        "depth": point.depth,
        "n_units": point.n_channels,
        "map_y": point.map_size[0],
        "map_x": point.map_size[1],
        "stride_y": rows.stride if rows else math.inf,
        "stride_x": columns.stride if columns else math.inf,
        "field_y": _size(rows),
        "field_x": _size(columns),
        "first_y": rows.low if rows else -math.inf,
        "first_x": columns.low if columns else -math.inf,
        "read_out": point.read_out,
        "relu_follows": point.relu_follows,
    }


def _size(axis: Axis | None) -> float:
    return axis.field if axis else math.inf
