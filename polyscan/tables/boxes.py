"""Receptive-field boxes of positions, from a layer's row of `layers`."""

from __future__ import annotations

import numpy as np
import pandas as pd
from jaxtyping import Float64, Int32


def boxes_of(rows: pd.DataFrame, layer: pd.Series, input_size: tuple[int, int]) -> Int32[np.ndarray, "n 4"]:
    """Receptive-field boxes (top, left, bottom, right) in the network's input, cut off at its edges."""

    def edges(axis: str, side: int) -> tuple[Float64[np.ndarray, " n"], Float64[np.ndarray, " n"]]:
        if not np.isfinite(layer[f"field_{axis}"]):
            return np.zeros(len(rows)), np.full(len(rows), float(side))
        first = rows[axis].to_numpy() * layer[f"stride_{axis}"] + layer[f"first_{axis}"]
        return first.clip(0, side), (first + layer[f"field_{axis}"]).clip(0, side)

    (top, bottom), (left, right) = edges("y", input_size[0]), edges("x", input_size[1])
    return np.stack([top, left, bottom, right], axis=1).astype(np.int32)
