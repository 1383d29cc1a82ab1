"""Fields after sliding windows: convolutions and poolings, as modules and as functions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch.nn.functional as F
from torch import fx, nn

from polyscan.vision.fields.axes import Geometries, Geometry, Spans
from polyscan.vision.fields.graph import Walk, arguments, pair
from polyscan.vision.fields.padding import padded
from polyscan.vision.tracing import function_name

SLIDING = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)
Pair = tuple[int, int]


def slid(node: fx.Node, field: Geometries, walk: Walk, window: Any) -> Geometries | None:
    """The field after a convolution or pooling module; the padding of subclasses is inferred from the sizes."""
    kernels, strides, dilations = pair(window.kernel_size), pair(window.stride), pair(getattr(window, "dilation", 1))
    paddings: Sequence[int | None] = _declared_paddings(window.padding, kernels, dilations)
    sizes, new_sizes = walk.shape(node.all_input_nodes[0])[2:], walk.shape(node)[2:]
    if (mode := getattr(window, "padding_mode", "zeros")) != "zeros":
        edges = window._reversed_padding_repeated_twice
        inside = padded(field, sizes, rows=edges[2:], columns=edges[:2], mode=mode)
        return inside and _after_window(inside, kernels, strides, (0, 0), dilations, new_sizes)
    if type(window) not in SLIDING and sizes and new_sizes:
        reaches = [(kernel - 1) * dilation for kernel, dilation in zip(kernels, dilations, strict=True)]
        paddings = list(map(_inferred_padding, reaches, strides, paddings, sizes, new_sizes))
    if None in paddings:
        return None
    return _after_window(field, kernels, strides, cast("Pair", tuple(paddings)), dilations, new_sizes)


def _after_window(  # noqa: PLR0917  # the settings of a window, in torch's order
    field: Geometries, kernels: Pair, strides: Pair, paddings: Pair, dilations: Pair, new_sizes: Sequence[int]
) -> Geometries | None:
    if len(new_sizes) != 2 and any(isinstance(axis, Spans) for axis in field):
        return None  # how many positions there are is not known
    sizes = new_sizes if len(new_sizes) == 2 else (0, 0)
    windows = zip(field, kernels, strides, paddings, dilations, sizes, strict=True)
    rows, columns = (axis.window(*window) for axis, *window in windows)
    return rows, columns


def _declared_paddings(padding: Any, kernels: Pair, dilations: Pair) -> Pair:
    if padding == "same":
        return (kernels[0] - 1) * dilations[0] // 2, (kernels[1] - 1) * dilations[1] // 2
    return (0, 0) if padding == "valid" else pair(padding)


def _inferred_padding(reach: int, stride: int, padding: int, size: int, new_size: int) -> int | None:
    """The declared padding if it explains the output's size, else TensorFlow's `same` if that does, else unknown."""
    if new_size == (size + 2 * padding - reach - 1) // stride + 1:
        return padding
    same = max((math.ceil(size / stride) - 1) * stride + reach + 1 - size, 0)
    return same // 2 if new_size == math.ceil(size / stride) else None


def _convolved(node: fx.Node, field: Geometries, walk: Walk) -> Geometries | None:
    """The field after `F.conv2d`."""
    settings = arguments(node, "input", "weight", "bias", "stride", "padding", "dilation")
    kernels = walk.shape(settings["weight"])[2:]
    if len(kernels) != 2:
        return None
    kernels, dilations = pair(kernels), pair(settings.get("dilation", 1))
    paddings = _declared_paddings(settings.get("padding", 0), kernels, dilations)
    return _after_window(field, kernels, pair(settings.get("stride", 1)), paddings, dilations, walk.shape(node)[2:])


def adaptive(node: fx.Node, field: Geometries, walk: Walk) -> Geometries | None:
    """The field after adaptive pooling; the whole image if one position is left."""
    shape, new_shape = walk.shape(node.all_input_nodes[0]), walk.shape(node)
    if len(shape) != 4 or len(new_shape) != 4 or new_shape[2:] == (1, 1):
        return None
    rows, columns = map(_adaptive, field, shape[2:], new_shape[2:])
    return rows, columns


def _adaptive(axis: Geometry, size: int, n: int) -> Geometry:
    """One axis after adaptive pooling to n positions, whose windows have several sizes unless n divides the size."""
    if size % n == 0:
        return axis.window(size // n, size // n, 0, 1, n)
    windows = [range(position * size // n, -(-(position + 1) * size // n)) for position in range(n)]
    return axis.spans(size).gathered(windows, size / n)


def pooled(node: fx.Node, field: Geometries, walk: Walk) -> Geometries | None:
    """The field after `F.max_pool2d` or `F.avg_pool2d`."""
    names = ("input", "kernel_size", "stride", "padding")
    if function_name(node) != "avg_pool2d":
        names = (*names, "dilation")
    settings = arguments(node, *names)
    if any(isinstance(value, fx.Node) for name, value in settings.items() if name != "input"):
        return None  # the graph computes a size, as in `F.avg_pool2d(x, x.size(3))`: usually the whole map
    kernels = pair(settings["kernel_size"])
    strides = pair(settings.get("stride") or kernels)
    paddings, dilations = pair(settings.get("padding", 0)), pair(settings.get("dilation", 1))
    return _after_window(field, kernels, strides, paddings, dilations, walk.shape(node)[2:])


WINDOWS: dict[Any, Callable[[fx.Node, Geometries, Walk], Geometries | None]] = {
    F.max_pool2d: pooled,  # torch dispatches it by a nameless function
    F.adaptive_max_pool2d: adaptive,
    **dict.fromkeys(("max_pool2d", "avg_pool2d"), pooled),
    "adaptive_avg_pool2d": adaptive,
    "conv2d": _convolved,
}
