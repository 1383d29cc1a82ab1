"""The walk through a network's graph, which computes each node's field from those of its inputs."""

from __future__ import annotations

from collections.abc import Mapping

from torch import fx, nn

from polyscan.vision.fields.axes import POINT, Field, Geometries, merged, uniform
from polyscan.vision.fields.graph import Walk, dims_of
from polyscan.vision.fields.padding import MODES, PADDINGS, padded_by_module
from polyscan.vision.fields.resampling import RESAMPLING, RESAMPLINGS, resampled_by_module
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
        *(
            "hardsigmoid",
            "hardtanh",
            "hardtanh_",
            "softplus",
            "dropout",
            "batch_norm",
            "stochastic_depth",
            "channel_shuffle",
        ),
        *("contiguous", "clone", "float", "to", "type_as", "detach"),
    )
)
CHANNEL_NAMES = frozenset(("layer_norm", "linear"))  # these work on the last axis


def fields_of(graph: fx.GraphModule, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Field]:
    """Field of every node of a traced network, except constants.

    Args:
        graph: the traced network.
        shapes: output shape by node name, for nodes that give a tensor.
    """
    known: dict[str, Geometries | None] = {}
    constants: set[str] = set()
    walk = Walk(dict(graph.named_modules()), shapes)
    for node in graph.graph.nodes:
        sources = [source for source in node.all_input_nodes if source.name not in constants]
        if node.op == "placeholder":
            known[node.name] = POINT
        elif not sources or asks_shape(node):
            constants.add(node.name)
        else:
            known[node.name] = _field_after(node, sources, known, walk)
    return {name: uniform(field) for name, field in known.items()}


def _field_after(
    node: fx.Node, sources: list[fx.Node], known: dict[str, Geometries | None], walk: Walk
) -> Geometries | None:
    layouts = {source.name in walk.channels_last for source in sources}
    after = _after_module if node.op == "call_module" else _after_call
    try:
        field = merged([known[source.name] for source in sources], walk.size(sources))
        if field is None or len(layouts) > 1:
            return None
        return (_after_channels_last if layouts == {True} else after)(node, field, walk)
    except Exception:  # arguments or sizes that a rule does not understand: the whole image is never wrong
        return None


def _after_channels_last(node: fx.Node, field: Geometries, walk: Walk) -> Geometries | None:
    """The field after an operation on [b, y, x, c], as in ConvNeXt's blocks; unknown if it may mix positions."""
    name = function_name(node)
    module = walk.modules.get(str(node.target)) if node.op == "call_module" else None
    if module is None and name == "permute":
        return field if dims_of(node, 4) == (0, 3, 1, 2) else None
    is_on_channels = isinstance(module, nn.Linear | nn.LayerNorm) if module is not None else name in CHANNEL_NAMES
    is_pointwise = isinstance(module, POINTWISE_MODULES) if module is not None else name in POINTWISE_NAMES
    is_by_channel = isinstance(module, nn.modules.batchnorm._BatchNorm | nn.Dropout2d | nn.PReLU)
    if not is_on_channels and (not is_pointwise or is_by_channel):
        return None
    walk.channels_last.add(node.name)
    return field


def _after_module(node: fx.Node, field: Geometries, walk: Walk) -> Geometries | None:
    module = walk.modules[str(node.target)]
    if isinstance(module, SLIDING):
        return slid(node, field, walk, module)
    if isinstance(module, nn.AdaptiveAvgPool2d | nn.AdaptiveMaxPool2d):
        return adaptive(node, field, walk)
    if type(module) in MODES:
        return padded_by_module(node, field, walk, module)
    if isinstance(module, RESAMPLING):
        return resampled_by_module(node, field, walk, module)
    return field if isinstance(module, POINTWISE_MODULES) else None


def _after_call(node: fx.Node, field: Geometries, walk: Walk) -> Geometries | None:
    if function_name(node) in POINTWISE_NAMES:
        return field
    special = CALLS.get(node.target) or CALLS.get(function_name(node))
    return special(node, field, walk) if special else None


CALLS = WINDOWS | PADDINGS | RESAMPLINGS | VIEWS
