"""The networks that `validate --trained` trains: the functions that a job names to build them.

Each output layer is a plain linear layer of vectors, read like any layer of a user's network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors.torch import load_file
from torch import Tensor, nn

from polyscan.errors import ModelError
from polyscan.vision.networks import NetworkRequest, load_network
from polyscan.vision.tracing import LAYER_TYPES

WIDTHS = (16, 32, 64)


class SmallNetwork(nn.Module):
    """Three convolutions with batch norm, the mean over positions, and a linear output layer.

    Args:
        channels: of its images.
        n_outputs: number of outputs.
    """

    def __init__(self, channels: int, n_outputs: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = channels
        for place, width in enumerate(WIDTHS):
            stride = 1 if place == 0 else 2
            layers += [nn.Conv2d(before, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
            before = width
        self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.out = nn.Linear(before, n_outputs)

    def forward(self, images: Float[Tensor, "b c y x"]) -> Float[Tensor, "b o"]:
        """The outputs for each image."""
        return self.out(self.body(images))


class SmallNetworks(nn.Module):
    """Networks that see the same images and share nothing; the last one has an output for each class.

    The last one's penultimate layer is the space of `embed.model = "penultimate"`.
    """

    def __init__(self, channels: int, sizes: Sequence[int]) -> None:
        super().__init__()
        self.nets = nn.ModuleList(SmallNetwork(channels, size) for size in sizes)

    def forward(self, images: Float[Tensor, "b c y x"]) -> Float[Tensor, "b o"]:
        """The outputs of all networks, one after the other."""
        return torch.cat([net(images) for net in self.nets], dim=1)


class Trunk(nn.Module):
    """A network up to the input of its last linear layer or convolution, averaged over positions.

    Raises:
        ModelError: if it calls no such layer.
    """

    def __init__(self, network: nn.Module, example: Float[Tensor, "b c y x"]) -> None:
        super().__init__()
        self.network = network
        self._seen: list[tuple[nn.Module, Tensor]] = []
        layers = [part for part in network.modules() if isinstance(part, LAYER_TYPES)]
        hooks = [layer.register_forward_pre_hook(self._record) for layer in layers]
        with torch.no_grad():
            network(example)
        for hook in hooks:
            hook.remove()
        if not self._seen:
            raise ModelError(
                f"{type(network).__name__} calls no linear layer or convolution, whose input could be read"
            )
        self._seen[-1][0].register_forward_pre_hook(self._record)

    def _record(self, layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self._seen[:] = [(layer, inputs[0])]

    def forward(self, images: Float[Tensor, "b c y x"]) -> Float[Tensor, "b d"]:
        """The features of each image."""
        self.network(images)
        layer, features = self._seen.pop()
        if isinstance(layer, nn.Linear):  # the features lie along the last axis
            return features.reshape(len(features), -1, features.shape[-1]).mean(dim=1)
        return features.flatten(start_dim=2).mean(dim=2)


class Heads(nn.Module):
    """Linear output layers that all read the features of one network."""

    def __init__(self, trunk: Trunk, n_features: int, sizes: Sequence[int]) -> None:
        super().__init__()
        self.trunk = trunk
        self.nets = nn.ModuleList(nn.ModuleDict({"out": nn.Linear(n_features, size)}) for size in sizes)

    def forward(self, images: Float[Tensor, "b c y x"]) -> Float[Tensor, "b o"]:
        """The outputs of all layers, one after the other."""
        features = self.trunk(images)
        return torch.cat([head["out"](features) for head in self.nets.children()], dim=1)  # pyright: ignore


def output_layer(network: int) -> str:
    """The name of the output layer of one network.

    >>> output_layer(3)
    'nets.3.out'
    """
    return f"nets.{network}.out"


def weights_name(network: int) -> str:
    """The name of the file with the weights of one network."""
    return f"{network:03d}.safetensors"


def networks(channels: int, sizes: list[int], weights: str) -> SmallNetworks:
    """Small networks trained from scratch; `weights` is the folder of their files."""
    built = SmallNetworks(channels, sizes)
    _load(built.nets, weights)
    return built


def heads(network: dict[str, Any], folder: str, sizes: list[int], weights: str) -> Heads:
    """Output layers trained on the features of a network, which the settings of `[network]` describe."""
    trunk = trunk_of(network, folder)
    first = load_file(Path(weights) / weights_name(0))
    built = Heads(trunk, first["out.weight"].shape[1], sizes)
    _load(built.nets, weights)
    return built


def trunk_of(network: Mapping[str, Any], folder: str) -> Trunk:
    """The network of these settings up to its penultimate layer, on the CPU."""
    loaded = load_network(NetworkRequest(**network, folder=folder), torch.device("cpu"))
    preprocessing = loaded.preprocessing
    return Trunk(loaded.module, torch.zeros(2, preprocessing.channels, *preprocessing.size))


def _load(nets: nn.ModuleList, folder: str) -> None:
    for place, net in enumerate(nets):
        net.load_state_dict(load_file(Path(folder) / weights_name(place)))
