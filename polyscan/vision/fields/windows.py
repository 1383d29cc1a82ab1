"""What sliding windows do to a field: convolutions and poolings, as modules and as functions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, cast

import torch.nn.functional as F
from torch import fx, nn

from polyscan.vision.fields.axes import Axes, Axis, Field, Walk, pair
from polyscan.vision.tracing import function_name

SLIDING = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)


def slid(node: fx.Node, before: Axes, walk: Walk, window: Any) -> Field:
    """Behind a convolution or pooling module; the padding of derived ones is told from the sizes."""
    kernels, strides, dilations = pair(window.kernel_size), pair(window.stride), pair(getattr(window, "dilation", 1))
    if window.padding == "same":
        paddings = cast("tuple[int, int]", tuple((k - 1) * d // 2 for k, d in zip(kernels, dilations, strict=True)))
    else:
        paddings = (0, 0) if window.padding == "valid" else pair(window.padding)
    given, made = walk.shape(node.all_input_nodes[0])[2:], walk.shape(node)[2:]
    if getattr(window, "padding_mode", "zeros") == "circular":
        return None
    axes: list[Axis] = []
    for i, axis in enumerate(before):
        padding = paddings[i]
        if type(window) not in SLIDING and given and made:
            found = _told_padding((kernels[i] - 1) * dilations[i], strides[i], padding, given[i], made[i])
            if found is None:
                return None
            padding = found
        axes.append(axis.window(kernels[i], strides[i], padding, dilations[i]))
    return axes[0], axes[1]


def _told_padding(reach: int, stride: int, padding: int, given: int, made: int) -> int | None:
    """The declared padding where it explains the output's size, else TensorFlow's `same` where that does."""
    if made == (given + 2 * padding - reach - 1) // stride + 1:
        return padding
    same = max((math.ceil(given / stride) - 1) * stride + reach + 1 - given, 0)
    return same // 2 if made == math.ceil(given / stride) else None


def adaptive(node: fx.Node, before: Axes, walk: Walk) -> Field:
    """A window where the sizes divide, the whole image elsewhere."""
    given, made = walk.shape(node.all_input_nodes[0]), walk.shape(node)
    if len(given) != 4 or len(made) != 4 or given[2] % made[2] or given[3] % made[3] or made[2:] == (1, 1):
        return None
    steps = (given[2] // made[2], given[3] // made[3])
    return before[0].window(steps[0], steps[0], 0, 1), before[1].window(steps[1], steps[1], 0, 1)


def pooled(node: fx.Node, before: Axes, walk: Walk) -> Field:
    """Behind `F.max_pool2d` or `F.avg_pool2d`."""
    names = ("input", "kernel_size", "stride", "padding")
    if function_name(node) != "avg_pool2d":
        names = (*names, "dilation")
    given = dict(zip(names, node.args, strict=False)) | node.kwargs
    if any(isinstance(value, fx.Node) for name, value in given.items() if name != "input"):
        return None  # a size that the graph computes, as in `F.avg_pool2d(x, x.size(3))`: the whole map as a rule
    kernels = pair(given["kernel_size"])
    strides = pair(given.get("stride") or kernels)
    paddings, dilations = pair(given.get("padding", 0)), pair(given.get("dilation", 1))
    rows, columns = (axis.window(kernels[i], strides[i], paddings[i], dilations[i]) for i, axis in enumerate(before))
    return rows, columns


WINDOWS: dict[Any, Callable[[fx.Node, Axes, Walk], Field]] = {
    F.max_pool2d: pooled,  # torch dispatches it by a nameless function
    **dict.fromkeys(("max_pool2d", "avg_pool2d"), pooled),
    "adaptive_avg_pool2d": adaptive,
}
