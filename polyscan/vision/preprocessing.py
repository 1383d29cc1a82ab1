"""Preprocessing of pictures for a network: resize, crop, scale, normalise; by default the network's own."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from polyscan.vision.channels import for_embedder, for_network
from polyscan.vision.framing import Size, framed, resized_size, sides
from polyscan.vision.resampling import resized_window

DEFAULT_CROP_PCT = 0.875  # timm's
TRAINING_ONLY = {"random": "bilinear"}
"""timm draws one of two interpolations while it trains; where it does not, it takes this one."""


@dataclass(frozen=True)
class Preprocessing:
    """How a picture becomes a network's input.

    Args:
        resize_px: size before the crop; with `center`, one number is the picture's short side. See `resized_size`.
        input_px: size of the centred crop that the network sees: its side, or height and width.
        mean: mean of each channel, for values in 0..1.
        std: standard deviation of each channel.
        interpolation: one of `INTERPOLATIONS`.
        crop_mode: "center": the rest of the picture is lost; "squash": its shape is; "border": nothing is lost, a
            border in the mean's colour is added.
        channels_last: whether a position's channels lie together in memory, which is fast; not all networks allow it.
    """

    resize_px: int | Size
    input_px: int | Size
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str = "bilinear"
    crop_mode: str = "center"
    channels_last: bool = True

    @property
    def memory_format(self) -> torch.memory_format:
        """The order of inputs in memory."""
        return torch.channels_last if self.channels_last else torch.contiguous_format

    @property
    def channels(self) -> int:
        """1 for grey input, 3 for colour, up to 32."""
        return len(self.mean)

    @property
    def size(self) -> Size:
        """Height and width of the input in px."""
        return sides(self.input_px)

    def view(self, pixels: UInt8[np.ndarray, "y x c"]) -> UInt8[np.ndarray, "h w n"]:
        """What the network sees of a picture, before normalisation; boxes and crops refer to it.

        Memory is bounded by the picture and the input, whatever the picture's shape.

        Raises:
            ImagesError: if the picture has not the channels that the network takes.
        """
        picture = for_network(pixels, self.channels)
        size = resized_size((pixels.shape[0], pixels.shape[1]), self.resize_px, self.crop_mode)
        is_bordered = self.crop_mode == "border"
        fill = [round(255 * min(1.0, max(0.0, value))) if is_bordered else 0 for value in self.mean]
        return framed(picture, size, self.size, interpolation=self.interpolation, fill=fill)

    def batch(self, views: UInt8[np.ndarray, "b y x c"], device: torch.device) -> Float[Tensor, "b c y x"]:
        """Normalised float32 inputs of a network."""
        # Pillow's arrays are read-only, which torch does not accept.
        values = torch.from_numpy(np.require(views, requirements=["C", "W"])).to(device).permute(0, 3, 1, 2)
        return self.normalised(values.float() / 255)

    def normalised(self, values: Float[Tensor, "b c y x"]) -> Float[Tensor, "b c y x"]:
        """Values in 0..1 minus the mean, divided by the standard deviation."""
        mean = torch.tensor(self.mean, device=values.device, dtype=values.dtype).view(1, -1, 1, 1)
        std = torch.tensor(self.std, device=values.device, dtype=values.dtype).view(1, -1, 1, 1)
        return ((values - mean) / std).contiguous(memory_format=self.memory_format)

    def at(self, input_px: int | Size | None) -> Preprocessing:
        """The same for another input size, with the same share of the picture in the crop."""
        if input_px is None or sides(input_px) == self.size:
            return self
        height, width = (
            max(new, round(before * new / old)) if before >= old else round(before * new / old)
            for new, old, before in zip(sides(input_px), self.size, sides(self.resize_px), strict=True)
        )
        is_one = isinstance(self.resize_px, int) and height == width
        return replace(self, input_px=input_px, resize_px=height if is_one else (height, width))

    def fitted(self, crop: UInt8[np.ndarray, "y x c"]) -> UInt8[np.ndarray, "h w n"]:
        """A whole crop resized to the input's size and channels; nothing is cut off.

        Raises:
            ImagesError: if the input has neither one channel, three, nor as many as the crop.
        """
        rows, columns = (range(side) for side in self.size)
        picture = for_embedder(crop, self.channels)
        return resized_window(picture, self.size, rows, columns, interpolation=self.interpolation)


def from_torchvision(transforms: Any) -> Preprocessing | None:
    """From the `transforms()` of torchvision weights; None if they don't make one square crop, as in segmentation."""
    resize_size, crop_size = (getattr(transforms, name, None) or () for name in ("resize_size", "crop_size"))
    if len(crop_size) != 1 or len(resize_size) != 1:
        return None
    interpolation = str(transforms.interpolation.value)
    return Preprocessing(
        resize_px=int(resize_size[0]),
        input_px=int(crop_size[0]),
        mean=tuple(transforms.mean),
        std=tuple(transforms.std),
        # On pictures, torchvision's two kinds of "nearest" are one.
        interpolation="nearest" if interpolation.startswith("nearest") else interpolation,
    )


def from_timm(config: Mapping[str, Any]) -> Preprocessing:
    """From the result of `timm.data.resolve_data_config`: the preprocessing that timm evaluates the network with."""
    channels, *size = (int(number) for number in config["input_size"])
    crop_pct = float(config.get("crop_pct") or DEFAULT_CROP_PCT)
    height, width = (math.floor(side / crop_pct) for side in size)
    mean, std = (tuple(config[name]) * (channels if len(config[name]) == 1 else 1) for name in ("mean", "std"))
    interpolation, mode = str(config["interpolation"]), str(config.get("crop_mode") or "center")
    return Preprocessing(
        resize_px=height if height == width else (height, width),
        input_px=size[0] if size[0] == size[1] else (size[0], size[1]),
        mean=mean,
        std=std,
        interpolation=TRAINING_ONLY.get(interpolation, interpolation),
        crop_mode=mode if mode in ("squash", "border") else "center",
    )
