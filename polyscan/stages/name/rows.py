"""Rows of the table `names`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from polyscan.tables import Columns

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
