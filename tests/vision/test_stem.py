"""The first convolution in its faster form is the same function."""

from __future__ import annotations

import pytest
import torch
from torch import fx, nn

from polyscan.vision.stem import DenseStem
from polyscan.vision.tracing import folded


@pytest.mark.parametrize("size", [(32, 32), (33, 31), (17, 40)])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("channels", "kernel", "stride", "padding"),
    [(3, 7, 2, 3), (3, 3, 2, 1), (3, 3, 2, 0), (1, 5, 2, 2), (3, 11, 4, 2), (4, 4, 4, 0), (3, (7, 5), 3, (1, 2))],
)
def test_it_is_the_convolution(noise, channels, kernel, stride, padding, bias, size):
    torch.manual_seed(0)
    convolution = nn.Conv2d(channels, 6, kernel, stride, padding, bias=bias).double()
    assert DenseStem.fits(convolution)
    stem = DenseStem(convolution)
    images = noise(2, channels, *size).double().requires_grad_()
    expected, found = convolution(images), stem(images)
    torch.testing.assert_close(found, expected)
    weights = torch.randn(expected.shape, dtype=torch.float64)
    (of_expected,), (of_found,) = (torch.autograd.grad((each * weights).sum(), images) for each in (expected, found))
    torch.testing.assert_close(of_found, of_expected)


@pytest.mark.parametrize(
    "other",
    [
        nn.Conv2d(3, 4, 3),
        nn.Conv2d(16, 4, 3, 2),
        nn.Conv2d(4, 4, 3, 2, groups=2),
        nn.Conv2d(3, 4, 3, 2, dilation=2),
        nn.Conv2d(3, 4, 3, 2, padding_mode="reflect", padding=1),
        nn.Conv2d(3, 4, 3, (2, 1)),
        nn.Conv2d(3, 4, 1, 2),
        nn.Conv2d(3, 4, 3, padding="same"),
        nn.ReLU(),
    ],
)
def test_what_it_is_not_made_for(other):
    assert not DenseStem.fits(other)


def test_a_folded_graph_has_it_and_the_network_keeps_its_own(noise):
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 3)
    ).eval()
    nn.init.normal_(module[1].running_mean)
    nn.init.normal_(module[1].weight)
    images = noise(2, 3, 21, 21)
    with torch.no_grad():
        expected = module(images)
        graph = folded(fx.symbolic_trace(module))
        torch.testing.assert_close(graph(images), expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(module(images), expected)
    assert any(isinstance(part, DenseStem) for part in graph.modules())
    assert type(module[0]) is nn.Conv2d
