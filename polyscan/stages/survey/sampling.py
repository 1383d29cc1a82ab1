"""Activation vectors of layers at seeded places of a seeded sample of images, and peaks of read-outs on it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor

from polyscan.errors import ModelError
from polyscan.images import ImageSource
from polyscan.job import Job
from polyscan.run.batches import batches
from polyscan.shards import seed
from polyscan.vision.readouts import Reader, ReadOut, ReadPoint

Peaks = Float32[np.ndarray, "images u"]


class Sampler:
    """The survey's sample of a job's images.

    Args:
        job: seeds it, and says how large it is.
        images: where it is drawn from.
    """

    def __init__(self, job: Job, images: ImageSource) -> None:
        self.job = job
        self.images = images
        generator = np.random.default_rng(seed(job.seed, "survey's images"))
        count = min(job.survey.images, len(images))
        self.sample: list[int] = np.sort(generator.permutation(len(images))[:count]).tolist()

    def vectors(self, reader: Reader) -> list[tuple[Float32[np.ndarray, "p c"], Int64[np.ndarray, "p 2"]]]:
        """For each read point, activation vectors at seeded positions, and the (image, position) of each.

        Raises:
            ModelError: if one is not finite.
        """
        per_image = max(1, math.ceil(self.job.survey.positions / len(self.sample)))
        drawn = [self._positions(point, per_image) for point in reader.points]
        found: list[list[Tensor]] = [[] for _ in reader.points]
        row = {image: number for number, image in enumerate(self.sample)}
        seen: list[int] = []
        for batch in batches(reader.network, self.images, self.sample, self.job.collect.batch):
            rows = [row[picture.image] for picture in batch.pictures]
            seen += rows

            def gather(index: int, maps: Float[Tensor, "b c y x"], rows: list[int] = rows) -> None:
                where = torch.from_numpy(drawn[index][rows]).to(maps.device)  # [b, per]
                flat = maps[: len(rows)].flatten(2)
                taken = flat.gather(2, where[:, None, :].expand(-1, flat.shape[1], -1))
                found[index].append(taken.permute(0, 2, 1).flatten(0, 1).float().cpu())

            reader.read(batch.inputs, gather)
        images = np.array(self.sample, dtype=np.int64)[seen]
        sampled: list[tuple[Float32[np.ndarray, "p c"], Int64[np.ndarray, "p 2"]]] = []
        for point, parts, places in zip(reader.points, found, drawn, strict=True):
            vectors = torch.cat(parts).numpy() if parts else np.empty((0, point.n_channels), np.float32)
            _check_finite(point.layer, vectors)
            origin = np.stack([np.repeat(images, places.shape[1]), places[seen].ravel()], axis=1)
            sampled.append((vectors, origin))
        return sampled

    def _positions(self, point: ReadPoint, per_image: int) -> Int64[np.ndarray, "images per"]:
        """Seeded places in the map, row by row; each once an image where the map is small."""
        n = point.map_size[0] * point.map_size[1]
        generator = np.random.default_rng(seed(self.job.seed, "survey's positions", point.layer))
        if n <= 4 * per_image:
            return np.argsort(generator.random((len(self.sample), n)), axis=1)[:, : min(per_image, n)]
        return generator.integers(n, size=(len(self.sample), per_image))

    def peaks(self, reader: Reader, read_outs: Mapping[str, Mapping[str, ReadOut]]) -> dict[str, Peaks]:
        """Peaks over space of these read-outs, by `layer@name`, and of their layers' own channels, by layer."""
        virtual = Reader(reader.network, list(read_outs), read_outs)
        found: list[list[Peaks]] = [[] for _ in virtual.points]
        for batch in batches(reader.network, self.images, self.sample, self.job.collect.batch):
            n = len(batch)

            def keep(index: int, maps: Float[Tensor, "b u y x"], n: int = n) -> None:
                found[index].append(maps[:n].amax(dim=(2, 3)).float().cpu().numpy())

            virtual.read(batch.inputs, keep)
        return {point.layer: np.concatenate(parts) for point, parts in zip(virtual.points, found, strict=True)}

    def first(self, count: int) -> Sequence[int]:
        """Ids of the sample's first images."""
        return self.sample[:count]


def _check_finite(layer: str, vectors: Float32[np.ndarray, "p c"]) -> None:
    bad = ~np.isfinite(vectors).all(axis=0)
    if bad.any():
        unit = f"{layer}:{int(np.argmax(bad))}"
        raise ModelError(f"unit {unit} gives values that are not finite; check the weights and the input")
