"""Finds the places in a traced network where its layers, its blocks and its other modules are read."""

from __future__ import annotations

from typing import Any

from torch import fx, nn

from polyscan.vision.fields import fields_of
from polyscan.vision.readouts.calls import calls_of, output_of
from polyscan.vision.readouts.channel_axes import FUNCTIONS, ChannelAxes, layer_axis
from polyscan.vision.readouts.points import PlacedLayer, call_name
from polyscan.vision.readouts.ready import NEUTRAL, Place, ReadyPlaces
from polyscan.vision.tracing import LAYER_TYPES, function_name, readers, shape_of

RELUS = (nn.ReLU, nn.ReLU6)
RELU_NAMES = frozenset(("relu", "relu_", "relu6"))


class Places:
    """The places of a traced network whose nodes know their shapes.

    Args:
        graph: the traced network.
    """

    def __init__(self, graph: fx.GraphModule) -> None:
        self.nodes: list[fx.Node] = list(graph.graph.nodes)
        self.modules: dict[str, Any] = dict(graph.named_modules())
        self.parameters = {name for name, _ in graph.named_parameters()}
        self.fields = fields_of(graph, {node.name: shape_of(node) for node in self.nodes})
        self.own_places = {node: found for node in self.nodes if (found := self._layer(node))}
        self.axes = ChannelAxes(
            self.nodes, self.modules, {place.node: place.channels for _, place in self.own_places.values()}
        )
        self.ready = ReadyPlaces(self.nodes, self.modules)

    def layers(self) -> list[PlacedLayer]:
        """Every call of a convolution or linear layer, in forward order."""
        calls: dict[str, int] = {}
        return [
            self._candidate(call_name(name, calls), self.ready.after(place)) for name, place in self.own_places.values()
        ]

    def blocks(self, names: set[str]) -> list[PlacedLayer]:
        """Every call of these blocks, read after its addition and before its last ReLU."""
        return self._calls(names, self._before_relu)

    def outputs(self, names: set[str]) -> list[PlacedLayer]:
        """Every call of these modules, of any kind, read at its output."""
        return self._calls(names, lambda node: (node, "module output"))

    def _calls(self, names: set[str], place_of: Any) -> list[PlacedLayer]:
        calls: dict[str, int] = {}
        found: list[PlacedLayer] = []
        for name, inside in calls_of(self.nodes, names):
            node, readout = place_of(output_of(inside))
            found.append(self._candidate(call_name(name, calls), Place(node, self.axes[node], readout)))
        return found

    def _candidate(self, name: str, place: Place) -> PlacedLayer:
        operations = self._next_operations(place.node)
        relu = bool(operations) and all(self._is_relu(operation) for operation in operations)
        return PlacedLayer(name, place.node.name, place.channels, place.readout, relu, self.fields.get(place.node.name))

    def _layer(self, node: fx.Node) -> tuple[str, Place] | None:
        """A layer's name and its own output, if a node computes one."""
        shape = shape_of(node)
        if self._calls_one_of(node, LAYER_TYPES):
            return str(node.target), Place(node, layer_axis(self.modules[str(node.target)], shape))
        function = function_name(node)
        weight = node.kwargs.get("weight", node.args[1] if len(node.args) > 1 else None)
        if node.op != "call_function" or function not in FUNCTIONS or not isinstance(weight, fx.Node):
            return None
        parameter = self._parameter_behind(weight)
        if parameter is None:
            return None
        return parameter.removesuffix(".weight"), Place(node, layer_axis(function, shape))

    def _parameter_behind(self, weight: fx.Node) -> str | None:
        """The name of a parameter that a value is computed from; None if there is none."""
        seen, waiting = {weight}, [weight]
        while waiting:
            node = waiting.pop()
            if node.op == "get_attr" and node.target in self.parameters:
                return str(node.target)
            new = [source for source in node.all_input_nodes if source not in seen]
            seen.update(new)
            waiting += reversed(new)
        return None

    def _calls_one_of(self, node: fx.Node, kinds: tuple[type, ...]) -> bool:
        return node.op == "call_module" and isinstance(self.modules[str(node.target)], kinds)

    def _is_relu(self, node: fx.Node) -> bool:
        return self._calls_one_of(node, RELUS) or (node.op != "call_module" and function_name(node) in RELU_NAMES)

    def _next_operations(self, node: fx.Node) -> list[fx.Node]:
        operations: list[fx.Node] = []
        for user in readers(node):
            operations += self._next_operations(user) if self._calls_one_of(user, NEUTRAL) else [user]
        return operations

    def _before_relu(self, node: fx.Node) -> tuple[fx.Node, str]:
        end = node
        while self._calls_one_of(end, NEUTRAL):
            end = end.all_input_nodes[0]
        if self._is_relu(end):
            return end.all_input_nodes[0], "block, before its last ReLU"
        return node, "block output"
