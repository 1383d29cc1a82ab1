"""recollect: a second pass over a range of images; gives those that a unit's main readout explains least."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Int64

from polyscan.inputs import CollectedImages, batches, check_worker, open_images, open_network
from polyscan.inputs.mains import UnitReader, deflated_layers
from polyscan.inputs.virtual import reading
from polyscan.job import Job
from polyscan.run import Run
from polyscan.shards import Shard, split
from polyscan.tables import Columns
from polyscan.vision.unexplained import UnexplainedTally


def shards(job: Job, run: Run) -> list[Shard]:
    """Ranges of images; none if there is no second test."""
    has_second = len(run.read("main_readouts", ["channel"])) > 0
    return split("recollect", len(open_images(job)), job.collect.images_per_shard) if has_second else []


class Worker:
    """Holds the network with the units of all deflated layers, and their main readouts."""

    def __init__(self, job: Job, run: Run) -> None:
        self.job = job
        self.run = run
        self.network = open_network(job)
        images = open_images(job)
        check_worker(job, run, self.network, images)
        self.images = CollectedImages(images, run)
        self.layers = deflated_layers(run)
        mains = [layer.mains for layer in self.layers]
        self.reader = UnitReader(run, self.network, [main.layer for main in mains], mains)
        self.order = run.unit_order()
        self.starts = [self.order.start(layer.mains.layer) for layer in self.layers]
        self.reads = reading(job, run, self.order)
        self.readable = run.read("images", ["image"])["image"].to_numpy()

    def __call__(self, shard: Shard) -> dict[str, Columns]:
        """The table `second_candidates` of one range of images."""
        ids = self.readable[(self.readable >= shard.start) & (self.readable < shard.stop)]
        is_first = self._first(range(shard.start, shard.stop))
        tallies = [UnexplainedTally(len(layer.floor), k=self.job.n_half) for layer in self.layers]
        for batch in batches(self.network, self.images, ids.tolist(), self.job.collect.batch):
            images = np.array([picture.image for picture in batch.pictures], dtype=np.int64)
            is_read = self.reads(images)
            pairs = self.reader.read(batch.inputs)
            for layer, start, tally in zip(self.layers, self.starts, tallies, strict=True):
                units, mains = pairs[layer.mains.layer]
                numbers = slice(start, start + len(layer.floor))
                value = units.value[: len(images)].cpu().numpy()
                left = value - layer.curves.expected(mains[: len(images)].cpu().numpy())
                is_searched = is_read[numbers].T & (value >= layer.floor) & ~is_first(numbers, images).T
                width = int(units.width) if isinstance(units.width, int) else int(units.width[0])
                place = units.place[: len(images)].cpu().numpy()
                tally.add(np.where(is_searched, left, -np.inf), value, images, place, width)
        return {"second_candidates": self._columns(tallies)}

    def _first(self, images: range) -> _FirstHalf:
        """Which units have which of these images in the first half of their evidence."""
        rows = self.run.read("exemplars", ["layer", "channel", "rank", "image"], where={"image": images})
        rows = rows[rows["rank"] < self.job.n_half]
        starts = rows["layer"].map({layer.name: self.order.start(layer.name) for layer in self.order.layers})
        units = starts.to_numpy(np.int64) + rows["channel"].to_numpy(np.int64)
        return _FirstHalf(images.start, len(images), len(self.order), units, rows["image"].to_numpy(np.int64))

    def _columns(self, tallies: list[UnexplainedTally]) -> Columns:
        numbers, kept = [], []
        for start, tally in zip(self.starts, tallies, strict=True):
            rows = tally.result()
            numbers.append(rows.pop("unit") + start)
            kept.append(rows)
        unit = np.concatenate([np.empty(0, dtype=np.int64), *numbers])
        # Millions of rows: their layers are looked up all at once.
        starts = np.array(self.order.starts[:-1])
        place = np.searchsorted(starts, unit, side="right") - 1
        names = np.array([layer.name for layer in self.order.layers], dtype=object)
        return {
            "unit": unit.astype(np.int32),
            "layer": names[place],
            "channel": (unit - starts[place]).astype(np.int32),
            **{
                name: np.concatenate([np.empty(0, dtype=dtype), *(rows[name] for rows in kept)])
                for name, dtype in UnexplainedTally.COLUMNS.items()
            },
        }


class _FirstHalf:
    """For each unit the images of a range that are in the first half of its evidence."""

    def __init__(
        self, first: int, n_images: int, n_units: int, unit: Int64[np.ndarray, " n"], image: Int64[np.ndarray, " n"]
    ) -> None:
        self.first = first
        self.is_in = np.zeros((n_units, n_images), dtype=bool)
        self.is_in[unit, image - first] = True

    def __call__(self, units: slice, images: Int64[np.ndarray, " b"]) -> Bool[np.ndarray, "u b"]:
        return self.is_in[units][:, images - self.first]
