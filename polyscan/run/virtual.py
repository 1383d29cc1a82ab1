"""Virtual units: read-outs of a layer that are scanned like its channels, so that what a unit goes through, they do."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float32, Int32

from polyscan.run.folder import Run
from polyscan.vision.readouts import Directions, Downward, Largest, ReadOut

MEAN = "@mean"  # in `readouts`: no units but the layer's mean activation vector


def read_outs(run: Run) -> dict[str, dict[str, ReadOut]]:
    """Every virtual layer of a surveyed run, as `Reader` takes them: by layer, then by name."""
    found: dict[str, dict[str, ReadOut]] = {}
    for layer in run.layers():
        if layer.role == "down":
            found.setdefault(layer.parent, {})[layer.role] = Downward()
        elif layer.role:
            found.setdefault(layer.parent, {})[layer.role] = _of_rows(run, layer.name)
    return found


def _of_rows(run: Run, layer: str) -> ReadOut:
    rows = run.read("readouts", ["channel", "part", "kind", "weights", "bias"], where=("layer", layer))
    rows = rows.sort_values(["channel", "part"], kind="stable")
    directions = Directions(
        torch.from_numpy(np.stack(cast("Any", rows["weights"].to_list()))),
        torch.from_numpy(rows["bias"].to_numpy(np.float32)),
    )
    per_unit = int(rows["part"].max()) + 1
    return Largest(directions, per_unit) if per_unit > 1 else directions


def reaches(run: Run, layer: str) -> Int32[np.ndarray, " u"]:
    """Each unit of a virtual layer reads a seeded 1/reach of the images."""
    rows = run.read("readouts", ["channel", "part", "reach"], where=("layer", layer))
    return rows[rows["part"] == 0].sort_values("channel", kind="stable")["reach"].to_numpy(np.int32)


def layer_mean(run: Run, layer: str) -> Float32[np.ndarray, " c"]:
    """Mean activation vector of a layer over the survey's positions."""
    rows = run.read("readouts", ["weights"], where=("layer", f"{layer}{MEAN}"))
    return np.asarray(rows["weights"].iloc[0], dtype=np.float32)
