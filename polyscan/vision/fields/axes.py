"""The geometry of a field along rows and columns, and the state of a walk through a graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import fx


@dataclass(frozen=True)
class Axis:
    """Geometry along one axis, in px of the input."""

    stride: float = 1.0
    low: float = 0.0
    high: float = 0.0

    @property
    def field(self) -> float:
        """Size of the field."""
        return self.high - self.low + 1

    def window(self, kernel: int, stride: int, padding: int, dilation: int) -> Axis:
        """The axis after a sliding window, such as a convolution or pooling."""
        reach = (kernel - 1) * dilation - padding
        return Axis(self.stride * stride, self.low - padding * self.stride, self.high + reach * self.stride)

    def moved(self, start: int) -> Axis:
        """The axis with position `start` as its first."""
        return Axis(self.stride, self.low + start * self.stride, self.high + start * self.stride)


Axes = tuple[Axis, Axis]  # rows, columns
Field = Axes | None
POINT: Field = (Axis(), Axis())


@dataclass
class Walk:
    """The state of a walk through a graph: modules and shapes by name, and the nodes so far that are [b, y, x, c]."""

    modules: Mapping[str, Any]
    shapes: Mapping[str, tuple[int, ...]]
    channels_last: set[str] = field(default_factory=set[str])

    def shape(self, node: object) -> tuple[int, ...]:
        """Shape of a node's output; () if it is not a tensor."""
        return self.shapes.get(node.name, ()) if isinstance(node, fx.Node) else ()


def merged(fields: Sequence[Field]) -> Field:
    """Field of a node with several inputs: the hull of their fields if the strides are equal, else unknown."""
    known = [axes for axes in fields if axes is not None]
    if len(known) < len(fields):
        return None
    joined: list[Axis] = []
    for axes in zip(*known, strict=True):
        if len({axis.stride for axis in axes}) > 1:
            return None
        joined.append(Axis(axes[0].stride, min(a.low for a in axes), max(a.high for a in axes)))
    return joined[0], joined[1]


def pair(value: Any) -> tuple[int, int]:
    """Rows and columns of a setting that may be one number for both."""
    return (int(value[0]), int(value[-1])) if isinstance(value, Sequence) else (int(value), int(value))


def dims_of(node: fx.Node, rank: int) -> tuple[int, ...]:
    """The axes that a `permute` names, counted from the front."""
    dims = node.kwargs.get("dims", node.args[1] if len(node.args) == 2 else node.args[1:])
    return tuple(int(dim) % rank for dim in dims if isinstance(dim, int)) if isinstance(dims, Sequence) else ()
