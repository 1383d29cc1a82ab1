"""Sprites: all pictures of one unit in one JPEG, each in a cell of its own."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

BLOCK_PX = 16  # of JPEG with halved colours: in cells of whole blocks pictures mix over one pixel at most
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
    """One JPEG and where its pictures lie in it.

    Args:
        content: the encoded image.
        width: of the image, px.
        height: of the image, px.
        boxes: left, top, width and height of each picture in px, in the pictures' order.
        broken: places of pictures that could not be decoded; they show a crossed-out square.
    """

    content: bytes
    width: int
    height: int
    boxes: tuple[tuple[int, int, int, int], ...]
    broken: frozenset[int]


def sprite(pictures: Sequence[EncodedPicture]) -> Sprite:
    """The pictures, in their order, row by row; pictures of one size that follow each other share rows.

    Raises:
        ValueError: if there is none.
    """
    if not pictures:
        raise ValueError("a sprite needs at least one picture, got none; a unit without pictures has no sprite")
    corners, width, height = cells([picture.side for picture in pictures])
    sheet = Image.new("RGB", (width, height), MARGIN_COLOR)
    boxes: list[tuple[int, int, int, int]] = []
    broken: set[int] = set()
    for at, (picture, (left, top)) in enumerate(zip(pictures, corners, strict=True)):
        image = decoded(picture.content, picture.side)
        if image is None:
            broken.add(at)
            image = crossed_out(picture.side)
        sheet.paste(image, (left, top))
        boxes.append((left, top, *image.size))
    stream = io.BytesIO()
    sheet.save(stream, "JPEG", quality=QUALITY)
    return Sprite(stream.getvalue(), width, height, tuple(boxes), frozenset(broken))


def cells(sides: Sequence[int]) -> tuple[list[tuple[int, int]], int, int]:
    """Left upper corners of cells for squares of these sides, and the width and height of the sheet.

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
    """The picture in RGB, fitted into that square; None where the bytes hold none.

    Smaller ones grow by whole factors, so that their pixels stay seen.
    """
    try:
        with Image.open(io.BytesIO(content)) as picture:
            picture.draft("RGB", (side, side))  # a large JPEG is decoded at a fraction of its size
            return fitted(picture.convert("RGB"), side)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def fitted(picture: Image.Image, side: int) -> Image.Image:
    """The picture with its longer side at most that."""
    longest = max(picture.size)
    if longest == side or (longest < side and side // longest == 1):
        return picture
    factor = side // longest if longest < side else side / longest
    size = (max(1, round(picture.width * factor)), max(1, round(picture.height * factor)))
    return picture.resize(size, Image.Resampling.NEAREST if longest < side else Image.Resampling.LANCZOS)


def crossed_out(side: int) -> Image.Image:
    """What stands where a picture could not be decoded."""
    square = Image.new("RGB", (side, side), MARGIN_COLOR)
    pen = ImageDraw.Draw(square)
    edge, far = side // 12, side - side // 12
    pen.line((edge, edge, far, far), fill=(230, 230, 230), width=max(1, side // 32))
    pen.line((edge, far, far, edge), fill=(230, 230, 230), width=max(1, side // 32))
    return square
