"""Sprites: all pictures of one unit in one JPEG, each in its own cell."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

BLOCK_PX = 16  # of JPEG with halved colours; cells of whole blocks keep pictures from mixing over more than one pixel
ROW_PX = 512
MARGIN_COLOR = (122, 124, 128)
QUALITY = 85


@dataclass(frozen=True)
class EncodedPicture:
    """An encoded picture and the side (px) of the square that it is fitted into."""

    content: bytes
    side: int


@dataclass(frozen=True)
class Sprite:
    """One JPEG and the boxes of its pictures.

    Args:
        content: the encoded image.
        width: width of the image, px.
        height: height of the image, px.
        boxes: left, top, width and height of each picture in px, in the order of the pictures.
        broken: positions of pictures that could not be decoded; the sprite shows a crossed-out square for each.
    """

    content: bytes
    width: int
    height: int
    boxes: tuple[tuple[int, int, int, int], ...]
    broken: frozenset[int]


def sprite(pictures: Sequence[EncodedPicture]) -> Sprite:
    """The pictures in their order, row by row; consecutive pictures of the same size share rows.

    Raises:
        ValueError: if there are no pictures.
    """
    if not pictures:
        raise ValueError("a sprite needs at least one picture, got none; a unit without pictures has no sprite")
    corners, width, height = cells([picture.side for picture in pictures])
    sheet = Image.new("RGB", (width, height), MARGIN_COLOR)
    boxes: list[tuple[int, int, int, int]] = []
    broken: set[int] = set()
    for index, (picture, (left, top)) in enumerate(zip(pictures, corners, strict=True)):
        image = decoded(picture.content, picture.side)
        if image is None:
            broken.add(index)
            image = crossed_out(picture.side)
        sheet.paste(image, (left, top))
        boxes.append((left, top, *image.size))
    stream = io.BytesIO()
    sheet.save(stream, "JPEG", quality=QUALITY)
    return Sprite(stream.getvalue(), width, height, tuple(boxes), frozenset(broken))


def cells(sides: Sequence[int]) -> tuple[list[tuple[int, int]], int, int]:
    """Upper left corners of the cells for squares of these sides, and the width and height of the sprite.

    >>> cells([128, 64, 64])
    ([(0, 0), (0, 128), (64, 128)], 128, 192)
    """
    corners: list[tuple[int, int]] = []
    left = top = row = width = 0
    for side in sides:
        cell = -(-side // BLOCK_PX) * BLOCK_PX
        if left and (cell != row or left + cell > ROW_PX):
            left, top = 0, top + row
        row = cell
        corners.append((left, top))
        left += cell
        width = max(width, left)
    return corners, width, top + row


def decoded(content: bytes, side: int) -> Image.Image | None:
    """The picture in RGB, resized to fit a square of this side; None if the bytes cannot be decoded.

    Smaller pictures are enlarged by whole factors, so that their pixels stay visible.
    """
    try:
        with Image.open(io.BytesIO(content)) as picture:
            picture.draft("RGB", (side, side))  # a large JPEG is decoded at a fraction of its size
            return fitted(picture.convert("RGB"), side)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def fitted(picture: Image.Image, side: int) -> Image.Image:
    """The picture, resized so that its longer side is at most `side`."""
    longest = max(picture.size)
    if longest == side or (longest < side and side // longest == 1):
        return picture
    factor = side // longest if longest < side else side / longest
    size = (max(1, round(picture.width * factor)), max(1, round(picture.height * factor)))
    return picture.resize(size, Image.Resampling.NEAREST if longest < side else Image.Resampling.LANCZOS)


def crossed_out(side: int) -> Image.Image:
    """The square that replaces a picture that could not be decoded."""
    square = Image.new("RGB", (side, side), MARGIN_COLOR)
    drawing = ImageDraw.Draw(square)
    low, high = side // 12, side - side // 12
    drawing.line((low, low, high, high), fill=(230, 230, 230), width=max(1, side // 32))
    drawing.line((low, high, high, low), fill=(230, 230, 230), width=max(1, side // 32))
    return square
