"""Activation vectors of layers at seeded positions of a seeded sample of images, and peaks of readouts on it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, Int64
from torch import Tensor

from polyscan.errors import ImagesError
from polyscan.images import ImageSource, Reject
from polyscan.inputs.batches import batches
from polyscan.inputs.virtual import OF_INPUTS, OWN, VirtualReadout, of_kind
from polyscan.job import Job
from polyscan.shards import seed
from polyscan.units import virtual_layer
from polyscan.vision.readouts import Peaks, Reader, ReadPoint, smoothed

PeakValues = Float32[np.ndarray, "images u"]


@dataclass(frozen=True)
class View:
    """A layer's map as it is sampled: unchanged, or averaged over each position's 3 x 3 neighbourhood."""

    layer: str
    is_smooth: bool = False

    def of(self, maps: Float[Tensor, "b c y x"]) -> Float[Tensor, "b c y x"]:
        """The view's map, made from the layer's."""
        return smoothed(maps) if self.is_smooth else maps


ROUNDING = 1e-5
"""Differences up to this share of the largest number are those of single precision, where neighbours are averaged."""


@dataclass(frozen=True, eq=False)
class Sampled:
    """A view's sample: vectors, the (image, position) of each, and the mean vector of each position of the map."""

    vectors: Float32[np.ndarray, "p c"]
    places: Int64[np.ndarray, "p 2"]
    means: Float64[np.ndarray, "places c"]

    @property
    def varies(self) -> bool:
        """Whether the vectors differ by more than rounding."""
        largest = float(np.abs(self.vectors).max(initial=0.0))
        return bool((np.ptp(self.vectors, axis=0) > ROUNDING * largest).any())


def inputs_name(layer: str) -> str:
    """The name under which what a layer reads is sampled."""
    return virtual_layer(layer, OF_INPUTS)


class _Rows:
    """Collects at most `most` rows in one array, which is allocated when the first rows come.

    With one small array per batch, these would lie between the freed maps of a pass and keep their memory from being
    reused: 3.5 GB rather than 1.6 at 4,000 images of MobileNetV2's blocks.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._values: Float32[np.ndarray, "most c"] | None = None
        self.n = 0

    def add(self, rows: Float32[np.ndarray, "_ c"]) -> None:
        """Appends rows."""
        if self._values is None:
            self._values = np.empty((self.most, rows.shape[1]), dtype=np.float32)
        self._values[self.n : self.n + len(rows)] = rows
        self.n += len(rows)

    def result(self) -> Float32[np.ndarray, "n c"]:
        """All rows so far."""
        return np.empty((0, 0), dtype=np.float32) if self._values is None else self._values[: self.n]


class _SampleTally:
    """What has been sampled of one view so far."""

    def __init__(self, drawn: Int64[np.ndarray, "images per"]) -> None:
        self.drawn = drawn
        self.vectors = _Rows(drawn.size)
        self.total: Tensor | None = None
        self.n = 0
        self.bad: set[int] = set()
        """Rows of images whose maps are not finite."""

    def add(self, maps: Float[Tensor, "b c y x"], rows: list[int]) -> None:
        """Adds one batch, whose images are these rows of the sample."""
        flat = maps.flatten(2).float()
        finite = torch.isfinite(flat).all(dim=2).all(dim=1).tolist()
        self.bad |= {row for row, is_finite in zip(rows, finite, strict=True) if not is_finite}
        positions = torch.from_numpy(self.drawn[rows]).to(maps.device)  # [b, per]
        vectors = flat.gather(2, positions[:, None, :].expand(-1, flat.shape[1], -1))
        self.vectors.add(vectors.permute(0, 2, 1).flatten(0, 1).cpu().numpy())
        total = flat.double().sum(dim=0)
        self.total = total if self.total is None else self.total + total
        self.n += len(rows)

    def result(self, images: Int64[np.ndarray, " i"], seen: list[int]) -> Sampled:
        """The whole sample; `seen` are the rows of the images that could be read."""
        assert self.total is not None
        vectors = self.vectors.result()
        places = np.stack([np.repeat(images, self.drawn.shape[1]), self.drawn[seen].ravel()], axis=1)
        return Sampled(vectors, places, (self.total / self.n).T.cpu().numpy())


class Sampler:
    """The survey's sample of a job's images.

    Args:
        job: gives its seed and size.
        images: to draw from.
    """

    def __init__(self, job: Job, images: ImageSource) -> None:
        self.job = job
        self.images = images
        generator = np.random.default_rng(seed(job.seed, "survey's images"))
        count = min(job.survey.images, len(images))
        self.sample: list[int] = np.sort(generator.permutation(len(images))[:count]).tolist()
        self.labels: dict[int, int] = {}
        """Label of each image of the sample that has one."""
        self.checksums: dict[int, str] = {}
        """Checksum of each image of the sample that could be read, and of those that left it."""

    def sampled(self, reader: Reader, views: Sequence[View]) -> dict[View, Sampled]:
        """Each view's vectors at seeded positions, and its mean vector at every position.

        Images for which a map is not finite leave the sample; they are rejects of `collect`, too.

        Raises:
            ImagesError: if none of the images could be read; the message says why.
        """
        while True:
            images, seen, tallies = self._pass(reader, views)
            bad = {self.sample[row] for tally in tallies.values() for row in tally.bad}
            if not bad:
                return {view: tally.result(images, seen) for view, tally in tallies.items()}
            self.sample = [image for image in self.sample if image not in bad]

    def _pass(
        self, reader: Reader, views: Sequence[View]
    ) -> tuple[Int64[np.ndarray, " i"], list[int], dict[View, _SampleTally]]:
        """One pass over the sample: the images that could be read, their rows in the sample, and what was sampled."""
        per_image = max(1, math.ceil(self.job.survey.positions / max(1, len(self.sample))))
        points = {point.layer: (index, point) for index, point in enumerate(reader.points)}
        tallies = {view: _SampleTally(self._positions(points[view.layer][1], per_image)) for view in views}
        row = {image: number for number, image in enumerate(self.sample)}
        seen: list[int] = []
        rejects: list[Reject] = []
        for batch in batches(reader.network, self.images, self.sample, self.job.collect.batch, rejects):
            rows = [row[picture.image] for picture in batch.pictures]
            self.checksums |= {picture.image: picture.checksum for picture in batch.pictures}
            self.labels |= {picture.image: picture.label for picture in batch.pictures if picture.label is not None}
            seen += rows

            def gather(index: int, maps: Float[Tensor, "b c y x"], rows: list[int] = rows) -> None:
                for view, tally in tallies.items():
                    if points[view.layer][0] == index:
                        tally.add(view.of(maps[: len(rows)]), rows)

            reader.read(batch.inputs, gather)
        if not seen:
            first = f" ({rejects[0].path}: {rejects[0].reason})" if rejects else ""
            raise ImagesError(f"none of the survey's images could be read{first}; check `images.source`")
        return np.array(self.sample, dtype=np.int64)[seen], seen, tallies

    def _positions(self, point: ReadPoint, per_image: int) -> Int64[np.ndarray, "images per"]:
        """Seeded positions in the map for each image; without repetition if the map is small."""
        n = point.map_size[0] * point.map_size[1]
        generator = np.random.default_rng(seed(self.job.seed, "survey's positions", point.layer))
        if n <= 4 * per_image:
            return np.argsort(generator.random((len(self.sample), n)), axis=1)[:, : min(per_image, n)]
        return generator.integers(n, size=(len(self.sample), per_image))

    def peaks(self, reader: Reader, readouts: Mapping[str, Mapping[str, VirtualReadout]]) -> dict[str, PeakValues]:
        """Peaks over space of these readouts, by virtual layer, and of their layers' own channels, by layer."""
        virtual = Reader(reader.network, list(readouts), of_kind(readouts, OWN), of_kind(readouts, OF_INPUTS))
        values = [_Rows(len(self.sample)) for _ in virtual.points]
        for batch in batches(reader.network, self.images, self.sample, self.job.collect.batch):
            n = len(batch)

            def keep(index: int, peaks: Peaks, n: int = n) -> None:
                values[index].add(peaks.value[:n].cpu().numpy())

            virtual.read_peaks(batch.inputs, keep)
        return {point.layer: rows.result() for point, rows in zip(virtual.points, values, strict=True)}

    def first(self, count: int) -> Sequence[int]:
        """Ids of the sample's first images."""
        return self.sample[:count]
