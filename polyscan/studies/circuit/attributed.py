"""A run's units attributed to lower layers, on their own exemplars."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float32, Int64

from polyscan.errors import ImagesError, JobError, ModelError, suggestion
from polyscan.inputs import batches, check_worker, open_images, open_network, pinned_threads
from polyscan.inputs.virtual import OF_INPUTS, OWN, of_kind, virtual_readouts
from polyscan.results import Results
from polyscan.run import Run
from polyscan.units import REAL, Layer, Unit, parent_and_role
from polyscan.vision.attribution import Attributions, Attributor, How
from polyscan.vision.readouts import Reader

LEAST = 2
"""Exemplars that a unit needs: one has no intervals and no clusters."""
BATCH = 16


@dataclass(frozen=True, eq=False)
class Attributed:
    """A unit's exemplars with their attribution to a lower layer, strongest first.

    Args:
        unit: the unit.
        lower: the lower layer.
        rank: of each exemplar, as in the table `exemplars`.
        image: of each.
        value: the unit's value at its peak.
        relevance: of each channel of the lower layer, summed over space.
        beside: relevance that passes the lower layer by.
        biases: relevance that biases on the way take.
        error: what is missing to the value.
    """

    unit: Unit
    lower: str
    rank: Int64[np.ndarray, " n"]
    image: Int64[np.ndarray, " n"]
    value: Float32[np.ndarray, " n"]
    relevance: Float32[np.ndarray, "n c"]
    beside: Float32[np.ndarray, " n"]
    biases: Float32[np.ndarray, " n"]
    error: Float32[np.ndarray, " n"]


class Attributing:
    """A run opened for attribution of units of one layer.

    Args:
        results: a scanned run.
        layer: the units' layer, real or virtual.

    Raises:
        JobError: if the run has no such layer, or its images have changed.
        ModelError: if the network is another than the run's.
    """

    def __init__(self, results: Results, layer: str) -> None:
        self.run: Run = results.run
        self.job = results.job
        self.layer = layer_named(self.run, layer)
        self.network = open_network(self.job)
        self.images = open_images(self.job)
        check_worker(self.job, self.run, self.network, self.images)
        parent, role = parent_and_role(layer)
        virtual = {} if role == REAL else {parent: {role: virtual_readouts(self.run)[parent][role]}}
        self._readouts = of_kind(virtual, OWN), of_kind(virtual, OF_INPUTS)

    def reader(self, lower: Sequence[str]) -> Reader:
        """Reads the units' layer and the lower ones.

        Raises:
            ModelError: if the network has no such layer.
        """
        return Reader(self.network, [parent_and_role(self.layer.name)[0], *lower], *self._readouts)

    def layer_below(self) -> str:
        """The deepest layer of the run that is below the units' layer.

        Raises:
            JobError: if there is none.
        """
        depth = self.layer.depth
        names = [layer.name for layer in self.run.layers() if layer.is_real and layer.depth < depth]
        for name in reversed(names):
            try:
                self.attributor(name, "gradient")
            except ModelError:
                continue
            return name
        raise JobError(
            f"{self.run.address} has no layer below {self.layer.name}; name one of the network with --lower: "
            "`polyscan units` lists them"
        )

    def attributor(self, lower: str, how: How) -> Attributor:
        """Attributes the layer's units to a lower layer."""
        return Attributor(self.reader([lower]), self.layer.name, lower, how=how)

    def exemplars(self, channels: Sequence[int], most: int) -> pd.DataFrame:
        """The strongest exemplars of some channels, `most` of each, by channel and rank.

        Raises:
            JobError: if a channel is not in the layer, or has fewer than two exemplars.
        """
        for channel in channels:
            if not 0 <= channel < self.layer.n_units:
                raise JobError(f"{self.layer.name} has units 0 to {self.layer.n_units - 1}, got {channel}")
        where = {"layer": self.layer.name, "channel": list(channels)}
        rows = self.run.read("exemplars", ["channel", "rank", "image", "y", "x"], where=where)
        rows = rows[rows["rank"] < most].sort_values(["channel", "rank"], kind="stable").reset_index(drop=True)
        counts = rows["channel"].value_counts()
        for channel in channels:
            if counts.get(channel, 0) < LEAST:
                raise JobError(
                    f"{self.layer.name}:{channel} has {counts.get(channel, 0)} exemplars; {LEAST} or more are needed "
                    "to say what drives it on which. A dead unit has none; scan with a larger collect.k for others"
                )
        return rows

    def attributed(self, attributor: Attributor, rows: pd.DataFrame) -> Iterator[Attributed]:
        """Each unit of these rows, in the rows' order; exemplars of all units share batches.

        Raises:
            ImagesError: if an image can't be read any more.
        """
        found = self._of_rows(attributor, rows)
        for channel, of_unit in rows.groupby("channel", sort=False):
            place = of_unit.index.to_numpy()
            numbers = (each[place] for each in found)
            ids = (of_unit[name].to_numpy(np.int64) for name in ("rank", "image"))
            yield Attributed(Unit(self.layer.name, int(str(channel))), attributor.lower.layer, *ids, *numbers)

    def _of_rows(self, attributor: Attributor, rows: pd.DataFrame) -> list[np.ndarray]:
        """The numbers of `Attributions` for each row."""
        by_image = rows.sort_values("image", kind="stable")
        chunks = [by_image.iloc[start : start + BATCH] for start in range(0, len(by_image), BATCH)]
        with pinned_threads(self.job):
            joined = Attributions.joined([attributor(*self._batch(chunk)) for chunk in chunks])
        order = np.argsort(by_image.index.to_numpy(), kind="stable")
        names = ("value", "relevance", "beside", "biases", "error")
        return [getattr(joined, name).cpu().numpy()[order] for name in names]

    def _batch(self, rows: pd.DataFrame) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Inputs, units and places of a few rows; an image may occur more than once."""
        ids = sorted(set(rows["image"].tolist()))
        (batch,) = batches(self.network, self.images, ids, len(ids))
        place = {picture.image: number for number, picture in enumerate(batch.pictures)}
        if missing := [image for image in ids if image not in place]:
            raise ImagesError(f"image {missing[0]} of {self.job.images.source} can't be read any more; restore it")
        inputs = batch.inputs[[place[image] for image in rows["image"].tolist()]]
        columns = (torch.from_numpy(rows[name].to_numpy(np.int64)) for name in ("channel", "y", "x"))
        units, y, x = (column.to(inputs.device) for column in columns)
        return inputs, units, torch.stack([y, x], dim=1)


def layer_named(run: Run, name: str) -> Layer:
    """The layer of that name.

    Raises:
        JobError: if the run has none.
    """
    layers = {layer.name: layer for layer in run.layers()}
    if name not in layers:
        real = [layer.name for layer in layers.values() if layer.is_real]
        raise JobError(f'{run.address} has no layer "{name}"; {suggestion(name, real)}')
    return layers[name]
