"""Rows of the table `layers`: where a layer is read, what it sees, and the space in which its evidence is compared."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from polyscan.units import REAL, virtual_layer
from polyscan.vision.fields import Axis
from polyscan.vision.readouts import ReadPoint

Row = dict[str, Any]


def layer_row(point: ReadPoint) -> Row:
    """The row of a real layer, without its space."""
    rows, columns = point.field or (None, None)
    return {
        "layer": point.layer,
        "parent": point.layer,
        "role": REAL,
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
        "readout": point.readout,
        "relu_follows": point.relu_follows,
    }


def _size(axis: Axis | None) -> float:
    return axis.field if axis else math.inf


def virtual_row(row: Row, role: str, n_units: int, *, is_rectified: bool = False) -> Row:
    """The row of a layer's virtual layer; its units may be followed by a ReLU of their own."""
    virtual = {"layer": virtual_layer(row["layer"], role), "role": role, "n_units": n_units}
    return {**row, **virtual, "relu_follows": is_rectified, "readout": f"{role} of: {row['readout']}"}


def compared(point: ReadPoint, points: Sequence[ReadPoint], *, wanted: str, input_size: tuple[int, int]) -> Row:
    """The next stage, and the space in which a layer's evidence is compared.

    Args:
        point: the layer.
        points: all scanned layers.
        wanted: `survey.space` of the job.
        input_size: height and width of the network's input.
    """
    shape = (point.n_channels, point.map_size)
    deeper = (p for p in points[point.depth + 1 :] if has_space(p) and (p.n_channels, p.map_size) != shape)
    following = next((p.layer for p in deeper), "")
    space = wanted
    if wanted == "auto":
        space = "next" if following and has_space(point) else "own"
        if not has_space(point) or (space == "own" and covers(point, input_size)):
            space = "image"
    return {"next": following, "space": "own" if space == "next" and not following else space}


def has_space(point: ReadPoint) -> bool:
    """Whether its units have positions in the image."""
    return point.field is not None and point.map_size != (1, 1)


def covers(point: ReadPoint, input_size: tuple[int, int]) -> bool:
    """Whether the receptive field of every position holds the whole image."""
    if point.field is None:
        return True
    lasts = [axis.low + (size - 1) * axis.stride for axis, size in zip(point.field, point.map_size, strict=True)]
    return all(last <= 0 for last in lasts) and all(
        axis.high >= side - 1 for axis, side in zip(point.field, input_size, strict=True)
    )
