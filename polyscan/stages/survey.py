"""survey: which layers there are, how many units each has, where they are read and what they can see."""

from __future__ import annotations

import math
from typing import Any

from polyscan.job import Job
from polyscan.run import Run
from polyscan.run.inputs import open_reader
from polyscan.shards import Shard, split
from polyscan.tables import Columns
from polyscan.vision.fields import Axis
from polyscan.vision.readouts import ReadPoint


def shards(job: Job, run: Run) -> list[Shard]:
    """One: all layers come out of one trace of the network."""
    return split("survey", 1, 1)


class Worker:
    """Traces the network."""

    def __init__(self, job: Job, run: Run) -> None:
        self.reader = open_reader(job)

    def __call__(self, shard: Shard) -> dict[str, Columns]:
        """The table `layers`."""
        rows = [_row(point) for point in self.reader.points]
        return {"layers": {name: [row[name] for row in rows] for name in rows[0]}}


def _row(point: ReadPoint) -> dict[str, Any]:
    rows, columns = point.field or (None, None)
    return {
        "layer": point.layer,
        "depth": point.depth,
        "n_units": point.n_channels,
        "map_y": point.map_size[0],
        "map_x": point.map_size[1],
        "stride_y": rows.stride if rows else math.inf,
        "stride_x": columns.stride if columns else math.inf,
        "field_y": _size(rows),
        "field_x": _size(columns),
        "first_y": rows.low if rows else -math.inf,
        "first_x": columns.low if columns else -math.inf,
        "read_out": point.read_out,
        "relu_follows": point.relu_follows,
    }


def _size(axis: Axis | None) -> float:
    return axis.field if axis else math.inf
