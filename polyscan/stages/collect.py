"""collect: one forward pass over a range of images; gives each unit's strongest images and moments, and bad images."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from polyscan.images import Picture, Reject
from polyscan.images.appearance import difference_hash, frame_share
from polyscan.inputs import batches, check_worker, open_images, open_network, reading
from polyscan.inputs.mains import UnitReader
from polyscan.job import Job
from polyscan.run import Run
from polyscan.shards import Shard, split
from polyscan.tables import TABLES, Columns
from polyscan.vision.checking import check_batch
from polyscan.vision.peaks import PeakTally, TallyResult
from polyscan.vision.readouts import Peaks

IMAGE_COLUMNS = tuple(column.name for column in TABLES["images"].columns)
REJECT_COLUMNS = ("image", "path", "reason", "checksum")


def shards(job: Job, run: Run) -> list[Shard]:
    """Ranges of images."""
    return split("collect", len(open_images(job)), job.collect.images_per_shard)


class Worker:
    """Holds the network with all its readouts, real and virtual, and the image source."""

    def __init__(self, job: Job, run: Run) -> None:
        self.job = job
        self.units = UnitReader(run, open_network(job), job.network.layers)
        self.reader = self.units.reader
        self.images = open_images(job)
        check_worker(job, run, self.reader.network, self.images)
        self.is_checked = False
        """Whether the first batch was compared with its images alone, at the size that is read at once."""
        self.order = run.unit_order()
        self.reads = reading(job, run, self.order)

    def __call__(self, shard: Shard) -> dict[str, Columns]:
        """Candidates, moments, images and rejects of one range of images."""
        images: list[dict[str, Any]] = []
        rejects: list[Reject] = []
        result = self._tallied(range(shard.start, shard.stop), images, rejects)
        return {
            "images": {name: [row[name] for row in images] for name in IMAGE_COLUMNS},
            "rejects": {name: [getattr(r, name) for r in rejects] for name in REJECT_COLUMNS},
            "candidates": self._candidates(result),
            "moments": self._moments(result),
        }

    def _tallied(self, ids: range, images: list[dict[str, Any]], rejects: list[Reject]) -> TallyResult:
        """Every unit's tally of these images; `images` and `rejects` receive what could and could not be read."""
        device = self.reader.network.device
        tally = PeakTally(len(self.order), k=self.job.k, name=self._name, device=device, reads=self.reads)
        for batch in batches(self.reader.network, self.images, ids, self.job.collect.batch, rejects):
            of_points = self.units.of_points(batch.inputs)
            if not self.is_checked:
                check_batch(self.reader, batch.inputs[: len(batch)], Peaks.joined(of_points))
                self.is_checked = True
            peaks = Peaks.joined([pair.units for pair in self.units.pairs(of_points).values()]).first(len(batch))
            finite = torch.isfinite(peaks.value).all(dim=1)
            if not bool(finite.all()):
                rejects += self._not_finite(batch.pictures, peaks)
                peaks = peaks.of_images(finite.nonzero().flatten())
            kept = [picture for picture, is_kept in zip(batch.pictures, finite.tolist(), strict=True) if is_kept]
            if kept:
                tally.add(peaks, torch.tensor([picture.image for picture in kept], device=device))
            images += map(_image_row, kept)
        rejects.sort(key=lambda reject: reject.image)
        return tally.result()

    def _not_finite(self, pictures: list[Picture], peaks: Peaks) -> Iterator[Reject]:
        """Rejects for the pictures for which a unit's peak is not a finite number; they name the first such layer."""
        for picture, value in zip(pictures, peaks.value, strict=True):
            bad = (~torch.isfinite(value)).nonzero().flatten()
            if len(bad):
                layer = self.order[int(bad[0])].layer
                reason = f"not finite: layer {layer} gives NaN or infinity for it"
                yield Reject(picture.image, picture.path, reason, picture.checksum)

    def _name(self, number: int) -> str:
        return str(self.order[number])

    def _candidates(self, result: TallyResult) -> Columns:
        columns = {
            **self._units(result.activation.shape[1]),
            "image": result.image.ravel(),
            "activation": result.activation.ravel(),
            "y": result.y.ravel(),
            "x": result.x.ravel(),
        }
        is_row = columns["activation"] > -np.inf  # a unit that reads few of the images may have fewer than k
        return {name: values[is_row] for name, values in columns.items()}

    def _moments(self, result: TallyResult) -> Columns:
        names = ("n", "s1", "s2", "s3", "s4", "min", "max", "n_at_max", "n_nonpositive")
        return {**self._units(1), **{name: getattr(result.moments, name) for name in names}}

    def _units(self, rows: int) -> dict[str, Any]:
        """Unit number, layer and channel, with `rows` rows for each unit."""
        layers = self.order.layers
        sizes = [layer.n_units for layer in layers]
        names = np.array([layer.name for layer in layers], dtype=object)
        return {
            "unit": np.repeat(np.arange(len(self.order), dtype=np.int32), rows),
            "layer": np.repeat(names, np.array(sizes) * rows),
            "channel": np.repeat(np.concatenate([np.arange(size, dtype=np.int32) for size in sizes]), rows),
        }


def _image_row(picture: Picture) -> dict[str, Any]:
    """The row of `images` of one picture."""
    return {
        **{name: getattr(picture, name) for name in ("image", "path", "label", "label_name", "checksum")},
        "height": picture.pixels.shape[0],
        "width": picture.pixels.shape[1],
        "hash": difference_hash(picture.pixels),
        "frame": frame_share(picture.pixels),
    }
