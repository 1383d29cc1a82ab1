"""What the swaps of one layer need: its reader, its patches, and pictures that other patches come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float32, Int64

from polyscan.inputs.virtual import OF_INPUTS, OWN, of_kind, virtual_readouts
from polyscan.job import Job
from polyscan.run import Run
from polyscan.units import Layer
from polyscan.vision.networks import Network
from polyscan.vision.readouts import Reader
from polyscan.vision.swapping import LayerAxis, PatchGrid, PlaceReader

EXEMPLAR = ["channel", "image", "y", "x"]


@dataclass(frozen=True, eq=False)
class LayerSetup:
    """One layer, real or virtual, ready for swaps.

    Args:
        layer: the layer.
        read: reads its units at places.
        grid: windows of patches.
        exemplars: exemplars of the real layer's live units: `channel`, `image`, `y`, `x`.
        sd: standard deviation of each unit's peaks.
    """

    layer: Layer
    read: PlaceReader
    grid: PatchGrid
    exemplars: pd.DataFrame
    sd: Mapping[int, float]

    @classmethod
    def of(cls, job: Job, run: Run, network: Network, layer: Layer) -> LayerSetup:
        """The setup of a layer."""
        units = run.read("units", ["layer", "channel", "sd", "is_dead"], where={"layer": [layer.name, layer.parent]})
        own, real = (units[units["layer"] == name] for name in (layer.name, layer.parent))
        exemplars = run.unit_rows("exemplars", layer.parent, EXEMPLAR)
        exemplars = exemplars[exemplars["channel"].isin(real["channel"][~real["is_dead"]])].reset_index(drop=True)
        sd = dict(zip(own["channel"].tolist(), own["sd"].tolist(), strict=True))
        return cls(layer, _reader(job, run, network, layer), _grid(run, layer), exemplars, sd)

    def other_patches(
        self, channel: int, used: Int64[np.ndarray, " m"], n: int, generator: np.random.Generator
    ) -> pd.DataFrame:
        """Exemplars of n other units, one of each while there are enough, none of them an image that the unit uses."""
        rows = self.exemplars[~self.exemplars["image"].isin(used)]
        if self.layer.is_real:
            rows = rows[rows["channel"] != channel]
        rows = rows.iloc[generator.permutation(len(rows))]
        is_repeated = rows["channel"].duplicated().to_numpy()
        rows = pd.concat([rows[~is_repeated], rows[is_repeated]])
        return rows.iloc[np.arange(n) % len(rows)] if len(rows) else rows

    def peaks(self, pictures: np.ndarray, channels: list[int]) -> Float32[np.ndarray, "n u"]:
        """Peaks of some units over the whole map."""
        size = self.read.batch
        parts = [self.read.maps(pictures[start : start + size], channels) for start in range(0, len(pictures), size)]
        return np.concatenate([maps.amax(dim=(2, 3)).cpu().numpy() for maps in parts])


def _reader(job: Job, run: Run, network: Network, layer: Layer) -> PlaceReader:
    """The reader of a layer's units; of a virtual layer, through the real one or what it reads."""
    virtual = {} if layer.is_real else {layer.parent: {layer.role: virtual_readouts(run)[layer.parent][layer.role]}}
    reader = Reader(network, layer.parent, of_kind(virtual, OWN), of_kind(virtual, OF_INPUTS))
    point = next(point for point in reader.points if point.layer == layer.name)
    return PlaceReader(reader, point, job.collect.batch)


def _grid(run: Run, layer: Layer) -> PatchGrid:
    rows = run.layer_table()
    about = rows[rows["layer"] == layer.name].to_dict("records")[0]
    (height, width), effective = run.input_size, float(about["effective_field"])
    return PatchGrid(_axis(about, "y", height, effective), _axis(about, "x", width, effective))


def _axis(about: Mapping[Any, Any], axis: str, side: int, effective: float) -> LayerAxis:
    stride, first, field = (float(about[f"{name}_{axis}"]) for name in ("stride", "first", "field"))
    return LayerAxis(side, int(about[f"map_{axis}"]), stride, first, field, effective)
