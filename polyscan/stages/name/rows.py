"""Rows of the tables `names` and `cluster_vectors`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32

from polyscan.tables import Columns
from polyscan.units import parent_and_role

NAMES = 5
"""Names of a cluster at most; one more if soft-WPMI prefers another word."""
ALL = -1
NONE = math.nan


class NameRow(NamedTuple):
    """A name of one cluster; see the table `names`."""

    channel: int
    evidence: str
    cluster: int
    n: int
    rank: int
    name: str
    kind: str
    similarity: float
    margin: float
    p: float
    contrast: float = NONE
    contrast_p: float = NONE
    wpmi: float = NONE
    wpmi_rank: int = -1


def columns_of(layer: str, space: str, rows: Sequence[NameRow]) -> Columns:
    """The table's columns."""
    columns = list(zip(*rows, strict=True)) or [()] * len(NameRow._fields)
    named = dict(zip(NameRow._fields, columns, strict=True))
    return {"layer": [layer] * len(rows), "space": [space] * len(rows), **named}


class VectorRow(NamedTuple):
    """The mean of one cluster's items; see the table `cluster_vectors`."""

    channel: int
    evidence: str
    cluster: int
    n: int
    share: float
    vector: Float32[np.ndarray, " d"]


def vector_columns(layer: str, model: str, rows: Sequence[VectorRow]) -> Columns:
    """The columns of `cluster_vectors`."""
    columns = list(zip(*rows, strict=True)) or [()] * len(VectorRow._fields)
    parent, role = parent_and_role(layer)
    about = {"layer": layer, "parent": parent, "role": role, "space": model}
    repeated = {name: [value] * len(rows) for name, value in about.items()}
    return {**repeated, **dict(zip(VectorRow._fields, columns, strict=True))}
