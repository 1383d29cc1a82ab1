"""collect: one forward pass over a range of images; each unit's strongest ones, its moments, and what was refused."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import torch

from polyscan.images import Picture, Reject
from polyscan.job import Job
from polyscan.run import Run
from polyscan.run.inputs import open_images, open_reader
from polyscan.shards import Shard, split
from polyscan.tables import Columns
from polyscan.vision.peaks import LayerTally, PeakTally


def shards(job: Job, run: Run) -> list[Shard]:
    """Ranges of images."""
    return split("collect", len(open_images(job)), job.collect.images_per_shard)


class Worker:
    """Holds the network and the image source."""

    def __init__(self, job: Job, run: Run) -> None:
        self.job = job
        self.reader = open_reader(job)
        self.images = open_images(job)
        self.order = run.unit_order()

    def __call__(self, shard: Shard) -> dict[str, Columns]:
        """Candidates, moments, images and rejects of one range of images."""
        tallies = [
            PeakTally(point.n_channels, k=self.job.collect.k, layer=point.layer, device=self.reader.network.device)
            for point in self.reader.points
        ]
        pictures: list[Picture] = []
        rejects: list[Reject] = []
        for batch in self._batches(shard, rejects):
            self._add(batch, tallies)
            pictures += [_without_pixels(picture) for picture in batch]
        results = [tally.result() for tally in tallies]
        return {
            "images": _image_columns(pictures),
            "rejects": {name: [getattr(r, name) for r in rejects] for name in ("image", "path", "reason")},
            "candidates": self._candidates(results),
            "moments": self._moments(results),
        }

    def _batches(self, shard: Shard, rejects: list[Reject]) -> Iterator[list[Picture]]:
        def readable() -> Iterator[Picture]:
            for entry in self.images.read(range(shard.start, shard.stop)):
                if isinstance(entry, Picture):
                    yield entry
                else:
                    rejects.append(entry)

        pictures = readable()
        while batch := list(islice(pictures, self.job.collect.batch)):
            yield batch

    def _add(self, batch: list[Picture], tallies: list[PeakTally]) -> None:
        preprocessing = self.reader.network.preprocessing
        views = np.stack([preprocessing.view(picture.pixels) for picture in batch])
        # The last batch is padded: rounding may depend on a batch's shape, never on how many images were left.
        padded = np.zeros((self.job.collect.batch, *views.shape[1:]), dtype=np.uint8)
        padded[: len(views)] = views
        device = self.reader.network.device
        ids = torch.tensor([picture.image for picture in batch], device=device)
        self.reader.read(
            preprocessing.batch(padded, device), lambda index, maps: tallies[index].add(maps[: len(batch)], ids)
        )

    def _candidates(self, results: list[LayerTally]) -> Columns:
        kept = [result.activation.shape[1] for result in results]
        return {
            **self._units(kept),
            "image": _flat([result.image for result in results]),
            "activation": _flat([result.activation for result in results]),
            "y": _flat([result.y for result in results]),
            "x": _flat([result.x for result in results]),
        }

    def _moments(self, results: list[LayerTally]) -> Columns:
        names = ("n", "s1", "s2", "s3", "s4", "min", "max", "n_at_max", "n_nonpositive")
        columns = {name: np.concatenate([getattr(result.moments, name) for result in results]) for name in names}
        return {**self._units([1] * len(results)), **columns}

    def _units(self, rows_per_unit: list[int]) -> dict[str, Any]:
        """Unit number, layer and channel, repeated for the rows of each layer's units."""
        layers = self.order.layers
        repeats = [n for layer, n in zip(layers, rows_per_unit, strict=True) for _ in range(layer.n_units)]
        names = np.array([layer.name for layer in layers], dtype=object)
        return {
            "unit": np.repeat(np.arange(len(self.order), dtype=np.int32), repeats),
            "layer": np.repeat(np.repeat(names, [layer.n_units for layer in layers]), repeats),
            "channel": np.repeat(
                np.concatenate([np.arange(layer.n_units, dtype=np.int32) for layer in layers]), repeats
            ),
        }


def _without_pixels(picture: Picture) -> Picture:
    """The picture with its size alone (an array that takes no memory)."""
    return Picture(
        picture.image,
        picture.path,
        np.broadcast_to(np.uint8(0), picture.pixels.shape),
        picture.label,
        picture.label_name,
    )


def _image_columns(pictures: list[Picture]) -> Columns:
    return {
        "image": [picture.image for picture in pictures],
        "path": [picture.path for picture in pictures],
        "label": [picture.label for picture in pictures],
        "label_name": [picture.label_name for picture in pictures],
        "height": [picture.pixels.shape[0] for picture in pictures],
        "width": [picture.pixels.shape[1] for picture in pictures],
    }


def _flat(blocks: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([block.ravel() for block in blocks])
