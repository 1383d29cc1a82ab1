"""The weights by which a channel reads its layer's inputs, as it is read: batch norm behind the layer included."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn

from polyscan.errors import JobError
from polyscan.inputs.virtual import OF_INPUTS
from polyscan.units import CALL_MARK, Unit, parent_and_role, virtual_layer
from polyscan.vision.networks import Network
from polyscan.vision.readouts import Reader

EXACT = 1e-3
"""Largest deviation of a channel from its readout, in sd of the channel: more than single precision makes."""


class InputReadout(NamedTuple):
    """A channel as a function of what its layer reads: weights . x + bias."""

    weights: Float64[np.ndarray, " c"]
    bias: float


def input_readouts(
    network: Network, reader: Reader, units: Sequence[Unit], batch: Float[Tensor, "b c y x"]
) -> dict[Unit, InputReadout]:
    """How each channel reads its layer's inputs.

    What follows the layer before it is read (batch norm) is linear, too; its slope and intercept are fitted on a batch.

    Args:
        network: the network.
        reader: of the units' layers and of their inputs.
        units: channels of linear layers or 1 x 1 convolutions.
        batch: a batch of inputs.

    Raises:
        JobError: if a unit is virtual, or no such function of the inputs.
    """
    for unit in units:
        if parent_and_role(unit.layer)[0] != unit.layer:
            raise JobError(f"{unit} is no channel of the network, so it can't be split; use --how vectors or second")
    maps: dict[str, Float64[np.ndarray, "p c"]] = {}

    def keep(index: int, values: Float[Tensor, "b c y x"]) -> None:
        flat = values.double().permute(0, 2, 3, 1).flatten(0, 2)
        maps[reader.points[index].layer] = flat.cpu().numpy()

    reader.read(batch, keep)
    return {unit: _fitted(network, unit, maps) for unit in units}


def _fitted(network: Network, unit: Unit, maps: dict[str, Float64[np.ndarray, "p c"]]) -> InputReadout:
    own, inputs = maps[unit.layer][:, unit.channel], maps[virtual_layer(unit.layer, OF_INPUTS)]
    weights = layer_weights(network.module, unit.layer)[unit.channel]
    plain = inputs @ weights
    slope, intercept = np.polyfit(plain, own, 1) if np.ptp(plain) > 0 else (0.0, 0.0)
    if np.abs(slope * plain + intercept - own).max() > EXACT * max(float(own.std()), np.finfo(np.float32).eps):
        raise JobError(
            f"{unit} is not the linear function of its layer's inputs that its weights say, so it can't be split "
            "exactly; use --how vectors or second"
        )
    return InputReadout(slope * weights, float(intercept))


def layer_weights(module: nn.Module, layer: str) -> Float64[np.ndarray, "u c"]:
    """The weights of a linear layer or a 1 x 1 convolution as a matrix."""
    found = module.get_submodule(layer.partition(CALL_MARK)[0])
    with torch.no_grad():
        return found.get_parameter("weight").flatten(1).double().cpu().numpy()
