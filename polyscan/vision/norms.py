"""Statistics of batch norms, computed anew for a network that has never been trained."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn


def set_norm_statistics(module: nn.Module, batches: Iterable[Float[Tensor, "b c y x"]]) -> int:
    """Gives each batch norm the mean and variance of its inputs, averaged over the batches; all else stays as it is.

    While they are measured, each batch norm divides by the statistics of the batch itself, as it does in training.

    Args:
        module: the network, in eval mode; changed in place.
        batches: inputs of the network, at least one batch.

    Returns:
        the number of batch norms.

    Departs from `torch.optim.swa_utils.update_bn` in that dropout and other layers stay in eval mode.
    """
    norms = [part for part in module.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
    norms = [norm for norm in norms if norm.running_mean is not None]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over batches
        norm.train()
    try:
        with torch.no_grad():
            for batch in batches if norms else ():
                module(batch)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
            norm.eval()
    return len(norms)
