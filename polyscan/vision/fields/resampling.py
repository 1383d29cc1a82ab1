"""Fields after operations that make maps larger: transposed convolutions, interpolation, pixel shuffle.

What a position of an interpolated map depends on is measured: unit vectors go through torch's own interpolation, so its
rules of rounding need not be told again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

from polyscan.vision.fields.axes import Geometries, Geometry
from polyscan.vision.fields.graph import Walk, arguments, pair

RESAMPLING = (nn.ConvTranspose2d, nn.Upsample, nn.PixelShuffle, nn.PixelUnshuffle)


def resampled_by_module(node: fx.Node, field: Geometries, walk: Walk, module: Any) -> Geometries | None:
    """The field after one of the modules `RESAMPLING`."""
    if isinstance(module, nn.ConvTranspose2d):
        return _transposed(node, field, walk, {**vars(module), "kernel_size": module.kernel_size})
    if isinstance(module, nn.Upsample):
        return _interpolated(node, field, walk, vars(module))
    if isinstance(module, nn.PixelShuffle):
        return _shuffled(node, field, walk, module.upscale_factor)
    return _unshuffled(node, field, walk, module.downscale_factor)


def _transposed(node: fx.Node, field: Geometries, walk: Walk, settings: Mapping[str, Any]) -> Geometries | None:
    sizes, new_sizes = _sizes(node, walk)
    if not sizes:
        return None
    names = ("kernel_size", "stride", "padding", "dilation")
    windows = zip(*(pair(settings[name]) for name in names), strict=True)
    rows, columns = map(_after_transposed, field, sizes, new_sizes, windows)
    return rows, columns


def _after_transposed(axis: Geometry, size: int, n: int, window: tuple[int, int, int, int]) -> Geometry:
    """One axis after a transposed convolution: position q gets input p through the tap q + padding - p * stride."""
    kernel, stride, padding, dilation = window
    taps: list[Sequence[int]] = []
    for shifted in range(padding, n + padding):
        starts = range(shifted, shifted - (kernel - 1) * dilation - 1, -dilation)
        taps.append([start // stride for start in starts if start % stride == 0])
    return axis.spans(size).gathered(taps, 1 / stride)


def _interpolated(node: fx.Node, field: Geometries, walk: Walk, settings: Mapping[str, Any]) -> Geometries | None:
    sizes, new_sizes = _sizes(node, walk)
    scale = settings.get("scale_factor")
    if not sizes or any(isinstance(part, fx.Node) for part in (scale if isinstance(scale, tuple) else (scale,))):
        return None  # the graph computes the scale
    if scale is None or settings.get("recompute_scale_factor"):
        scale = (None, None)
    scales = scale if isinstance(scale, Sequence) else (scale, scale)
    how = {name: settings[name] for name in ("mode", "align_corners", "antialias") if settings.get(name) is not None}
    rows, columns = (
        _after_interpolation(*axis, how) for axis in zip(field, sizes, new_sizes, scales, strict=True)
    )  # fmt: skip
    return rows, columns


def _after_interpolation(axis: Geometry, size: int, n: int, scale: float | None, how: Mapping[str, Any]) -> Geometry:
    """One axis after interpolation to n positions, with the factor `scale` if one is given."""
    target = {"size": (n, 2)} if scale is None else {"scale_factor": (float(scale), 1.0)}
    units = torch.eye(size)[None, :, :, None].repeat(1, 1, 1, 2)  # torch's antialiasing is wrong for a single column
    weights = F.interpolate(units, **target, **how)[0, :, :, 0]  # [input, position]
    step = size / n if scale is None else 1 / scale
    if how.get("align_corners") and n > 1:
        step = (size - 1) / (n - 1)
    return axis.spans(size).gathered([column.nonzero().flatten().tolist() for column in weights.T], step)


def _shuffled(node: fx.Node, field: Geometries, walk: Walk, factor: int) -> Geometries | None:
    sizes, new_sizes = _sizes(node, walk)
    if not sizes:
        return None
    rows, columns = (
        axis.spans(size).gathered([[position // factor] for position in range(n)], 1 / factor)
        for axis, size, n in zip(field, sizes, new_sizes, strict=True)
    )
    return rows, columns


def _unshuffled(node: fx.Node, field: Geometries, walk: Walk, factor: int) -> Geometries | None:
    sizes, new_sizes = _sizes(node, walk)
    if not sizes:
        return None
    rows, columns = (axis.window(factor, factor, 0, 1, n) for axis, n in zip(field, new_sizes, strict=True))
    return rows, columns


def _sizes(node: fx.Node, walk: Walk) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Rows and columns before and after; () for both if they are not those of maps."""
    shape, new_shape = walk.shape(node.all_input_nodes[0]), walk.shape(node)
    return (shape[2:], new_shape[2:]) if len(shape) == len(new_shape) == 4 else ((), ())


def _transposed_by_call(node: fx.Node, field: Geometries, walk: Walk) -> Geometries | None:
    names = ("input", "weight", "bias", "stride", "padding", "output_padding", "groups", "dilation")
    settings = {"stride": 1, "padding": 0, "dilation": 1} | arguments(node, *names)
    return _transposed(node, field, walk, {**settings, "kernel_size": walk.shape(settings["weight"])[2:]})


def _interpolated_by_call(node: fx.Node, field: Geometries, walk: Walk) -> Geometries | None:
    names = ("input", "size", "scale_factor", "mode", "align_corners", "recompute_scale_factor", "antialias")
    return _interpolated(node, field, walk, arguments(node, *names))


def _shuffled_by_call(node: fx.Node, field: Geometries, walk: Walk) -> Geometries | None:
    return _shuffled(node, field, walk, arguments(node, "input", "upscale_factor")["upscale_factor"])


def _unshuffled_by_call(node: fx.Node, field: Geometries, walk: Walk) -> Geometries | None:
    return _unshuffled(node, field, walk, arguments(node, "input", "downscale_factor")["downscale_factor"])


RESAMPLINGS: dict[Any, Callable[[fx.Node, Geometries, Walk], Geometries | None]] = {
    "conv_transpose2d": _transposed_by_call,
    **dict.fromkeys(("interpolate", "upsample"), _interpolated_by_call),
    "pixel_shuffle": _shuffled_by_call,
    "pixel_unshuffle": _unshuffled_by_call,
}
