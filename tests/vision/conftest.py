"""What every test of this room needs: a network around hand-wired layers, and random inputs for it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from polyscan.vision.networks import Network
from polyscan.vision.preprocessing import Preprocessing

CPU = torch.device("cpu")


@pytest.fixture
def network_of() -> Callable[..., Network]:
    """Wraps a module: `network_of(module, side=16, channels=3)`, its input scaled to -1..1."""

    def wrap(module: nn.Module, *, side: int = 16, channels: int = 3, name: str = "toy") -> Network:
        preprocessing = Preprocessing(side, side, (0.5,) * channels, (0.5,) * channels)
        return Network(name, module.eval().requires_grad_(requires_grad=False), preprocessing, CPU)

    return wrap


@pytest.fixture
def noise() -> Callable[..., Tensor]:
    """Seeded normal noise of a shape."""
    return lambda *shape, seed=0: torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
