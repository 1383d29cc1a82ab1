"""Folding: the same function with fewer layers, only where it is allowed."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import nn

from polyscan.vision.tracing import folded, traced


def norms(module: nn.Module) -> int:
    return sum(isinstance(part, nn.BatchNorm2d) for part in module.modules())


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
def test_folded_is_the_same_function_without_batch_norms(name: str) -> None:
    torch.manual_seed(0)
    network = torchvision.models.get_model(name, weights=None).eval().requires_grad_(requires_grad=False)
    for part in network.modules():  # statistics and scales as after training, some of them negative
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_(0, 0.1)
            part.running_var.uniform_(0.5, 2)
            part.weight.normal_(1, 0.5)
            part.bias.normal_(0, 0.1)
    batch = torch.randn(2, 3, 64, 64)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with torch.inference_mode():
        expected = network(batch)
        graph = folded(traced(network))
        found = graph(batch)
    assert norms(graph) == 0
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))
    assert norms(network) > 0
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert not any(weight.requires_grad for weight in graph.parameters())


class Shared(nn.Module):
    """A convolution that is read by something else than its norm as well, and a norm without a convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.BatchNorm2d(3)
        self.conv = nn.Conv2d(3, 3, 1)
        self.norm = nn.BatchNorm2d(3)
        self.untracked = nn.BatchNorm2d(3, track_running_stats=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv(self.first(x))
        return self.untracked(self.conv(y)) + self.norm(y) + y


def test_what_must_not_be_folded_is_not() -> None:
    network = Shared().eval()
    network.norm.weight.data.fill_(2.0)
    graph = folded(traced(network))
    assert norms(graph) == 3
    batch = torch.randn(2, 3, 4, 4)
    assert torch.equal(graph(batch), network(batch))
