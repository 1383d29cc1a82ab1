"""Receptive fields: which square of the input a position of an activation map can see.

One axis at a time: position p of a node depends on inputs p * stride + low .. p * stride + high (both included).
`None` stands for the whole image: a pooled gate, a flattened map, or an operation that is not known here.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import fx, nn


@dataclass(frozen=True)
class Axis:
    """Geometry along one axis, in px of the input."""

    stride: float = 1.0
    low: float = 0.0
    high: float = 0.0

    @property
    def field(self) -> float:
        """Size of the field."""
        return self.high - self.low + 1

    def window(self, kernel: int, stride: int, padding: int, dilation: int) -> Axis:
        """Behind a sliding window, as a convolution's or a pooling's."""
        reach = (kernel - 1) * dilation - padding
        return Axis(self.stride * stride, self.low - padding * self.stride, self.high + reach * self.stride)


Field = tuple[Axis, Axis] | None  # rows, columns
POINT: Field = (Axis(), Axis())

SLIDING = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)
POINTWISE_MODULES = (
    nn.modules.batchnorm._BatchNorm, nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.CELU, nn.SELU, nn.PReLU, nn.GELU, nn.SiLU,
    nn.Mish, nn.Sigmoid, nn.Tanh, nn.Softplus, nn.Hardswish, nn.Hardsigmoid, nn.Hardtanh, nn.Identity, nn.Dropout, nn.Dropout2d,
)  # fmt: skip
POINTWISE_NAMES = frozenset(
    ["add", "sub", "mul", "div", "truediv", "neg", "relu", "relu_", "relu6", "leaky_relu", "elu", "gelu", "silu", "mish", "sigmoid", "tanh", "hardswish", "hardsigmoid", "hardtanh", "hardtanh_", "clamp", "clamp_", "add_", "mul_", "iadd", "imul", "isub", "cat", "concat", "dropout", "batch_norm", "contiguous", "clone", "float", "stochastic_depth", "abs", "pow", "square", "sqrt", "exp", "maximum", "minimum", "where", "prelu", "softplus"]
)


def merged(fields: Sequence[Field]) -> Field:
    """What a node sees that joins several: the hull, where all step alike."""
    if any(field is None for field in fields):
        return None
    known = cast("Sequence[tuple[Axis, Axis]]", fields)
    joined: list[Axis] = []
    for axes in zip(*known, strict=True):
        if len({axis.stride for axis in axes}) > 1:
            return None
        joined.append(Axis(axes[0].stride, min(a.low for a in axes), max(a.high for a in axes)))
    return joined[0], joined[1]


def fields_of(graph: fx.GraphModule, shapes: dict[str, tuple[int, ...]]) -> dict[str, Field]:
    """Field of every node of a traced network.

    Args:
        graph: the traced network.
        shapes: output shape per node name, as far as it is a tensor.
    """
    known: dict[str, Field] = {}
    constants: set[str] = set()
    modules = dict(graph.named_modules())
    for node in graph.graph.nodes:
        sources = [n for n in node.all_input_nodes if n.name not in constants]
        if node.op == "placeholder":
            known[node.name] = POINT
        elif not sources:
            constants.add(node.name)
        else:
            before = merged([known[n.name] for n in sources])
            known[node.name] = None if before is None else _after(node, before, modules, shapes)
    return known


def _after(
    node: fx.Node, before: tuple[Axis, Axis], modules: dict[str, Any], shapes: dict[str, tuple[int, ...]]
) -> Field:
    if node.op == "call_module":
        module = modules[str(node.target)]
        if isinstance(module, SLIDING):
            return _sliding(before, module.kernel_size, module.stride, module.padding, getattr(module, "dilation", 1))
        if isinstance(module, nn.AdaptiveAvgPool2d | nn.AdaptiveMaxPool2d):
            return _adaptive(node, before, shapes)
        return before if isinstance(module, POINTWISE_MODULES) else None
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    if name in POINTWISE_NAMES:
        return before
    special = SPECIAL.get(node.target if callable(node.target) else name)
    return special(node, before) if special else None


def _pair(value: Any) -> tuple[int, int]:
    return (int(value[0]), int(value[1])) if isinstance(value, Sequence) else (int(value), int(value))


def _sliding(before: tuple[Axis, Axis], kernel: Any, stride: Any, padding: Any, dilation: Any) -> Field:
    kernels, dilations = _pair(kernel), _pair(dilation)
    strides = _pair(stride if stride is not None and stride != [] else kernel)
    if padding == "same":
        paddings = tuple((k - 1) * d // 2 for k, d in zip(kernels, dilations, strict=True))
    else:
        paddings = (0, 0) if padding == "valid" else _pair(padding)
    rows, columns = (axis.window(kernels[i], strides[i], paddings[i], dilations[i]) for i, axis in enumerate(before))
    return rows, columns


def _adaptive(node: fx.Node, before: tuple[Axis, Axis], shapes: dict[str, tuple[int, ...]]) -> Field:
    """A window where the sizes divide, the whole image elsewhere."""
    given, made = shapes.get(node.all_input_nodes[0].name, ()), shapes.get(node.name, ())
    if len(given) != 4 or len(made) != 4 or given[2] % made[2] or given[3] % made[3] or made[2:] == (1, 1):
        return None
    steps = (given[2] // made[2], given[3] // made[3])
    return _sliding(before, steps, steps, 0, 1)


def _functional_pool(node: fx.Node, before: tuple[Axis, Axis]) -> Field:
    arguments = dict(zip(("input", "kernel_size", "stride", "padding"), node.args, strict=False)) | node.kwargs
    dilation = node.kwargs.get("dilation", 1)
    return _sliding(before, arguments["kernel_size"], arguments.get("stride"), arguments.get("padding", 0), dilation)


def _functional_pad(node: fx.Node, before: tuple[Axis, Axis]) -> Field:
    pad = cast("Sequence[int]", node.kwargs.get("pad", node.args[1] if len(node.args) > 1 else ()))
    edges = (pad[2] if len(pad) > 2 else 0, pad[0] if pad else 0)  # top, left
    rows, columns = (
        Axis(axis.stride, axis.low - edge * axis.stride, axis.high - edge * axis.stride)
        for axis, edge in zip(before, edges, strict=True)
    )
    return rows, columns


def _indexed(node: fx.Node, before: tuple[Axis, Axis]) -> Field:
    """A strided view such as `x[:, :, ::2, ::2]`."""
    index = node.args[1]
    if not isinstance(index, tuple) or len(index) != 4 or not all(isinstance(part, slice) for part in index):
        return None
    rows, columns = (
        Axis(
            axis.stride * (part.step or 1),
            axis.low + (part.start or 0) * axis.stride,
            axis.high + (part.start or 0) * axis.stride,
        )
        for axis, part in zip(before, cast("tuple[slice, ...]", index)[2:], strict=True)
    )
    return rows, columns


SPECIAL: dict[Any, Callable[[fx.Node, tuple[Axis, Axis]], Field]] = {
    F.max_pool2d: _functional_pool,
    torch.max_pool2d: _functional_pool,
    F.avg_pool2d: _functional_pool,
    F.pad: _functional_pad,
    operator.getitem: _indexed,
}
