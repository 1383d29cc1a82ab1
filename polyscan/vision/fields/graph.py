"""What the rules for single operations know of the graph: modules, shapes, layouts, and the arguments of calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import fx


@dataclass
class Walk:
    """The state of a walk through a graph: modules and shapes by name, and the nodes so far that are [b, y, x, c]."""

    modules: Mapping[str, Any]
    shapes: Mapping[str, tuple[int, ...]]
    channels_last: set[str] = field(default_factory=set[str])

    def shape(self, node: object) -> tuple[int, ...]:
        """Shape of a node's output; () if it is not a tensor."""
        return self.shapes.get(node.name, ()) if isinstance(node, fx.Node) else ()

    def size(self, nodes: Sequence[fx.Node]) -> tuple[int, ...]:
        """Rows and columns of the outputs of nodes; () if they are not known, or not equal."""
        sizes = {self.shape(node)[1:3] if node.name in self.channels_last else self.shape(node)[-2:] for node in nodes}
        return sizes.pop() if len(sizes) == 1 and all(len(self.shape(node)) > 2 for node in nodes) else ()


def arguments(node: fx.Node, *names: str) -> dict[str, Any]:
    """The arguments of a call by name; `names` are those that may be given by place."""
    return dict(zip(names, node.args, strict=False)) | node.kwargs


def pair(value: Any) -> tuple[int, int]:
    """Rows and columns of a setting that may be one number for both."""
    return (int(value[0]), int(value[-1])) if isinstance(value, Sequence) else (int(value), int(value))


def dims_of(node: fx.Node, rank: int) -> tuple[int, ...]:
    """The axes that a `permute` names, counted from the front."""
    dims = node.kwargs.get("dims", node.args[1] if len(node.args) == 2 else node.args[1:])
    return tuple(int(dim) % rank for dim in dims if isinstance(dim, int)) if isinstance(dims, Sequence) else ()
