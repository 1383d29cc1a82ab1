"""Weights that are computed before each pass (weight norm, spectral norm, pruning), computed once and for all.

In eval mode they are always the same, and where layers are folded or cut, the weights themselves are needed.
"""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.nn.utils import parametrize, prune, remove_spectral_norm, remove_weight_norm
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm


def make_weights_plain(module: nn.Module) -> None:
    """Replaces computed weights by their values, in place.

    Args:
        module: a network in eval mode, after its weights were loaded: the names in its state dict change.
    """
    for part in list(module.modules()):
        for name in list(getattr(part, "parametrizations", {})):
            computed: Any = part.parametrizations
            _own_copies(computed[name])
            parametrize.remove_parametrizations(part, name, leave_parametrized=True)
        for hook in list(part._forward_pre_hooks.values()):
            _make_plain(part, hook)
    module.requires_grad_(requires_grad=False)


def _make_plain(part: nn.Module, hook: object) -> None:
    """Removes a hook that computes a weight, and leaves the weight."""
    if isinstance(hook, WeightNorm):
        remove_weight_norm(part, hook.name)
    elif isinstance(hook, SpectralNorm):
        remove_spectral_norm(part, hook.name)
    elif isinstance(hook, prune.BasePruningMethod):
        name = str(hook._tensor_name)
        part.register_parameter(f"{name}_orig", _copy(part.get_parameter(f"{name}_orig")))
        prune.remove(part, name)


def _own_copies(computed: nn.Module) -> None:
    """Gives a computed weight copies of the parameters that it is made of: other layers may share them."""
    for name, parameter in list(computed.named_parameters(recurse=False)):
        computed.register_parameter(name, _copy(parameter))


def _copy(parameter: nn.Parameter) -> nn.Parameter:
    return nn.Parameter(parameter.detach().clone())  # with a gradient, or torch would not leave a parameter
