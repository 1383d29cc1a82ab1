"""Fields after slicing, splitting, joining and reshaping."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, cast

from torch import fx

from polyscan.vision.fields.axes import Geometries, Geometry
from polyscan.vision.fields.graph import Walk, arguments, dims_of


def _indexed(node: fx.Node, field: Geometries, walk: Walk) -> Geometries | None:
    """The field of a view such as `x[:, :, ::2, ::2]`, or of one piece of a split map."""
    source, index = node.args
    shape = walk.shape(source)
    if isinstance(index, int):
        return None if shape else field
    if not isinstance(index, tuple) or len(shape) != 4 or len(index) > 4:
        return None
    parts = (*cast("tuple[Any, ...]", index), slice(None), slice(None), slice(None))[2:4]
    if not all(isinstance(part, slice) for part in index):
        return None
    sliced = [_sliced(*axis) for axis in zip(field, parts, shape[2:], strict=True)]
    return None if None in sliced else cast("Geometries", tuple(sliced))


def _sliced(axis: Geometry, part: slice, size: int) -> Geometry | None:
    """One axis after a slice; unknown if the graph computes a bound of the slice."""
    if not all(isinstance(bound, int | None) for bound in (part.start, part.stop, part.step)):
        return None
    kept = range(*part.indices(size))
    return axis.window(1, kept.step, -kept.start, 1, len(kept))


def _joined(node: fx.Node, field: Geometries, walk: Walk) -> Geometries | None:
    """The field after a concatenation; known only for one of channels."""
    dim = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else 0)
    return field if len(walk.shape(node)) == 4 and dim in (1, -3) else None


def _split(node: fx.Node, field: Geometries, walk: Walk) -> Geometries | None:
    dim = node.kwargs.get("dim", node.args[2] if len(node.args) > 2 else 0)
    return field if len(walk.shape(node.all_input_nodes[0])) == 4 and dim in (1, -3) else None


def _reshaped(node: fx.Node, field: Geometries, walk: Walk) -> Geometries | None:
    """The field after a reshape, which keeps positions if the last two axes keep their sizes."""
    input_shape, shape = walk.shape(node.args[0]), walk.shape(node)
    return field if len(shape) > 2 and input_shape[-2:] == shape[-2:] else None


def _permuted(node: fx.Node, field: Geometries, walk: Walk) -> Geometries | None:
    rank = len(walk.shape(node.args[0]))
    dims = dims_of(node, rank) if rank else ()
    if dims == (0, 2, 3, 1):
        walk.channels_last.add(node.name)
        return field
    return field if rank > 2 and dims[-2:] == (rank - 2, rank - 1) else None


def _transposed(node: fx.Node, field: Geometries, walk: Walk) -> Geometries | None:
    rank = len(walk.shape(node.args[0]))
    settings = arguments(node, "input", "dim0", "dim1")
    keeps_space = rank > 2 and all(cast("int", settings[dim]) % rank < rank - 2 for dim in ("dim0", "dim1"))
    return field if keeps_space else None


VIEWS: dict[Any, Callable[[fx.Node, Geometries, Walk], Geometries | None]] = {
    operator.getitem: _indexed,
    **dict.fromkeys(("cat", "concat"), _joined),
    **dict.fromkeys(("chunk", "split", "tensor_split"), _split),
    **dict.fromkeys(("view", "reshape", "flatten", "unflatten"), _reshaped),
    "permute": _permuted,
    "transpose": _transposed,
}
