"""Preprocessing of pictures for a network: resize, centre crop, scale, normalise; by default the network's own."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

INTERPOLATIONS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


@dataclass(frozen=True)
class Preprocessing:
    """How a picture becomes a network's input.

    Args:
        resize_px: short side in px before the crop.
        input_px: side in px of the centred square that the network sees.
        mean: mean of each channel, for values in 0..1.
        std: standard deviation of each channel.
        interpolation: "bilinear" or "bicubic".
    """

    resize_px: int
    input_px: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str = "bilinear"

    @property
    def channels(self) -> int:
        """1 for grey input, 3 for colour."""
        return len(self.mean)

    def view(self, pixels: UInt8[np.ndarray, "y x 3"]) -> UInt8[np.ndarray, "s s c"]:
        """The square of the picture that the network sees, before normalisation; boxes and crops refer to it."""
        picture = Image.fromarray(pixels)
        if self.channels == 1:
            picture = picture.convert("L")
        width, height = picture.size
        short = min(width, height)
        # The long side is truncated, not rounded, as in torchvision, so that the pixels are the same.
        size = (int(self.resize_px * width / short), int(self.resize_px * height / short))
        if picture.size != size:
            picture = picture.resize(size, INTERPOLATIONS[self.interpolation])
        array = _centred(np.asarray(picture), self.input_px)
        return array[:, :, None] if array.ndim == 2 else array

    def batch(self, views: UInt8[np.ndarray, "b y x c"], device: torch.device) -> Float[Tensor, "b c y x"]:
        """Normalised float32 inputs of a network."""
        # Pillow's arrays are read-only, which torch does not accept.
        values = torch.from_numpy(np.require(views, requirements=["C", "W"])).to(device).permute(0, 3, 1, 2)
        return self.normalised(values.float() / 255)

    def normalised(self, values: Float[Tensor, "b c y x"]) -> Float[Tensor, "b c y x"]:
        """Values in 0..1 minus the mean, divided by the standard deviation."""
        mean = torch.tensor(self.mean, device=values.device, dtype=values.dtype).view(1, -1, 1, 1)
        std = torch.tensor(self.std, device=values.device, dtype=values.dtype).view(1, -1, 1, 1)
        return ((values - mean) / std).contiguous(memory_format=torch.channels_last)

    def at(self, input_px: int | None) -> Preprocessing:
        """The same for another input size, with the same share of the picture in the crop."""
        if input_px is None or input_px == self.input_px:
            return self
        return replace(
            self, input_px=input_px, resize_px=max(input_px, round(self.resize_px * input_px / self.input_px))
        )

    def fitted(self, crop: UInt8[np.ndarray, "y x c"]) -> UInt8[np.ndarray, "s s c"]:
        """A whole crop resized to the input's size and channels; nothing is cut off."""
        picture = Image.fromarray(crop if crop.shape[2] == 3 else crop[:, :, 0])
        picture = picture.convert("RGB" if self.channels == 3 else "L")
        if picture.size != (self.input_px, self.input_px):
            picture = picture.resize((self.input_px, self.input_px), INTERPOLATIONS[self.interpolation])
        array = np.asarray(picture)
        return array[:, :, None] if array.ndim == 2 else array


def _centred(array: UInt8[np.ndarray, "y x ..."], side: int) -> UInt8[np.ndarray, "s s ..."]:
    """The central square; sides that are too short are padded with black."""
    height, width = array.shape[:2]
    short_y, short_x = max(0, side - height), max(0, side - width)
    if short_y or short_x:
        pad = ((short_y // 2, short_y - short_y // 2), (short_x // 2, short_x - short_x // 2))
        array = np.pad(array, pad + ((0, 0),) * (array.ndim - 2))
        height, width = array.shape[:2]
    top, left = round((height - side) / 2), round((width - side) / 2)
    return array[top : top + side, left : left + side]


def from_torchvision(transforms: Any) -> Preprocessing | None:
    """From the `transforms()` of torchvision weights; None if they don't make one square crop, as in segmentation."""
    if not getattr(transforms, "crop_size", None) or not getattr(transforms, "resize_size", None):
        return None
    return Preprocessing(
        resize_px=int(transforms.resize_size[0]),
        input_px=int(transforms.crop_size[0]),
        mean=tuple(transforms.mean),
        std=tuple(transforms.std),
        interpolation="bicubic" if "bicubic" in str(transforms.interpolation).lower() else "bilinear",
    )


def from_timm(config: dict[str, Any]) -> Preprocessing:
    """From the result of `timm.data.resolve_data_config`."""
    side = int(config["input_size"][-1])
    return Preprocessing(
        resize_px=math.floor(side / float(config["crop_pct"])),
        input_px=side,
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        interpolation="bicubic" if config["interpolation"] == "bicubic" else "bilinear",
    )
