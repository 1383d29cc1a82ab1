"""Graphs cut down to what is read: nothing behind the deepest place, nothing beside the way there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, fx, nn

from polyscan.vision.readouts.points import ReadPoint, Sink
from polyscan.vision.tracing import LAYER_TYPES, is_in_place

FRESH = (*LAYER_TYPES, nn.modules.batchnorm._BatchNorm)
"""Modules whose output is new memory, seen by its readers alone."""


class Tap(nn.Module):
    """Stands in the graph behind a read point; what an in-place ReLU does later can't spoil what it has seen."""

    def __init__(self) -> None:
        super().__init__()
        self.points: list[tuple[int, ReadPoint]] = []
        self.sink: Sink | None = None

    def forward(self, value: Tensor) -> None:
        """Hands on its layer's maps, once for each of its points."""
        if self.sink is not None:
            for index, point in self.points:
                self.sink(index, point.maps(value))


def with_taps(graph: fx.GraphModule, points: Sequence[ReadPoint]) -> tuple[fx.GraphModule, list[Tap]]:
    """A copy of the graph with a tap behind each place that is read and nothing behind the last one."""
    taps: dict[str, Tap] = {}
    for index, point in enumerate(points):
        taps.setdefault(point.node, Tap()).points.append((index, point))
    deepest = [node.name for node in graph.graph.nodes if node.name in taps][-1]
    module = _up_to(graph, deepest, output=None)
    for node in list(module.graph.nodes):
        if node.name in taps:
            name = f"tap_{taps[node.name].points[0][0]}"
            module.add_module(name, taps[node.name])
            with module.graph.inserting_after(node):
                module.graph.call_module(name, (node,))
    return pruned(module), list(taps.values())


def ending_at(graph: fx.GraphModule, node: str) -> fx.GraphModule:
    """A copy of the graph that gives back the output of the node of that name."""
    # In-place operations are fine here too: those that overwrite it come later.
    return pruned(_up_to(graph, node, output=node))


def _up_to(graph: fx.GraphModule, stop: str, *, output: str | None) -> fx.GraphModule:
    """A copy with the nodes up to and with `stop`, under their own names."""
    copy = fx.Graph()
    made: dict[fx.Node, fx.Node] = {}
    for node in graph.graph.nodes:
        made[node] = copy.node_copy(node, lambda old: made[old])
        if node.name == stop:
            break
    by_name = {old.name: new for old, new in made.items()}
    copy.output(by_name[output] if output else None)
    return fx.GraphModule(graph, copy)


def pruned(module: fx.GraphModule) -> fx.GraphModule:
    """Without the nodes whose values nobody takes, but for taps and for what overwrites a value that somebody does."""
    modules = dict(module.named_modules())
    position = {node: number for number, node in enumerate(module.graph.nodes)}
    for node in reversed(list(module.graph.nodes)):
        is_tap = node.op == "call_module" and isinstance(modules[str(node.target)], Tap)
        if node.users or is_tap or node.op in ("placeholder", "output") or _spoils(node, modules, position):
            continue
        module.graph.erase_node(node)
    module.delete_all_unused_submodules()
    module.recompile()
    return module


def _spoils(node: fx.Node, modules: dict[str, Any], position: dict[fx.Node, int]) -> bool:
    """Whether an in-place operation changes what another node takes later; where it can't be told, it does."""
    if not is_in_place(node, modules):
        return False
    source = node.all_input_nodes[0]
    if source.op != "call_module" or not isinstance(modules[str(source.target)], FRESH):
        return True
    return any(position[user] > position[node] for user in source.users)
