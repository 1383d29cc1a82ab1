"""collect: one forward pass over a range of images; each unit's strongest ones, its moments, and what was refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Int32, Int64
from torch import Tensor

from polyscan.images import Picture, Reject
from polyscan.job import Job
from polyscan.run import Run
from polyscan.run.batches import batches
from polyscan.run.inputs import open_images, open_reader
from polyscan.run.virtual import reaches
from polyscan.shards import Shard, seed, split
from polyscan.stats.thinning import reads
from polyscan.tables import Columns
from polyscan.vision.peaks import LayerTally, PeakTally
from polyscan.vision.readouts import Peaks


def shards(job: Job, run: Run) -> list[Shard]:
    """Ranges of images."""
    return split("collect", len(open_images(job)), job.collect.images_per_shard)


class Worker:
    """Holds the network with all read-outs, virtual ones among them, and the image source."""

    def __init__(self, job: Job, run: Run) -> None:
        self.job = job
        self.reader = open_reader(job, run=run)
        self.images = open_images(job)
        self.order = run.unit_order()
        self.reads = {
            layer.name: _reading(job, layer.name, reaches(run, layer.name))
            for layer in self.order.layers
            if layer.role == "null"
        }

    def __call__(self, shard: Shard) -> dict[str, Columns]:
        """Candidates, moments, images and rejects of one range of images."""
        device = self.reader.network.device
        tallies = [
            PeakTally(
                point.n_channels,
                k=self.job.collect.k,
                layer=point.layer,
                device=device,
                reads=self.reads.get(point.layer),
            )
            for point in self.reader.points
        ]
        pictures: list[Picture] = []
        rejects: list[Reject] = []
        wanted = range(shard.start, shard.stop)
        for batch in batches(self.reader.network, self.images, wanted, self.job.collect.batch, rejects):
            ids = torch.tensor([picture.image for picture in batch.pictures], device=device)

            def count(index: int, peaks: Peaks, ids: Tensor = ids) -> None:
                tallies[index].add(peaks.first(len(ids)), ids)

            self.reader.read_peaks(batch.inputs, count)
            pictures += [_without_pixels(picture) for picture in batch.pictures]
        results = [tally.result() for tally in tallies]
        return {
            "images": _image_columns(pictures),
            "rejects": {name: [getattr(r, name) for r in rejects] for name in ("image", "path", "reason")},
            "candidates": self._candidates(results),
            "moments": self._moments(results),
        }

    def _candidates(self, results: list[LayerTally]) -> Columns:
        kept = [result.activation.shape[1] for result in results]
        columns = {
            **self._units(kept),
            "image": _flat([result.image for result in results]),
            "activation": _flat([result.activation for result in results]),
            "y": _flat([result.y for result in results]),
            "x": _flat([result.x for result in results]),
        }
        is_row = columns["activation"] > -np.inf  # a unit that reads few of the images may have fewer than k
        return {name: values[is_row] for name, values in columns.items()}

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


def _reading(
    job: Job, layer: str, reach: Int32[np.ndarray, " u"]
) -> Callable[[Int64[np.ndarray, " b"]], Bool[np.ndarray, "u b"]]:
    """Which of a batch's images each unit of a thinned layer reads."""
    key, units = seed(job.seed, "thinning", layer), np.arange(len(reach))
    return lambda images: reads(key, units, images, reach)


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
