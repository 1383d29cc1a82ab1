"""Fields after sliding windows: convolutions and poolings, as modules and as functions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch.nn.functional as F
from torch import fx, nn

from polyscan.vision.fields.axes import Axes, Axis, Field, Walk, pair
from polyscan.vision.tracing import function_name

SLIDING = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)


def slid(node: fx.Node, input_field: Axes, walk: Walk, window: Any) -> Field:
    """The field after a convolution or pooling module; the padding of subclasses is inferred from the sizes."""
    kernels, strides, dilations = pair(window.kernel_size), pair(window.stride), pair(getattr(window, "dilation", 1))
    paddings: Sequence[int | None] = _declared_paddings(window.padding, kernels, dilations)
    sizes, new_sizes = walk.shape(node.all_input_nodes[0])[2:], walk.shape(node)[2:]
    if getattr(window, "padding_mode", "zeros") == "circular":
        return None
    if type(window) not in SLIDING and sizes and new_sizes:
        reaches = [(kernel - 1) * dilation for kernel, dilation in zip(kernels, dilations, strict=True)]
        paddings = list(map(_inferred_padding, reaches, strides, paddings, sizes, new_sizes))
    if None in paddings:
        return None
    rows, columns = map(Axis.window, input_field, kernels, strides, cast("Sequence[int]", paddings), dilations)
    return rows, columns


def _declared_paddings(padding: Any, kernels: tuple[int, int], dilations: tuple[int, int]) -> tuple[int, int]:
    if padding == "same":
        return (kernels[0] - 1) * dilations[0] // 2, (kernels[1] - 1) * dilations[1] // 2
    return (0, 0) if padding == "valid" else pair(padding)


def _inferred_padding(reach: int, stride: int, padding: int, size: int, new_size: int) -> int | None:
    """The declared padding if it explains the output's size, else TensorFlow's `same` if that does, else unknown."""
    if new_size == (size + 2 * padding - reach - 1) // stride + 1:
        return padding
    same = max((math.ceil(size / stride) - 1) * stride + reach + 1 - size, 0)
    return same // 2 if new_size == math.ceil(size / stride) else None


def adaptive(node: fx.Node, input_field: Axes, walk: Walk) -> Field:
    """The field after adaptive pooling: that of a window if the sizes divide, else the whole image."""
    shape, new_shape = walk.shape(node.all_input_nodes[0]), walk.shape(node)
    if len(shape) != 4 or len(new_shape) != 4 or new_shape[2:] == (1, 1):
        return None
    if shape[2] % new_shape[2] or shape[3] % new_shape[3]:
        return None
    steps = (shape[2] // new_shape[2], shape[3] // new_shape[3])
    return input_field[0].window(steps[0], steps[0], 0, 1), input_field[1].window(steps[1], steps[1], 0, 1)


def pooled(node: fx.Node, input_field: Axes, walk: Walk) -> Field:
    """The field after `F.max_pool2d` or `F.avg_pool2d`."""
    names = ("input", "kernel_size", "stride", "padding")
    if function_name(node) != "avg_pool2d":
        names = (*names, "dilation")
    arguments = dict(zip(names, node.args, strict=False)) | node.kwargs
    if any(isinstance(value, fx.Node) for name, value in arguments.items() if name != "input"):
        return None  # the graph computes a size, as in `F.avg_pool2d(x, x.size(3))`: usually the whole map
    kernels = pair(arguments["kernel_size"])
    strides = pair(arguments.get("stride") or kernels)
    paddings, dilations = pair(arguments.get("padding", 0)), pair(arguments.get("dilation", 1))
    rows, columns = map(Axis.window, input_field, kernels, strides, paddings, dilations)
    return rows, columns


WINDOWS: dict[Any, Callable[[fx.Node, Axes, Walk], Field]] = {
    F.max_pool2d: pooled,  # torch dispatches it by a nameless function
    **dict.fromkeys(("max_pool2d", "avg_pool2d"), pooled),
    "adaptive_avg_pool2d": adaptive,
}
