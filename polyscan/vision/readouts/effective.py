"""Effective receptive fields: the square of the image that holds most of a unit's gradient."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from polyscan.vision.readouts.points import ReadPoint
from polyscan.vision.readouts.reader import Reader

SHARE = 0.9


def effective_fields(reader: Reader, points: Sequence[int], batch: Float[Tensor, "b c y x"]) -> list[float]:
    """Side of the centred square that holds 90 % of the gradient of a layer's middle position, in px of the input.

    The gradient is that of a random sum of the channels, its size summed over colours and over the images.

    Args:
        reader: the reader of the chosen layers of a network.
        points: indices of read points.
        batch: a few inputs.

    Returns:
        One side per point; inf if the layer's receptive field is unknown.

    Source: Luo et al. 2016, "Understanding the effective receptive field in deep convolutional neural networks".
    """
    inputs = batch.detach().clone().requires_grad_(True)
    with_field = {index for index in points if reader.points[index].field is not None}
    sums: dict[int, Tensor] = {}

    def sink(index: int, maps: Float[Tensor, "b u y x"]) -> None:
        if index in with_field:
            sums[index] = _random_sum(maps, index)

    with torch.enable_grad():
        reader.pass_through(inputs, sink)
        gradients = {
            index: torch.autograd.grad(value, inputs, retain_graph=True)[0].abs().sum(dim=(0, 1)).double().cpu()
            for index, value in sums.items()
        }
    return [
        side_of(gradients[index], centre_of(reader.points[index])) if index in gradients else math.inf
        for index in points
    ]


def _random_sum(maps: Float[Tensor, "b u y x"], seed: int) -> Float[Tensor, ""]:
    """Sum of the middle position's channels with random signs."""
    signs = torch.randint(0, 2, (maps.shape[1],), generator=torch.Generator().manual_seed(seed)) * 2.0 - 1
    return (maps[:, :, maps.shape[2] // 2, maps.shape[3] // 2] * signs.to(maps)).sum()


def centre_of(point: ReadPoint) -> tuple[float, float]:
    """The middle, in the input, of the receptive field of a map's middle position."""
    assert point.field is not None
    rows, columns = point.field
    return (
        (point.map_size[0] // 2) * rows.stride + (rows.low + rows.high) / 2,
        (point.map_size[1] // 2) * columns.stride + (columns.low + columns.high) / 2,
    )


def side_of(gradient: Float[Tensor, "y x"], centre: tuple[float, float]) -> float:
    """Side of the smallest square around `centre` that holds 90 % of `gradient`; nan if the gradient is 0."""
    height, width = gradient.shape
    distance_y = (torch.arange(height) - centre[0]).abs()[:, None]
    distance_x = (torch.arange(width) - centre[1]).abs()[None, :]
    distance = torch.maximum(distance_y.expand(height, width), distance_x.expand(height, width)).flatten()
    order = distance.argsort(stable=True)
    sums = gradient.flatten()[order].cumsum(dim=0)
    if not float(sums[-1]) > 0:
        return math.nan
    last = int(torch.searchsorted(sums, SHARE * sums[-1]))
    return 2 * float(distance[order[min(last, len(order) - 1)]]) + 1
