"""The walk through a network's graph: each node's field out of those of its inputs."""

from __future__ import annotations

from collections.abc import Mapping

from torch import fx, nn

from polyscan.vision.fields.axes import POINT, Axes, Field, Walk, dims_of, merged
from polyscan.vision.fields.views import VIEWS
from polyscan.vision.fields.windows import SLIDING, WINDOWS, adaptive, slid
from polyscan.vision.tracing import asks_shape, function_name

POINTWISE_MODULES = (
    *(nn.modules.batchnorm._BatchNorm, nn.LocalResponseNorm, nn.Identity, nn.Dropout, nn.Dropout2d),
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.CELU, nn.SELU, nn.PReLU, nn.GELU, nn.SiLU, nn.Mish, nn.Sigmoid),
    *(nn.Tanh, nn.Softplus, nn.Hardswish, nn.Hardsigmoid, nn.Hardtanh, nn.ChannelShuffle),
)
POINTWISE_NAMES = frozenset(
    (
        *("add", "add_", "iadd", "sub", "sub_", "isub", "mul", "mul_", "imul", "div", "div_", "truediv", "neg", "abs"),
        *("pow", "square", "sqrt", "exp", "maximum", "minimum", "where", "clamp", "clamp_", "relu", "relu_", "relu6"),
        *("leaky_relu", "elu", "gelu", "silu", "silu_", "mish", "sigmoid", "sigmoid_", "tanh", "hardswish", "prelu"),
        *("hardsigmoid", "hardtanh", "hardtanh_", "softplus", "dropout", "batch_norm", "stochastic_depth"),
        *("contiguous", "clone", "float", "to", "type_as", "detach"),
    )
)
CHANNEL_NAMES = frozenset(("layer_norm", "linear"))  # these work on the last axis


def fields_of(graph: fx.GraphModule, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Field]:
    """Field of every node of a traced network.

    Args:
        graph: the traced network.
        shapes: output shape per node name, as far as it is a tensor.
    """
    known: dict[str, Field] = {}
    constants: set[str] = set()
    walk = Walk(dict(graph.named_modules()), shapes)
    for node in graph.graph.nodes:
        sources = [source for source in node.all_input_nodes if source.name not in constants]
        if node.op == "placeholder":
            known[node.name] = POINT
        elif not sources or asks_shape(node):
            constants.add(node.name)
        else:
            known[node.name] = _behind(node, sources, known, walk)
    return known


def _behind(node: fx.Node, sources: list[fx.Node], known: dict[str, Field], walk: Walk) -> Field:
    before = merged([known[source.name] for source in sources])
    layouts = {source.name in walk.channels_last for source in sources}
    if before is None or len(layouts) > 1:
        return None
    if layouts == {True}:
        return _after_channels_last(node, before, walk)
    return _after_module(node, before, walk) if node.op == "call_module" else _after_call(node, before, walk)


def _after_channels_last(node: fx.Node, before: Axes, walk: Walk) -> Field:
    """Behind [b, y, x, c], as in ConvNeXt's blocks: only what leaves positions alone, or brings the channels back."""
    name, module = function_name(node), walk.modules.get(str(node.target)) if node.op == "call_module" else None
    if module is None and name == "permute":
        return before if dims_of(node, 4) == (0, 3, 1, 2) else None
    on_channels = isinstance(module, nn.Linear | nn.LayerNorm) if module is not None else name in CHANNEL_NAMES
    pointwise = isinstance(module, POINTWISE_MODULES) if module is not None else name in POINTWISE_NAMES
    by_channel = isinstance(module, nn.modules.batchnorm._BatchNorm | nn.Dropout2d | nn.PReLU)
    if not on_channels and (not pointwise or by_channel):
        return None
    walk.channels_last.add(node.name)
    return before


def _after_module(node: fx.Node, before: Axes, walk: Walk) -> Field:
    module = walk.modules[str(node.target)]
    if isinstance(module, SLIDING):
        return slid(node, before, walk, module)
    if isinstance(module, nn.AdaptiveAvgPool2d | nn.AdaptiveMaxPool2d):
        return adaptive(node, before, walk)
    if isinstance(module, nn.ZeroPad2d | nn.ConstantPad2d):
        return before[0].moved(-module.padding[2]), before[1].moved(-module.padding[0])
    return before if isinstance(module, POINTWISE_MODULES) else None


def _after_call(node: fx.Node, before: Axes, walk: Walk) -> Field:
    if function_name(node) in POINTWISE_NAMES:
        return before
    special = CALLS.get(node.target) or CALLS.get(function_name(node))
    return special(node, before, walk) if special else None


CALLS = WINDOWS | VIEWS
