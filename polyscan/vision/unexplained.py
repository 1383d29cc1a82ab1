"""A running tally of the images of a range on which most of each unit is left unexplained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float32, Int64

from polyscan.vision.peaks import largest


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
        self.k = k
        self.width = 1
        self._left = np.empty((n_units, 0), dtype=np.float32)
        self._activation = np.empty((n_units, 0), dtype=np.float32)
        self._image = np.empty((n_units, 0), dtype=np.int64)
        self._place = np.empty((n_units, 0), dtype=np.int64)

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
        ids = np.broadcast_to(images[:, None], left.shape)
        columns = (self._left, self._activation, self._image, self._place)
        joined = [
            np.concatenate([old, new.T.astype(old.dtype, copy=False)], axis=1)
            for old, new in zip(columns, (left, activation, ids, place), strict=True)
        ]
        best = largest(torch.from_numpy(np.ascontiguousarray(joined[0])), self.k).numpy()
        self._left, self._activation, self._image, self._place = (
            np.take_along_axis(values, best, axis=1) for values in joined
        )

    def result(self) -> dict[str, Any]:
        """Columns of one row per unit and image: `unit` and those of COLUMNS."""
        unit, column = np.nonzero(self._left > -np.inf)
        place = self._place[unit, column]
        return {
            "unit": unit,
            "image": self._image[unit, column],
            "unexplained": self._left[unit, column],
            "activation": self._activation[unit, column],
            "y": (place // self.width).astype(np.int32),
            "x": (place % self.width).astype(np.int32),
        }
