"""Graphs cut down to what is read: without nodes after the deepest read point or that no read point needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import fx, nn

from polyscan.vision.readouts.points import ReadPoint
from polyscan.vision.readouts.taps import NormTap, Tap
from polyscan.vision.tracing import LAYER_TYPES, is_as_built, overwritten

FRESH = (*LAYER_TYPES, nn.modules.batchnorm._BatchNorm)
"""Modules whose output is new memory, which only the readers of the output use."""


def with_taps(graph: fx.GraphModule, points: Sequence[ReadPoint]) -> tuple[fx.GraphModule, list[Tap]]:
    """A copy of the graph with a tap after each place that is read, and nothing after the last tap."""
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
    """Joins each tap after a convolution's batch norm with that norm, and with a ReLU that alone follows the norm."""
    modules: dict[str, Any] = dict(module.named_modules())
    for tap in [node for node in module.graph.nodes if isinstance(_called(node, modules), Tap)]:
        norm = tap.all_input_nodes[0]
        if not _is_joinable(norm, modules):
            continue
        others = [user for user in norm.users if user is not tap]
        relu = others[0] if len(others) == 1 and type(_called(others[0], modules)) in (nn.ReLU, nn.ReLU6) else None
        relu_module = None if relu is None else _called(relu, modules)
        module.add_module(str(tap.target), NormTap(_called(tap, modules), _called(norm, modules), relu_module))
        tap.args = norm.args
        last = relu or norm
        last.replace_all_uses_with(tap, delete_user_cb=lambda user, tap=tap: user is not tap)
        for joined in (relu, norm) if relu else (norm,):
            module.graph.erase_node(joined)


def _called(node: fx.Node, modules: dict[str, Any]) -> Any:
    """The module that a node calls; None if it calls none."""
    return modules[str(node.target)] if node.op == "call_module" else None


def _is_joinable(norm: fx.Node, modules: dict[str, Any]) -> bool:
    """Whether a node is a batch norm with fixed statistics that may overwrite its input."""
    module = _called(norm, modules)
    if type(module) is not nn.BatchNorm2d or module.running_mean is None or not is_as_built(module):
        return False
    source = norm.all_input_nodes[0]
    return isinstance(_called(source, modules), FRESH) and len(source.users) == 1


def ending_at(graph: fx.GraphModule, node: str) -> fx.GraphModule:
    """A copy of the graph that returns the output of the node of that name."""
    # In-place operations are no problem: those that overwrite this output come later.
    return pruned(_up_to(graph, node, output=node))


def _up_to(graph: fx.GraphModule, stop: str, *, output: str | None) -> fx.GraphModule:
    """A copy with the nodes up to `stop`, which is included, under the same names."""
    copy = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    for node in graph.graph.nodes:
        copies[node] = copy.node_copy(node, lambda old: copies[old])
        if node.name == stop:
            break
    by_name = {old.name: new for old, new in copies.items()}
    copy.output(by_name[output] if output else None)
    return fx.GraphModule(graph, copy)


def pruned(module: fx.GraphModule) -> fx.GraphModule:
    """Removes nodes whose values are not used, except taps and operations that overwrite a used value; in place."""
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
    """Whether a node overwrites a value that another node uses, or may use, later."""
    return any(_is_used_after(node, source, modules, position) for source in overwritten(node))


def _is_used_after(node: fx.Node, source: fx.Node, modules: dict[str, Any], position: dict[fx.Node, int]) -> bool:
    if not isinstance(_called(source, modules), FRESH):
        return True  # it may be a view of another value
    return any(position[user] > position[node] for user in source.users)
