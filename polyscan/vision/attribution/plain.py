"""Graphs rewritten so that every operation is a module of its own: what a rule of attribution can be hung onto.

Nothing is done in place, so the values of all nodes stay as they were read. Each call has its own module, which shares
the weights of the network. A batch norm that alone follows a convolution is merged into it. Activations, additions,
products and averages that the network's code writes as functions become modules. The function stays the same.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn

from polyscan.vision.attribution.parts import Added, Averaged, Elementwise, Gated
from polyscan.vision.readouts.cutting import pruned
from polyscan.vision.readouts.ready import PRODUCTS, QUOTIENTS, SUMS
from polyscan.vision.tracing import asks_shape, fold_norms, function_name, overwritten, shape_of

NODE = "node of the network"
"""Key of a node's `meta` for the name that it has in the network's own graph."""

ELEMENTWISE = frozenset(
    ("relu", "relu6", "hardtanh", "leaky_relu", "elu", "selu", "celu", "gelu", "silu", "mish", "hardswish", "sigmoid")
) | {"hardsigmoid", "tanh", "softplus", "clamp", "clamp_min", "clamp_max"}
AVERAGES = frozenset(("mean", "avg_pool1d", "avg_pool2d", "adaptive_avg_pool1d", "adaptive_avg_pool2d", "interpolate"))
SIGMOIDS = frozenset(("sigmoid", "hardsigmoid", "softmax"))

Call = tuple[nn.Module, tuple[Any, ...]]
"""A module and its arguments, which are nodes or values."""


def plain(graph: fx.GraphModule) -> fx.GraphModule:
    """A rewritten copy of a graph that `recorded` has seen; `meta[NODE]` of its nodes has their names in the graph."""
    copied, copies = fx.Graph(), dict[fx.Node, fx.Node]()
    output = copied.graph_copy(graph.graph, copies)
    copied.output(output)
    for old, new in copies.items():
        new.meta[NODE] = old.name
    module = fx.GraphModule(graph, copied)
    _read_what_was_written(module)
    for number, node in enumerate(list(module.graph.nodes)):
        if call := _module_for(module, node):
            name = f"call_{number}"
            module.add_module(name, call[0])
            node.op, node.target, node.args, node.kwargs = "call_module", name, call[1], {}
    fold_norms(module)
    return pruned(module)


def _read_what_was_written(module: fx.GraphModule) -> None:
    """Lets those that read overwritten memory later read the output of what has overwritten it."""
    order = {node: number for number, node in enumerate(module.graph.nodes)}
    for node in module.graph.nodes:
        for source in overwritten(node):
            if shape_of(source) == shape_of(node):
                source.replace_all_uses_with(node, delete_user_cb=lambda user, node=node: order[user] > order[node])
        node.meta.pop("overwrites", None)


def _module_for(graph: fx.GraphModule, node: fx.Node) -> Call | None:
    """The module that a node shall call; None if it stays as it is."""
    if node.op == "call_module":
        return own(graph.get_submodule(str(node.target))), node.args
    if node.op not in ("call_function", "call_method") or not shape_of(node) or asks_shape(node):
        return None
    name = function_name(node)
    if name == "batch_norm":
        return _norm(graph, node)
    if name in SUMS and not node.kwargs:
        return Added(), node.args
    if name in PRODUCTS | QUOTIENTS and not node.kwargs:
        return _product(node)
    return _of_one(node, name.removesuffix("_"))


def own(module: nn.Module) -> nn.Module:
    """A copy of a module that has the same tensors, hooks of its own, and does nothing in place."""
    copied = copy.copy(module)
    for key, value in vars(module).items():
        if isinstance(value, dict):
            vars(copied)[key] = copy.copy(value)
    if getattr(copied, "inplace", False):
        vars(copied)["inplace"] = False
    return copied


def _of_one(node: fx.Node, name: str) -> Call | None:
    """A function of one tensor."""
    kinds = {**dict.fromkeys(ELEMENTWISE, Elementwise), **dict.fromkeys(AVERAGES, Averaged)}
    if name not in kinds or node.all_input_nodes[1:]:
        return None
    args = [arg for arg in node.args if not isinstance(arg, fx.Node) and (name in AVERAGES or arg is not True)]
    kwargs = {key: value for key, value in node.kwargs.items() if key not in ("input", "inplace")}
    return kinds[name](_function(node, name), tuple(args), kwargs), tuple(node.all_input_nodes)


def _function(node: fx.Node, name: str) -> Callable[..., Tensor]:
    """A function of that name that does nothing in place."""
    if node.op == "call_method":
        return getattr(Tensor, name)
    return getattr(nn.functional, name, None) or getattr(torch, name)


def _product(node: fx.Node) -> Call | None:
    """A product, or a quotient by a number."""
    factors = [arg for arg in node.args if isinstance(arg, fx.Node)]
    if len(factors) == 1:
        is_quotient = function_name(node) in QUOTIENTS
        number = next(arg for arg in node.args if not isinstance(arg, fx.Node))
        if is_quotient and node.args[0] is number:
            return None
        return Elementwise(torch.div if is_quotient else torch.mul, (number,), {}), (factors[0],)
    if function_name(node) in QUOTIENTS:
        return None
    return Gated(), tuple(sorted(factors, key=_is_gate))  # the sort is stable: of two equals the first is the signal


def _is_gate(factor: fx.Node) -> tuple[bool, int, bool]:
    """Sorts the factors of a product: the signal is computed, larger, and no sigmoid."""
    return factor.op == "get_attr", -math.prod(shape_of(factor)), _is_sigmoid(factor)


def _is_sigmoid(node: fx.Node) -> bool:
    module = node.graph.owning_module
    if node.op == "call_module" and module is not None:
        part = module.get_submodule(str(node.target))
        name = getattr(part, "function", part).__class__.__name__ if not isinstance(part, Elementwise) else ""
        return name.lower() in SIGMOIDS or getattr(getattr(part, "function", None), "__name__", "") in SIGMOIDS
    return function_name(node) in SIGMOIDS


def _norm(graph: fx.GraphModule, node: fx.Node) -> Call | None:
    """A batch norm with fixed statistics that is called as a function, as timm's are."""
    names = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")
    given: dict[str, Any] = {**dict(zip(names, node.args, strict=False)), **node.kwargs}
    held = [given.get(name) for name in names[1:5]]
    if any(not isinstance(each, fx.Node) or each.op != "get_attr" for each in held) or given.get("training"):
        return None
    mean, variance, weight, bias = (_attribute(graph, each) for each in held)
    norm = nn.BatchNorm2d(len(mean), eps=given.get("eps", 1e-5)).to(mean).eval().requires_grad_(requires_grad=False)
    norm.running_mean, norm.running_var, norm.weight.data, norm.bias.data = mean, variance, weight, bias
    return norm, (given["input"],)


def _attribute(graph: fx.GraphModule, node: Any) -> Tensor:
    *path, last = str(node.target).split(".")
    return getattr(graph.get_submodule(".".join(path)), last).detach()
