"""Operations of a network's code as modules, so that a rule of attribution can be hung onto each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from zennit.layer import Sum


class Elementwise(nn.Module):
    """A function of each value alone.

    Args:
        function: of a tensor and the arguments.
        args: after the tensor.
        kwargs: by name.
    """

    def __init__(self, function: Callable[..., Tensor], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        super().__init__()
        self.function, self.args, self.kwargs = function, args, dict(kwargs)

    def forward(self, value: Tensor) -> Tensor:
        """The function's values."""
        return self.function(value, *self.args, **self.kwargs)


class Averaged(Elementwise):
    """An average over positions, or another sum of values with weights that are not negative."""


class Added(nn.Module):
    """An addition of tensors: a `Sum` over a new last axis, as zennit's rule for residual additions takes it."""

    def __init__(self) -> None:
        super().__init__()
        self.sum = Sum()

    def forward(self, one: Any, other: Any) -> Tensor:
        """The sum of two tensors, or of a tensor and a number."""
        like = one if isinstance(one, Tensor) else other
        terms = [torch.as_tensor(term, dtype=like.dtype, device=like.device) for term in (one, other)]
        return self.sum(torch.stack(torch.broadcast_tensors(*terms), dim=-1))


class Gated(nn.Module):
    """A signal times its gate."""

    def forward(self, signal: Tensor, gate: Tensor) -> Tensor:
        """The product."""
        return signal * gate
