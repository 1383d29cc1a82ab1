"""A running tally of the images of a range on which most of each unit is left unexplained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float32, Int64

from polyscan.vision.peaks import Strongest


class UnexplainedTally:
    """The images of each unit with the largest value left, strongest first; ties go to the smaller image id.

    Args:
        n_units: number of units.
        k: number of images kept per unit.
    """

    COLUMNS: ClassVar[Mapping[str, Any]] = {
        "image": np.int64,
        "unexplained": np.float32,
        "activation": np.float32,
        "y": np.int32,
        "x": np.int32,
    }

    def __init__(self, n_units: int, *, k: int) -> None:
        self.width = 1
        self._strongest = Strongest(n_units, k, torch.device("cpu"), (torch.int64, torch.float32))

    def add(
        self,
        left: Float32[np.ndarray, "b u"],
        activation: Float32[np.ndarray, "b u"],
        images: Int64[np.ndarray, " b"],
        place: Int64[np.ndarray, "b u"],
        width: int,
    ) -> None:
        """Counts a batch, whose image ids must be larger than all earlier ones.

        Args:
            left: what is left of each unit; -inf for an image that is not searched.
            activation: each unit's peak.
            images: ids.
            place: position of the peak, counted row by row.
            width: width of the map.
        """
        self.width = width
        columns = (left.astype(np.float32, copy=False), images, place, activation)
        self._strongest.add(*map(torch.from_numpy, columns))

    def result(self) -> dict[str, Any]:
        """Columns of one row per unit and image: `unit` and those of COLUMNS."""
        left, images, places, activations = self._strongest.result()
        unit, column = np.nonzero(left > -np.inf)
        place = places[unit, column]
        return {
            "unit": unit,
            "image": images[unit, column],
            "unexplained": left[unit, column],
            "activation": activations[unit, column],
            "y": (place // self.width).astype(np.int32),
            "x": (place % self.width).astype(np.int32),
        }
