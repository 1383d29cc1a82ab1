"""Whole numbers for units and clusters, by which rows of large tables are found without reading them all."""

from __future__ import annotations

import numpy as np
import pandas as pd
from jaxtyping import Int64

from polyscan.units import UnitOrder

CLUSTERS = 4096
"""More than a unit has clusters."""
SECOND = "deflated"


def unit_keys(order: UnitOrder, rows: pd.DataFrame) -> Int64[np.ndarray, " n"]:
    """The number of each row's unit in the run's order."""
    starts = {layer.name: start for layer, start in zip(order.layers, order.starts, strict=False)}
    return rows["layer"].map(starts).to_numpy(np.int64) + rows["channel"].to_numpy(np.int64)


def cluster_keys(units: Int64[np.ndarray, " n"], rows: pd.DataFrame) -> Int64[np.ndarray, " n"]:
    """Keys of clusters: units, of these the evidence, of this the cluster; -1, all exemplars, comes first."""
    is_second = (rows["evidence"] == SECOND).to_numpy(np.int64)
    return (units * 2 + is_second) * CLUSTERS + rows["cluster"].to_numpy(np.int64) + 1


class KeyedRows:
    """A table sorted by a key that may repeat.

    Args:
        rows: the table.
        keys: of its rows.
    """

    def __init__(self, rows: pd.DataFrame, keys: Int64[np.ndarray, " n"]) -> None:
        order = np.argsort(keys, kind="stable")
        self._rows, self._keys = rows.iloc[order].reset_index(drop=True), keys[order]

    def of(self, key: int) -> pd.DataFrame:
        """The rows with that key, in their order."""
        start, stop = np.searchsorted(self._keys, [key, key + 1])
        return self._rows.iloc[start:stop]
