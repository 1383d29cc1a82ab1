"""Small networks for attribution: with everything that a rule is named for, and with what has none."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Residual(nn.Module):
    """Two convolutions with batch norm around a residual connection, everything in place that can be."""

    def __init__(self, *, bias: bool = True) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1, bias=bias)
        self.first = nn.Conv2d(6, 6, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(6)
        self.second = nn.Conv2d(6, 6, 3, padding=1, bias=bias)
        self.relu = nn.ReLU(inplace=True)
        self.head = nn.Conv2d(6, 4, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.stem(x))
        y = self.relu(self.norm(self.first(x)))
        y = self.second(y)
        y += x
        return self.head(self.relu(y))


class Gates(nn.Module):
    """A gate that squeezes and excites, a pool, a clipped activation, and a linear layer on averages."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.squeeze = nn.Conv2d(6, 6, 1)
        self.last = nn.Conv2d(6, 5, 3, padding=1)
        self.head = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.relu6(self.stem(x), inplace=True)
        x = torch.sigmoid(self.squeeze(x.mean(dim=(2, 3), keepdim=True))) * x
        x = nn.functional.max_pool2d(nn.functional.silu(self.last(x)), 2)
        return self.head(x.mean([2, 3]))


class Overwriting(nn.Module):
    """Throws away what an activation in place returns, and reads its input again."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.last = nn.Conv2d(6, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        torch.relu_(x)
        return self.last(x)


class Odd(nn.Module):
    """A product of a layer with itself after a softmax: no rule of relevance goes through that."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.last = nn.Conv2d(6, 4, 1)
        self.side = nn.Conv2d(3, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.softmax(self.last(torch.relu(self.stem(x))), dim=1) + self.side(x)


class Branching(nn.Module):
    """Its way depends on values, so it can't be traced."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.last = nn.Conv2d(6, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.last(x if float(x.sum()) > -1e9 else -x)


def seeded(kind: type[nn.Module], **options: bool) -> nn.Module:
    """A network of that kind with seeded weights and norms that are no identity."""
    torch.manual_seed(0)
    network = kind(**options)
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            for values in (part.weight.data, part.running_var):
                values.uniform_(0.5, 1.5)
            if options.get("bias", True):
                part.bias.data.normal_()
                part.running_mean.normal_()
    return network
