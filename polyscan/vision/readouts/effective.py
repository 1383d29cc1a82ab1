"""How much of the image a unit really hears: the square that holds most of its gradient."""

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
        reader: the network with its chosen layers.
        points: indices of read points.
        batch: a few inputs.

    Returns:
        One side a point; inf where the layer has no place in the image.

    Source: Luo et al. 2016, "Understanding the effective receptive field in deep convolutional neural networks".
    """
    inputs = batch.detach().clone().requires_grad_(True)
    wanted = {index for index in points if reader.points[index].field is not None}
    sums: dict[int, Tensor] = {}

    def middle(index: int, maps: Float[Tensor, "b u y x"]) -> None:
        if index in wanted:
            signs = torch.randint(0, 2, (maps.shape[1],), generator=torch.Generator().manual_seed(index)) * 2.0 - 1
            sums[index] = (maps[:, :, maps.shape[2] // 2, maps.shape[3] // 2] * signs.to(maps)).sum()

    with torch.enable_grad():
        reader.pass_through(inputs, middle)
        gradients = {
            index: torch.autograd.grad(value, inputs, retain_graph=True)[0].abs().sum(dim=(0, 1)).double().cpu()
            for index, value in sums.items()
        }
    return [
        side_of(gradients[index], centre_of(reader.points[index])) if index in gradients else math.inf
        for index in points
    ]


def centre_of(point: ReadPoint) -> tuple[float, float]:
    """Where in the input the middle position of its map looks."""
    assert point.field is not None
    rows, columns = point.field
    return (
        (point.map_size[0] // 2) * rows.stride + (rows.low + rows.high) / 2,
        (point.map_size[1] // 2) * columns.stride + (columns.low + columns.high) / 2,
    )


def side_of(gradient: Float[Tensor, "y x"], centre: tuple[float, float]) -> float:
    """Side of the smallest square around `centre` that holds 90 % of `gradient`; nan where there is none."""
    height, width = gradient.shape
    away_y = (torch.arange(height) - centre[0]).abs()[:, None]
    away_x = (torch.arange(width) - centre[1]).abs()[None, :]
    away = torch.maximum(away_y.expand(height, width), away_x.expand(height, width)).flatten()
    order = away.argsort(stable=True)
    held = gradient.flatten()[order].cumsum(dim=0)
    if not float(held[-1]) > 0:
        return math.nan
    reached = int(torch.searchsorted(held, SHARE * held[-1]))
    return 2 * float(away[order[min(reached, len(order) - 1)]]) + 1
