"""Where the network's input lies in a picture: the size that it is resized to, and the crop, for each crop mode."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8

from polyscan.vision.resampling import resized_window

CROP_MODES = ("center", "squash", "border")
Size = tuple[int, int]
"""Height and width in px."""


def sides(px: int | Sequence[int]) -> Size:
    """Height and width of a size that is written as one number if it is square.

    >>> sides(224), sides([128, 64])
    ((224, 224), (128, 64))
    """
    return (px, px) if isinstance(px, int) else (int(px[0]), int(px[1]))


def resized_size(picture: Size, resize_px: int | Size, crop_mode: str) -> Size:
    """Height and width that a picture is resized to before the crop.

    - `squash`: `resize_px`, whatever the shape of the picture.
    - `border`: the largest that lies within `resize_px`, in the picture's shape; at least 1 px.
    - `center`: the smallest that covers `resize_px`, in the picture's shape. As in torchvision and timm, the long side
      is truncated if `resize_px` is one number, and rounded if it is height and width.
    """
    if crop_mode == "squash":
        return sides(resize_px)
    if crop_mode == "center" and isinstance(resize_px, int):
        short = min(picture)
        return int(resize_px * picture[0] / short), int(resize_px * picture[1] / short)
    ratios = [length / target for length, target in zip(picture, sides(resize_px), strict=True)]
    ratio = max(ratios) if crop_mode == "border" else min(ratios)
    return max(1, round(picture[0] / ratio)), max(1, round(picture[1] / ratio))


def framed(
    pixels: UInt8[np.ndarray, "y x c"], resized: Size, size: Size, *, interpolation: str, fill: Sequence[int]
) -> UInt8[np.ndarray, "h w c"]:
    """The centred crop of a resized picture.

    Args:
        pixels: the picture.
        resized: height and width that it is resized to.
        size: height and width of the crop.
        interpolation: one of `INTERPOLATIONS`.
        fill: value of each channel where the resized picture is smaller than the crop.
    """
    (top, rows), (left, columns) = (_overlap(length, side) for length, side in zip(resized, size, strict=True))
    seen = resized_window(pixels, resized, rows, columns, interpolation=interpolation)
    if seen.shape[:2] == size:
        return seen
    view = np.empty((*size, pixels.shape[2]), dtype=np.uint8)
    view[:] = np.array(fill, dtype=np.uint8)
    view[top : top + len(rows), left : left + len(columns)] = seen
    return view


def _overlap(length: int, side: int) -> tuple[int, range]:
    """Where an axis of the resized picture begins in the crop, and the part of it that the crop holds."""
    if length < side:
        return (side - length) // 2, range(length)
    start = round((length - side) / 2)  # as in torchvision: to the even one of two
    return 0, range(start, start + side)
