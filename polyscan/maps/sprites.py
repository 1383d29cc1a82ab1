"""Sprites: all pictures of one unit's panel in one image file, on a grid of equal square tiles."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

from polyscan.maps.atlas import Tile

TILE_PX = 96  # a multiple of JPEG's 16-pixel blocks, so that no tile's colour runs into the next one
GRID_COLUMNS = 8
TINY_PX = 48  # pictures up to this size are enlarged pixel by pixel and kept without loss
MARGIN_COLOR = (122, 124, 128)
JPEG_QUALITY = {"exemplars": 82, "visualizations": 90}


@dataclass(frozen=True)
class Sprite:
    """One image file and where its tiles lie.

    Args:
        content: the encoded image.
        suffix: "jpg" or "png".
        columns: tiles per row.
        rows: rows of tiles.
        broken: indices of tiles whose picture could not be decoded; they show a crossed-out square.
        margins: for each tile how much of it lies beside and above its picture, as a share of the tile.
    """

    content: bytes
    suffix: str
    columns: int
    rows: int
    broken: frozenset[int]
    margins: tuple[tuple[float, float], ...] = ()

    def place(self, index: int) -> tuple[int, int]:
        """Column and row of the tile with that index.

        >>> Sprite(b"", "jpg", 8, 2, frozenset()).place(9)
        (1, 1)
        """
        return index % self.columns, index // self.columns


def sprite(tiles: Sequence[Tile], evidence: str) -> Sprite:
    """The tiles, in their order, pasted into one image.

    Args:
        tiles: encoded pictures of any size; each is fitted into a square of `TILE_PX` with margins where needed.
        evidence: decides the JPEG quality.

    Raises:
        ValueError: if there is no tile.
    """
    if not tiles:
        raise ValueError("a sprite needs at least one tile, got none; a panel without pictures has no sprite.")
    columns = min(len(tiles), GRID_COLUMNS)
    rows = -(-len(tiles) // columns)
    sheet = Image.new("RGB", (columns * TILE_PX, rows * TILE_PX), MARGIN_COLOR)
    broken: set[int] = set()
    margins: list[tuple[float, float]] = []
    all_tiny = True
    for index, tile in enumerate(tiles):
        picture = decoded(tile.picture)
        if picture is None:
            broken.add(index)
            picture = crossed_out()
        else:
            all_tiny = all_tiny and max(picture.size) <= TINY_PX
        fitted, margin = letterboxed(picture)
        margins.append(margin)
        sheet.paste(fitted, (index % columns * TILE_PX, index // columns * TILE_PX))
    suffix = "png" if all_tiny else "jpg"
    return Sprite(encoded(sheet, suffix, evidence), suffix, columns, rows, frozenset(broken), tuple(margins))


def decoded(content: bytes) -> Image.Image | None:
    """The picture in RGB, or None where the bytes hold none."""
    try:
        with Image.open(io.BytesIO(content)) as picture:
            picture.draft("RGB", (TILE_PX, TILE_PX))  # a large JPEG is decoded at a fraction of its size
            return picture.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def letterboxed(picture: Image.Image) -> tuple[Image.Image, tuple[float, float]]:
    """The picture in a square of `TILE_PX` and its margins: tiny ones grow by whole factors, others smoothly."""
    longest = max(picture.size)
    if longest == TILE_PX and picture.width == picture.height:
        return picture, (0, 0)
    factor = TILE_PX // longest if longest <= TINY_PX else TILE_PX / longest
    size = (max(1, round(picture.width * factor)), max(1, round(picture.height * factor)))
    how = Image.Resampling.NEAREST if longest <= TINY_PX else Image.Resampling.LANCZOS
    square = Image.new("RGB", (TILE_PX, TILE_PX), MARGIN_COLOR)
    left, top = -((size[0] - TILE_PX) // 2), -((size[1] - TILE_PX) // 2)  # rounded up: cutting the margin leaves none
    square.paste(picture.resize(size, how), (left, top))
    return square, (round(left / TILE_PX, 4), round(top / TILE_PX, 4))


def crossed_out() -> Image.Image:
    """What stands where a picture could not be decoded."""
    square = Image.new("RGB", (TILE_PX, TILE_PX), MARGIN_COLOR)
    pen = ImageDraw.Draw(square)
    pen.line((8, 8, TILE_PX - 8, TILE_PX - 8), fill=(230, 230, 230), width=3)
    pen.line((8, TILE_PX - 8, TILE_PX - 8, 8), fill=(230, 230, 230), width=3)
    return square


def encoded(sheet: Image.Image, suffix: str, evidence: str) -> bytes:
    """The sheet's bytes: PNG, or JPEG with the quality of its evidence."""
    stream = io.BytesIO()
    if suffix == "png":
        sheet.save(stream, "PNG")
    else:
        sheet.save(stream, "JPEG", quality=JPEG_QUALITY.get(evidence, JPEG_QUALITY["visualizations"]))
    return stream.getvalue()
