"""Virtual units: readouts of a layer that go through the same scan as its channels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Int32, Int64

from polyscan.errors import TableError
from polyscan.job import Job
from polyscan.nulls.thinning import reads
from polyscan.run import Run
from polyscan.shards import seed
from polyscan.units import Unit, UnitOrder, parent_and_role
from polyscan.vision.readouts import Directions, Downward, Largest, Readout, ReadPoint

DOWN = "down"
"""The role of units that are their layer's channels with the sign reversed; they have no rows in `readouts`."""


OWN: str = "own"
OF_INPUTS: str = "inputs"
"""What a virtual unit is a readout of: its layer's own vectors, or what the layer reads."""


@dataclass(frozen=True)
class VirtualReadout:
    """The units of one virtual layer as a readout, and what it is a readout of: OWN or OF_INPUTS."""

    units: Readout
    of: str


def virtual_readouts(run: Run) -> dict[str, dict[str, VirtualReadout]]:
    """Every virtual layer of a surveyed run, by real layer, then by role, in the run's order."""
    virtual = [layer for layer in run.layers() if not layer.is_real]
    linear = [layer.name for layer in virtual if layer.role != DOWN]
    # One read for all layers: their rows share a row group, which is decoded as a whole.
    rows = run.read("readouts", ["layer", "channel", "part", "of", "weights", "bias"], where={"layer": linear})
    by_layer = dict(iter(rows.groupby("layer", sort=False)))
    readouts: dict[str, dict[str, VirtualReadout]] = {}
    for layer in virtual:
        if layer.role == DOWN:
            found = VirtualReadout(Downward(), OWN)
        else:
            of_layer = by_layer[layer.name]
            found = VirtualReadout(_readout(of_layer), str(of_layer["of"].iloc[0]))
        readouts.setdefault(layer.parent, {})[layer.role] = found
    return readouts


def readout_of(run: Run, unit: Unit) -> VirtualReadout:
    """One virtual unit as a readout.

    Raises:
        TableError: if the run has no readout for it.
    """
    if parent_and_role(unit.layer)[1] == DOWN:
        raise TableError(
            f"{unit} is a channel with its sign reversed, which has no readout of its own; name the channel"
        )
    where = {"layer": unit.layer, "channel": unit.channel}
    rows = run.read("readouts", ["layer", "channel", "part", "of", "weights", "bias"], where=where)
    if rows.empty:
        raise TableError(f"{run.address} has no unit {unit}; `polyscan units` lists the layers and their channels")
    return VirtualReadout(_readout(rows), str(rows["of"].iloc[0]))


def of_kind(readouts: Mapping[str, Mapping[str, VirtualReadout]], of: str) -> dict[str, dict[str, Readout]]:
    """The readouts of one kind, as `Reader` takes them."""
    return {
        layer: found
        for layer, by_role in readouts.items()
        if (found := {role: readout.units for role, readout in by_role.items() if readout.of == of})
    }


def reads_inputs(inputs: ReadPoint | None, wanted: str) -> bool:
    """Whether readouts of a layer are made in its inputs.

    Args:
        inputs: where the layer's inputs are read; None if it does not read them linearly at each position.
        wanted: `auto`, `own` or `inputs`, as in a job. `auto`: if the layer has no positions, so that what it reads
            describes the whole image.
    """
    if inputs is None or wanted == OWN:
        return False
    return wanted == OF_INPUTS or inputs.map_size == (1, 1)


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
