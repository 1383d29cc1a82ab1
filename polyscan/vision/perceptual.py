"""Perceptual distance with one forward pass per image: features whose squared Euclidean distance *is* the distance.

LPIPS between two images is, summed over layers, the spatial mean of sum_c w_c (f_c - g_c)^2 over channel-normalised
features. With sqrt(w_c / positions) multiplied into the features it is |u - v|^2 of two plain vectors, so the mean
over all pairs is computed without computing any pair (`MeanPairwise`).
Source: Zhang et al. 2018, "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric"; package `lpips`.
"""

from __future__ import annotations

import importlib.metadata
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from polyscan.errors import ModelError
from polyscan.vision.networks import Network
from polyscan.vision.readouts import Reader

SMALLEST_PX = (
    64  # distances at different sizes are not comparable, so the short side of small images is resized to this
)
LPIPS_NETS = ("alex", "vgg", "squeeze")


@dataclass(frozen=True)
class PerceptualDistance:
    """A distance between images, as the squared distance of their features.

    Args:
        name: the name in the job.
        features: from images in 0..1 to one vector each; |u - v|^2 is the distance.
        version: package, trunk and version, for the run's record.
    """

    name: str
    features: Callable[[Float[Tensor, "b c y x"]], Float[Tensor, "b d"]]
    version: str


def load_distance(name: str, *, network: Network, device: torch.device) -> PerceptualDistance:
    """The distance of that name.

    Args:
        name: `lpips:alex`, `lpips:vgg`, `lpips:squeeze`, or `features`: LPIPS' formula with all weights 1 over the
            convolutions of the scanned network (if no LPIPS trunk suits the inputs or the machine; the run says so).
        network: the scanned network.
        device: where the distance is computed.

    Raises:
        ModelError: if the name is unknown or the trunk can't be loaded.
    """
    if name == "features":
        return _own_features(network)
    library, _, net = name.partition(":")
    if library != "lpips" or net not in LPIPS_NETS:
        raise ModelError(f'unknown `visualize.distance` "{name}"; allowed: lpips:{"|".join(LPIPS_NETS)}, or features')
    return _lpips(name, net, device)


def _lpips(name: str, net: str, device: torch.device) -> PerceptualDistance:
    model = _lpips_model(name, net).eval().requires_grad_(requires_grad=False).to(device)
    weights = [_head_weights(head) for head in model.lins]

    def features(images: Float[Tensor, "b c y x"]) -> Float[Tensor, "b d"]:
        # As people see them: the first three of many channels, one channel as grey.
        colour = images[:, :3] if images.shape[1] >= 3 else images[:, :1].expand(-1, 3, -1, -1)
        layers = model.net(model.scaling_layer(_sized(colour) * 2 - 1))
        return torch.cat([_weighed(layer, weight) for layer, weight in zip(layers, weights, strict=True)], dim=1)

    return PerceptualDistance(name, features, f"lpips {importlib.metadata.version('lpips')} {net} v0.1")


def _lpips_model(name: str, net: str) -> Any:
    import lpips  # noqa: PLC0415  # imports torchvision's models

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # lpips still uses old argument names of torchvision
            return lpips.LPIPS(net=net, verbose=False)
    except OSError as error:
        raise ModelError(
            f"the trunk of {name} is not on this machine and could not be fetched ({error}); "
            "copy torchvision's weights to TORCH_HOME, or set `visualize.distance` to another one: "
            f"lpips:{'|'.join(LPIPS_NETS)}, features"
        ) from error


def _head_weights(head: nn.Module) -> Float[Tensor, " c"]:
    convolution = next(part for part in head.modules() if isinstance(part, nn.Conv2d))
    return convolution.weight.detach().flatten()


def _sized(images: Float[Tensor, "b c y x"]) -> Float[Tensor, "b c y x"]:
    height, width = images.shape[2:]
    short = min(height, width)
    if short >= SMALLEST_PX:
        return images
    size = (round(height * SMALLEST_PX / short), round(width * SMALLEST_PX / short))
    return nn.functional.interpolate(images, size=size, mode="bilinear", align_corners=False)


def _weighed(layer: Float[Tensor, "b c y x"], weight: Float[Tensor, " c"]) -> Float[Tensor, "b d"]:
    # The same small number as in lpips' own normalisation, so that both agree on black images as well.
    unit = layer / (layer.square().sum(dim=1, keepdim=True).sqrt() + 1e-10)
    return (unit * (weight[:, None, None] / (layer.shape[2] * layer.shape[3])).sqrt()).flatten(1)


def _own_features(network: Network) -> PerceptualDistance:
    convolutions = _convolutions(network)
    if not convolutions:
        raise ModelError(f"{network.name} has no convolutions whose features could make a distance")
    reader = Reader(network, convolutions)

    def features(images: Float[Tensor, "b c y x"]) -> Float[Tensor, "b d"]:
        size = network.preprocessing.size
        sized = nn.functional.interpolate(images, size=size, mode="bilinear", align_corners=False)
        layers: list[Tensor] = []

        def sink(_: int, maps: Tensor) -> None:
            maps = maps.relu()
            layers.append(_weighed(maps, torch.ones(maps.shape[1], device=maps.device)))

        reader.pass_through(network.preprocessing.normalised(sized), sink)
        return torch.cat(layers, dim=1)

    return PerceptualDistance("features", features, f"features of {network.name}, unit weights")


def _convolutions(network: Network) -> list[str]:
    """Names of the convolutions that a forward pass calls; those of auxiliary heads are never called."""
    modules = dict(network.module.named_modules())
    layers = [point.layer for point in Reader(network, "all").points]
    # A layer that is no module is a kernel of the network's own.
    return [layer for layer in layers if not isinstance(modules.get(layer.partition("#")[0]), nn.Linear)]


class MeanPairwise:
    """Mean distance over all pairs of the images so far, in the memory of one vector.

    Sum over pairs of |u_i - u_j|^2 = I sum |u_i|^2 - |sum u_i|^2, in float64.
    """

    def __init__(self) -> None:
        self.n = 0
        self._sum: Tensor | None = None
        self._squares = 0.0

    def add(self, features: Float[Tensor, " d"]) -> float:
        """Adds an image and gives the new mean; NaN for the first image."""
        vector = features.double()
        self._sum = vector.clone() if self._sum is None else self._sum + vector
        self._squares += float(vector.square().sum())
        self.n += 1
        if self.n == 1:
            return float("nan")
        pairs = self.n * (self.n - 1) / 2
        # For equal images the two terms are equal; rounding may make the difference slightly negative.
        return max(0.0, self.n * self._squares - float(self._sum.square().sum())) / pairs
