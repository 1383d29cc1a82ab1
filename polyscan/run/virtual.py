"""Virtual units: read-outs of a layer that are scanned like its channels, so that what a unit goes through, they do."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from jaxtyping import Int32

from polyscan.run.folder import Run
from polyscan.stats.whitening import Whitening
from polyscan.vision.readouts import Directions, Downward, Largest, ReadOut

SEEN = "@seen"  # in `readouts`: no units but how features are seen: their mean and axes


def read_outs(run: Run) -> dict[str, dict[str, ReadOut]]:
    """Every virtual layer of a surveyed run, as `Reader` takes them: by layer, then by name."""
    found: dict[str, dict[str, ReadOut]] = {}
    virtual = [layer for layer in run.layers() if layer.role]
    linear = [layer.name for layer in virtual if layer.role != "down"]
    # All in one reading: a layer's rows lie in one row group with all others', which is decoded as a whole.
    rows = run.read("readouts", ["layer", "channel", "part", "weights", "bias"], where=("layer", linear))
    of_layer = dict(iter(rows.groupby("layer", sort=False)))
    for layer in virtual:
        units = Downward() if layer.role == "down" else _of_rows(of_layer[layer.name])
        found.setdefault(layer.parent, {})[layer.role] = units
    return found


def _of_rows(rows: pd.DataFrame) -> ReadOut:
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


def layer_whitening(run: Run, layer: str) -> Whitening:
    """How the features are seen in which a layer's evidence is compared, by the survey's sample."""
    rows = run.read("readouts", ["channel", "weights"], where=("layer", f"{layer}{SEEN}"))
    mean, *axes = rows.sort_values("channel", kind="stable")["weights"]
    return Whitening(np.asarray(mean, dtype=np.float32), np.stack(axes, axis=1).astype(np.float32))
