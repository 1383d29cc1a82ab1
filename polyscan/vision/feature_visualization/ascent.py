"""Gradient ascent for a batch of units: one parameter tensor, one FFT, one optimizer, the network cut at the layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor

from polyscan.vision.feature_visualization.augmentation import Views
from polyscan.vision.feature_visualization.spectrum import SpectrumShape
from polyscan.vision.framing import Size, sides
from polyscan.vision.perceptual import PerceptualDistance
from polyscan.vision.preprocessing import Preprocessing
from polyscan.vision.readouts import OwnMaps, Reader, ReadPoint, Trunk

BETAS = (0.9, 0.999)
EPSILON = 1e-8
SMALLEST_CANVAS = 16


@dataclass(frozen=True)
class AscentSettings:
    """How images are optimised.

    Args:
        steps: steps per image.
        step_size: Adam's step size.
        objective: "centre", the unit at the middle position (one object), or "channel", its mean (texture).
        jitter_px: random shifts at each step, as in `Views`, drawn for each image.
        rotate_degrees: random rotations at each step.
        scale: random factors of size at each step.
        batch: number of images optimised at once; the same in every batch, even if fewer are needed.
        canvas_px: side of a square image; None for the receptive field and a margin.
    """

    steps: int = 128
    step_size: float = 0.05
    objective: str = "centre"
    jitter_px: int = 4
    rotate_degrees: float = 0.0
    scale: float = 0.0
    batch: int = 32
    canvas_px: int | None = None


def numbers_of(precision: str, device: torch.device) -> torch.dtype:
    """Number format of the passes of the ascent; `auto` is bfloat16 if the device multiplies it faster than float32."""
    if precision != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16}[precision]
    if device.type == "cuda":
        is_faster = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        is_faster = device.type == "cpu" and (
            torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
        )
    return torch.bfloat16 if is_faster else torch.float32


def canvas_size(point: ReadPoint, preprocessing: Preprocessing, settings: AscentSettings) -> Size:
    """Height and width of the image in px, at most those of the input.

    A square of the receptive field, room for the jitter and one stride on each side. The whole input if the layer sees
    it, behind operations such as upsampling, which may need inputs of some sizes, and where the network folds images
    into another axis, which is divided by the input's size.
    """
    if not point.layout.is_by_image:
        return preprocessing.size
    if settings.canvas_px is not None:
        return sides(settings.canvas_px)
    if point.field is None or max(point.map_size) == 1 or any(axis.varies for axis in point.field):
        return preprocessing.size
    largest = max(axis.field + 2 * axis.stride for axis in point.field) + 2 * settings.jitter_px
    stride = math.ceil(max(axis.stride for axis in point.field))
    side = max(SMALLEST_CANVAS, math.ceil(largest / stride) * stride)
    height, width = preprocessing.size
    return min(height, side), min(width, side)


class Ascent:
    """Optimises batches of images for units of one layer.

    Args:
        trunk: the network up to the layer, from inputs to maps [b, c, y, x]; reads the activations of finished images.
        own_maps: the same, but gives the map of one unit per image, perhaps in a shorter number format; the ascent
            uses its gradients.
        preprocessing: the network's.
        size: height and width of the images in px.
        settings: how images are optimised.
        device: where the network runs.
    """

    def __init__(
        self,
        trunk: Trunk,
        own_maps: OwnMaps,
        preprocessing: Preprocessing,
        size: Size,
        settings: AscentSettings,
        *,
        device: torch.device,
    ) -> None:
        self.trunk = trunk
        self.own_maps = own_maps
        self.preprocessing = preprocessing
        self.settings = settings
        self.shape = SpectrumShape(size, preprocessing.channels, device)
        self.device = device

    def __call__(
        self, channels: Sequence[int], seeds: Sequence[int], starts: Float32[np.ndarray, "b c y x"] | None = None
    ) -> UInt8[np.ndarray, "b y x c"]:
        """One finished image per channel and seed; there must be `settings.batch` of both.

        Args:
            channels: the units to activate.
            seeds: seed of everything that is random about each image.
            starts: images in 0..1 to start from; None for noise.
        """
        units = torch.tensor(list(channels), device=self.device)
        spectra = self.shape.start(seeds) if starts is None else self.shape.of(torch.from_numpy(starts))
        views = self._views(seeds)
        first, second = torch.zeros_like(spectra), torch.zeros_like(spectra)
        for step in range(self.settings.steps):
            spectra.requires_grad_()
            images = self.shape.images(spectra, views.shifts(step))
            value = self.objective(views.turned(images, step), units)
            (gradient,) = torch.autograd.grad(value.sum(), spectra)
            with torch.no_grad():
                first.lerp_(gradient, 1 - BETAS[0])
                second.mul_(BETAS[1]).addcmul_(gradient, gradient, value=1 - BETAS[1])
                spectra = self._adam_step(spectra.detach(), first, second, step)
        return self._pixels(spectra)

    def _adam_step(self, spectra: Tensor, first: Tensor, second: Tensor, step: int) -> Tensor:
        """The spectra after one step of Adam, upwards, from both moments of the gradients so far."""
        spread = (second / (1 - BETAS[1] ** (step + 1))).sqrt_().add_(EPSILON)
        return spectra.addcdiv(first, spread, value=self.settings.step_size / (1 - BETAS[0] ** (step + 1)))

    def starts(self, seeds: Sequence[int]) -> UInt8[np.ndarray, "b y x c"]:
        """The images that the ascent starts from."""
        return self._pixels(self.shape.start(seeds))

    def _pixels(self, spectra: Float[Tensor, "b c y f 2"]) -> UInt8[np.ndarray, "b y x c"]:
        with torch.no_grad():
            return (self.shape.images(spectra) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()

    def objective(self, images: Float[Tensor, "b c y x"], units: Tensor) -> Float[Tensor, " b"]:
        """The value to maximise, for each image."""
        maps = self.own_maps(self.preprocessing.normalised(images), units)
        if self.settings.objective == "channel":
            return maps.mean(dim=(1, 2))
        return maps[:, maps.shape[1] // 2, maps.shape[2] // 2]

    def peaks(self, images: UInt8[np.ndarray, "b y x c"], channels: Sequence[int]) -> Float[np.ndarray, " b"]:
        """Peak over space of each image's unit, on the finished image as it is stored."""
        with torch.inference_mode():
            maps = self.trunk(self.preprocessing.batch(images, self.device))
        return maps[torch.arange(len(channels)), list(channels)].amax(dim=(1, 2)).float().cpu().numpy()

    def features(self, distance: PerceptualDistance, images: UInt8[np.ndarray, "n y x c"]) -> Float[Tensor, "n d"]:
        """The features of finished images that a distance compares."""
        features: list[Tensor] = []
        for start in range(0, len(images), self.settings.batch):
            batch = np.ascontiguousarray(images[start : start + self.settings.batch])
            values = torch.from_numpy(batch).to(self.device).permute(0, 3, 1, 2).float() / 255
            with torch.inference_mode():
                features.append(distance.features(values))
        return torch.cat(features)

    def _views(self, seeds: Sequence[int]) -> Views:
        settings = self.settings
        return Views(
            seeds,
            settings.steps,
            jitter_px=settings.jitter_px,
            rotate_degrees=settings.rotate_degrees,
            scale=settings.scale,
            aspect=self.shape.size[0] / self.shape.size[1],
            device=self.device,
        )


def ascent_to(
    reader: Reader, point: ReadPoint, settings: AscentSettings, precision: str = "auto", *, compiled: bool = False
) -> Ascent:
    """The ascent for the units of one of a reader's layers.

    Args:
        reader: reader of the network.
        point: the layer.
        settings: how images are optimised.
        precision: see `numbers_of`.
        compiled: whether the passes of the ascent use `torch.compile`.
    """
    network = reader.network
    own_maps = reader.own_maps(point, numbers_of(precision, network.device))
    if compiled:
        own_maps = torch.compile(own_maps, dynamic=False)
    size = canvas_size(point, network.preprocessing, settings)
    return Ascent(reader.trunk(point), own_maps, network.preprocessing, size, settings, device=network.device)
