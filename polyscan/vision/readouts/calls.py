"""The calls of a module in a traced network: which nodes belong to each, and which of them gives its output."""

from __future__ import annotations

from collections.abc import Sequence

from torch import fx

from polyscan.vision.tracing import shape_of


def modules_around(node: fx.Node) -> dict[str, str]:
    """The calls of modules that a node belongs to, outermost first: the key of each call, and the module's path."""
    # The second call of a module has `@1` after its path there.
    return {str(key): str(key).partition("@")[0] for key in node.meta.get("nn_module_stack", {})}


def calls_of(nodes: Sequence[fx.Node], modules: set[str]) -> list[tuple[str, list[fx.Node]]]:
    """Each call of one of these modules with the nodes inside it, in the order of the calls."""
    calls: list[tuple[str, list[fx.Node]]] = []
    open_calls: dict[str, list[fx.Node]] = {}
    for node in nodes:
        keys = modules_around(node)
        still_open = {key: inside for key, inside in open_calls.items() if key in keys}
        for key, name in keys.items():
            if name in modules and key not in still_open:
                still_open[key] = []
                calls.append((name, still_open[key]))
        for inside in still_open.values():
            inside.append(node)
        open_calls = still_open
    return calls


def output_of(inside: Sequence[fx.Node]) -> fx.Node:
    """The last tensor of a call that is used outside the call, or not used at all."""
    nodes = set(inside)
    ends = [node for node in inside if shape_of(node) and not (node.users and nodes.issuperset(node.users))]
    return ends[-1] if ends else inside[-1]
