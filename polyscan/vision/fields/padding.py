"""Fields after padding, with a constant or with values of the map itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import fx, nn

from polyscan.vision.fields.axes import Geometries, Geometry
from polyscan.vision.fields.graph import Walk, arguments

MODES: dict[type[nn.Module], str] = {
    nn.ZeroPad2d: "constant",
    nn.ConstantPad2d: "constant",
    nn.ReflectionPad2d: "reflect",
    nn.ReplicationPad2d: "replicate",
}
"""Padding modules and the modes of `F.pad` that do the same."""


def padded(
    field: Geometries, sizes: Sequence[int], *, rows: Sequence[int], columns: Sequence[int], mode: str
) -> Geometries | None:
    """The field after padding.

    Args:
        field: the field before.
        sizes: rows and columns before.
        rows: how many positions are added before the first row and after the last; negative: taken away.
        columns: the same for columns.
        mode: as for `F.pad`, or `zeros`.

    Returns:
        The field; None after circular padding, whose borders see both ends of the image, and if sizes are not known.
    """
    if len(sizes) != 2 or mode == "circular":
        return None
    edges = (rows, columns)
    new_rows, new_columns = (_padded(*axis, mode) for axis in zip(field, sizes, edges, strict=True))
    return new_rows, new_columns


def _padded(axis: Geometry, size: int, edges: Sequence[int], mode: str) -> Geometry:
    if mode in ("zeros", "constant") or not any(edges):
        return axis.window(1, 1, edges[0], 1, size + sum(edges))
    numbers = torch.arange(size, dtype=torch.float64).view(1, 1, size, 1)
    sources = F.pad(numbers, (0, 0, *edges), mode=mode).flatten().tolist()
    return axis.spans(size).gathered([[int(source)] for source in sources], 1)


def padded_by_module(node: fx.Node, field: Geometries, walk: Walk, module: Any) -> Geometries | None:
    """The field after a padding module."""
    edges = module.padding
    sizes = walk.shape(node.all_input_nodes[0])[2:]
    return padded(field, sizes, rows=edges[2:], columns=edges[:2], mode=MODES[type(module)])


def _padded_by_call(node: fx.Node, field: Geometries, walk: Walk) -> Geometries | None:
    """The field after `F.pad`; unknown if the graph computes the padding."""
    settings = arguments(node, "input", "pad", "mode")
    edges = cast("Sequence[Any]", settings["pad"])
    if not all(isinstance(edge, int) for edge in edges):
        return None
    sizes = walk.shape(settings["input"])[2:]
    rows = edges[2:4] if len(edges) > 2 else (0, 0)
    return padded(field, sizes, rows=rows, columns=edges[:2], mode=settings.get("mode", "constant"))


PADDINGS: dict[Any, Callable[[fx.Node, Geometries, Walk], Geometries | None]] = {"pad": _padded_by_call}
