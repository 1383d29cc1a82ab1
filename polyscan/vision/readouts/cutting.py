"""Graphs cut down to what is read: nothing behind the deepest place, nothing beside the way there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import fx, nn

from polyscan.vision.readouts.points import ReadPoint
from polyscan.vision.readouts.taps import NormTap, Tap
from polyscan.vision.tracing import LAYER_TYPES, is_in_place

FRESH = (*LAYER_TYPES, nn.modules.batchnorm._BatchNorm)
"""Modules whose output is new memory, seen by its readers alone."""


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
    _join_norms(module)
    module = pruned(module)
    return module, [part for part in module.modules() if isinstance(part, Tap)]


def _join_norms(module: fx.GraphModule) -> None:
    """Each tap behind a convolution's batch norm becomes one module with it, and with the ReLU alone behind it."""
    modules: dict[str, Any] = dict(module.named_modules())

    def part(node: fx.Node) -> Any:
        return modules[str(node.target)] if node.op == "call_module" else None

    for tap in [node for node in module.graph.nodes if isinstance(part(node), Tap)]:
        norm = tap.all_input_nodes[0]
        if type(part(norm)) is not nn.BatchNorm2d or not part(norm).track_running_stats:
            continue
        source = norm.all_input_nodes[0]
        if not isinstance(part(source), FRESH) or len(source.users) > 1:
            continue
        others = [user for user in norm.users if user is not tap]
        relu = others[0] if len(others) == 1 and type(part(others[0])) in (nn.ReLU, nn.ReLU6) else None
        module.add_module(str(tap.target), NormTap(part(tap), part(norm), part(relu) if relu else None))
        tap.args = norm.args
        last = relu or norm
        last.replace_all_uses_with(tap, delete_user_cb=lambda user, tap=tap: user is not tap)
        for gone in (relu, norm) if relu else (norm,):
            module.graph.erase_node(gone)


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
