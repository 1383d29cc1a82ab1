"""Finds the places in a traced network where its layers and blocks are read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from torch import fx, nn

from polyscan.vision.fields import Field, fields_of
from polyscan.vision.readouts.points import ReadPoint, call_name
from polyscan.vision.tracing import LAYER_TYPES, function_name, readers, shape_of

NORMS = (nn.modules.batchnorm._BatchNorm,)
NEUTRAL = (nn.Identity, nn.Dropout, nn.Dropout2d)
RELUS = (nn.ReLU, nn.ReLU6)
RELU_NAMES = frozenset(("relu", "relu_", "relu6"))


def traced_points(graph: fx.GraphModule, blocks: Sequence[str]) -> list[ReadPoint]:
    """Every read point of a traced network with propagated shapes, in forward order.

    If a layer and a block are read at the same place, the layer comes first.
    """
    finder = _Finder(graph)
    points = [*finder.layers(), *finder.blocks(blocks)]
    order = {node.name: number for number, node in enumerate(graph.graph.nodes)}
    return sorted((point for point in points if point.n_channels), key=lambda point: order[point.node])


class _Finder:
    def __init__(self, graph: fx.GraphModule) -> None:
        self.nodes: list[fx.Node] = list(graph.graph.nodes)
        self.modules: dict[str, Any] = dict(graph.named_modules())
        self.fields = fields_of(graph, {node.name: shape_of(node) for node in self.nodes})
        self.calls: dict[str, int] = {}

    def layers(self) -> Iterator[ReadPoint]:
        for node in self.nodes:
            if self.calls_one_of(node, LAYER_TYPES):
                place, readout = self.after_norm(node)
                channels_last = self.calls_one_of(node, (nn.Linear,))
                yield self.point(call_name(str(node.target), self.calls), place, readout, channels_last=channels_last)

    def blocks(self, blocks: Sequence[str]) -> Iterator[ReadPoint]:
        for block, inside in _block_calls(self.nodes, set(blocks)):
            place, readout = self.before_relu(_output(inside))
            yield self.point(call_name(block, self.calls), place, readout, channels_last=False)

    def point(self, name: str, node: fx.Node, readout: str, *, channels_last: bool) -> ReadPoint:
        shape = shape_of(node)
        last = channels_last or len(shape) == 3
        field: Field = self.fields.get(node.name) if len(shape) == 4 else None
        channels, size = _layout(shape, channels_last=channels_last)
        operations = self.next_operations(node)
        relu = bool(operations) and all(self.is_relu(operation) for operation in operations)
        return ReadPoint(name, 0, channels, size, field, readout, relu, node.name, last)

    def calls_one_of(self, node: fx.Node, kinds: tuple[type, ...]) -> bool:
        return node.op == "call_module" and isinstance(self.modules[str(node.target)], kinds)

    def is_relu(self, node: fx.Node) -> bool:
        return self.calls_one_of(node, RELUS) or (node.op != "call_module" and function_name(node) in RELU_NAMES)

    def next_operations(self, node: fx.Node) -> list[fx.Node]:
        operations: list[fx.Node] = []
        for user in readers(node):
            operations += self.next_operations(user) if self.calls_one_of(user, NEUTRAL) else [user]
        return operations

    def after_norm(self, node: fx.Node) -> tuple[fx.Node, str]:
        """The last of the norms and neutral layers directly after a layer without branches, and the readout's text."""
        readout = "own output"
        while len(users := readers(node)) == 1:
            user = users[0]
            if self.calls_one_of(user, NORMS):
                node, readout = user, f"after batch norm {user.target}"
            elif user.op == "call_function" and function_name(user) == "batch_norm" and user.args[:1] == (node,):
                node, readout = user, f"after batch norm{_module_path(user)}"
            elif self.calls_one_of(user, NEUTRAL):
                node = user
            else:
                break
        return node, readout

    def before_relu(self, node: fx.Node) -> tuple[fx.Node, str]:
        end = node
        while self.calls_one_of(end, NEUTRAL):
            end = end.all_input_nodes[0]
        if self.is_relu(end):
            return end.all_input_nodes[0], "block, before its last ReLU"
        return node, "block output"


def _layout(shape: tuple[int, ...], *, channels_last: bool) -> tuple[int, tuple[int, int]]:
    """Channels and map size; 0 channels if the output is not a map, tokens or a vector."""
    if len(shape) == 4:
        return (shape[3], (shape[1], shape[2])) if channels_last else (shape[1], (shape[2], shape[3]))
    if len(shape) == 3:
        return shape[2], (shape[1], 1)
    return (shape[1] if len(shape) == 2 else 0), (1, 1)


def _module_path(node: fx.Node) -> str:
    """The module whose code calls a function, with a space before it."""
    stack = list(node.meta.get("nn_module_stack", {}))
    return f" {str(stack[-1]).partition('@')[0]}" if stack else ""


def _block_calls(nodes: Sequence[fx.Node], blocks: set[str]) -> list[tuple[str, list[fx.Node]]]:
    """Each call of a block with the nodes inside it, in the order of the calls."""
    calls: list[tuple[str, list[fx.Node]]] = []
    open_calls: dict[str, list[fx.Node]] = {}
    for node in nodes:
        # The second call of a module has `@1` after its name there.
        keys = {str(key): str(key).partition("@")[0] for key in node.meta.get("nn_module_stack", {})}
        still_open = {key: inside for key, inside in open_calls.items() if key in keys}
        for key, block in keys.items():
            if block in blocks and key not in still_open:
                still_open[key] = []
                calls.append((block, still_open[key]))
        for inside in still_open.values():
            inside.append(node)
        open_calls = still_open
    return calls


def _output(inside: list[fx.Node]) -> fx.Node:
    """The last tensor of a call that is used outside the call, or not used at all."""
    nodes = set(inside)
    ends = [node for node in inside if shape_of(node) and not (node.users and nodes.issuperset(node.users))]
    return ends[-1] if ends else inside[-1]
