"""What padding, slicing, splitting, joining and reshaping do to a field."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any, cast

from torch import fx

from polyscan.vision.fields.axes import Axes, Axis, Field, Walk, dims_of


def _padded(node: fx.Node, before: Axes, _: Walk) -> Field:
    """Behind `F.pad`; what is padded with the map's own values is left unknown."""
    given = dict(zip(("input", "pad", "mode"), node.args, strict=False)) | node.kwargs
    pad = cast("Sequence[Any]", given["pad"])
    if given.get("mode", "constant") != "constant" or not all(isinstance(edge, int) for edge in pad):
        return None
    return before[0].moved(-pad[2] if len(pad) > 2 else 0), before[1].moved(-pad[0])


def _indexed(node: fx.Node, before: Axes, walk: Walk) -> Field:
    """A view such as `x[:, :, ::2, ::2]`, or one piece of a split map."""
    source, index = node.args
    shape = walk.shape(source)
    if isinstance(index, int):
        return None if shape else before
    if not isinstance(index, tuple) or len(shape) != 4 or len(index) > 4:
        return None
    parts = (*cast("tuple[Any, ...]", index), slice(None), slice(None), slice(None))[2:4]
    if not all(isinstance(part, slice) for part in index):
        return None
    axes: list[Axis] = []
    for axis, part, size in zip(before, parts, shape[2:], strict=True):
        if not all(isinstance(edge, int | None) for edge in (part.start, part.stop, part.step)):
            return None
        start, _, step = part.indices(size)
        moved = axis.moved(start)
        axes.append(Axis(moved.stride * step, moved.low, moved.high))
    return axes[0], axes[1]


def _joined(node: fx.Node, before: Axes, walk: Walk) -> Field:
    """Behind a concatenation; of channels alone."""
    dim = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else 0)
    return before if len(walk.shape(node)) == 4 and dim in (1, -3) else None


def _split(node: fx.Node, before: Axes, walk: Walk) -> Field:
    dim = node.kwargs.get("dim", node.args[2] if len(node.args) > 2 else 0)
    return before if len(walk.shape(node.all_input_nodes[0])) == 4 and dim in (1, -3) else None


def _reshaped(node: fx.Node, before: Axes, walk: Walk) -> Field:
    """A view keeps its positions where its last two axes keep their sizes."""
    given, made = walk.shape(node.args[0]), walk.shape(node)
    return before if len(made) > 2 and given[-2:] == made[-2:] else None


def _permuted(node: fx.Node, before: Axes, walk: Walk) -> Field:
    rank = len(walk.shape(node.args[0]))
    dims = dims_of(node, rank) if rank else ()
    if dims == (0, 2, 3, 1):
        walk.channels_last.add(node.name)
        return before
    return before if rank > 2 and dims[-2:] == (rank - 2, rank - 1) else None


def _transposed(node: fx.Node, before: Axes, walk: Walk) -> Field:
    rank = len(walk.shape(node.args[0]))
    given = dict(zip(("input", "dim0", "dim1"), node.args, strict=False)) | node.kwargs
    return before if rank > 2 and all(cast("int", given[dim]) % rank < rank - 2 for dim in ("dim0", "dim1")) else None


VIEWS: dict[Any, Callable[[fx.Node, Axes, Walk], Field]] = {
    "pad": _padded,
    operator.getitem: _indexed,
    **dict.fromkeys(("cat", "concat"), _joined),
    **dict.fromkeys(("chunk", "split", "tensor_split"), _split),
    **dict.fromkeys(("view", "reshape", "flatten", "unflatten"), _reshaped),
    "permute": _permuted,
    "transpose": _transposed,
}
