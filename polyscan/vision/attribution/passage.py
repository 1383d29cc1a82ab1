"""The way of values from a lower layer to a unit: one forward pass with gradients on that way alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx

from polyscan.vision.tracing import readers, shape_of


class Passage(fx.Interpreter):
    """Runs a graph. What the lower layer and all that passes it by give to what comes after becomes a leaf.

    Args:
        graph: a graph that ends at the unit's layer.
        lower: the node of the lower layer.

    Attributes:
        way: nodes that depend on the lower layer.
        beside: nodes that do not, but are read by some that do: what passes the lower layer by.
        leaves: after a run, the value of the lower node and of those beside, by name.
    """

    def __init__(self, graph: fx.GraphModule, lower: fx.Node) -> None:
        super().__init__(graph)
        self.graph_module = graph
        self.lower = lower
        self.way = _above(lower)
        self.beside = {
            source
            for node in self.way
            for source in node.all_input_nodes
            if source is not lower and source not in self.way and source.op != "get_attr" and node in readers(source)
        }
        self.leaves: dict[str, Tensor] = {}
        self._change: Callable[[Tensor], Tensor] | None = None

    @property
    def reaches_end(self) -> bool:
        """Whether the graph's output depends on the lower layer."""
        return any(node.op == "output" for node in self.way)

    def changed(self, inputs: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
        """The graph's output if the lower layer gives other values, made from its own."""
        self._change = change
        try:
            with torch.inference_mode(mode=False):
                return self.run(inputs.detach().clone()).detach()
        finally:
            self._change = None

    def run_node(self, n: fx.Node) -> Any:
        """A node's value; with a gradient if it depends on the lower layer."""
        with torch.set_grad_enabled(n in self.way):
            value = super().run_node(n)
        if n is self.lower and self._change is not None:
            value = self._change(value)
        is_leaf = n is self.lower or (n in self.beside and bool(shape_of(n)) and value.is_floating_point())
        if is_leaf:
            value = self.leaves[n.name] = value.detach().requires_grad_(True)
        return value


def _above(lower: fx.Node) -> set[fx.Node]:
    """All nodes that use a node's values, directly or not."""
    found: set[fx.Node] = set()
    open_nodes = [lower]
    while open_nodes:
        for user in readers(open_nodes.pop()):
            if user not in found:
                found.add(user)
                open_nodes.append(user)
    return found
