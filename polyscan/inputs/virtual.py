"""Virtual units: readouts of a layer that go through the same scan as its channels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Int32, Int64

from polyscan.job import Job
from polyscan.nulls.thinning import reads
from polyscan.run import Run
from polyscan.shards import seed
from polyscan.units import UnitOrder
from polyscan.vision.readouts import Directions, Downward, Largest, Readout

DOWN = "down"
"""The role of units that are their layer's channels with the sign reversed; they have no rows in `readouts`."""


def virtual_readouts(run: Run) -> dict[str, dict[str, Readout]]:
    """Every virtual layer of a surveyed run, as `Reader` takes them: by layer, then by role."""
    virtual = [layer for layer in run.layers() if not layer.is_real]
    linear = [layer.name for layer in virtual if layer.role != DOWN]
    # One read for all layers: their rows share a row group, which is decoded as a whole.
    rows = run.read("readouts", ["layer", "channel", "part", "weights", "bias"], where={"layer": linear})
    by_layer = dict(iter(rows.groupby("layer", sort=False)))
    readouts: dict[str, dict[str, Readout]] = {}
    for layer in virtual:
        units = Downward() if layer.role == DOWN else _readout(by_layer[layer.name])
        readouts.setdefault(layer.parent, {})[layer.role] = units
    return readouts


def _readout(rows: pd.DataFrame) -> Readout:
    rows = rows.sort_values(["channel", "part"], kind="stable")
    directions = Directions(
        torch.from_numpy(np.stack(cast("Any", rows["weights"].to_list()))),
        torch.from_numpy(rows["bias"].to_numpy(np.float32)),
    )
    per_unit = int(rows["part"].max()) + 1
    return Largest(directions, per_unit) if per_unit > 1 else directions


def reaches(run: Run, layer: str) -> Int32[np.ndarray, " u"]:
    """The reach of each unit of a virtual layer: a unit reads a seeded 1/reach of the images."""
    rows = run.read("readouts", ["channel", "part", "reach"], where={"layer": layer})
    return rows[rows["part"] == 0].sort_values("channel", kind="stable")["reach"].to_numpy(np.int32)


def reading(job: Job, run: Run, order: UnitOrder) -> Callable[[Int64[np.ndarray, " b"]], Bool[np.ndarray, "u b"]]:
    """Which images of a batch each unit ranks: units of thinned layers only those they read, all other units all."""
    seeds, reach = np.zeros(len(order), dtype=np.int64), np.ones(len(order), dtype=np.int32)
    for layer in order.layers:
        if layer.role == "null":
            units = slice(order.start(layer.name), order.start(layer.name) + layer.n_units)
            seeds[units], reach[units] = seed(job.seed, "thinning", layer.name), reaches(run, layer.name)
    thinned = np.flatnonzero(reach > 1)
    channels = np.array([order[int(number)].channel for number in thinned], dtype=np.int64)

    def reading(images: Int64[np.ndarray, " b"]) -> Bool[np.ndarray, "u b"]:
        is_read = np.ones((len(order), len(images)), dtype=bool)
        is_read[thinned] = reads(seeds[thinned], channels, images, reach[thinned])
        return is_read

    return reading
