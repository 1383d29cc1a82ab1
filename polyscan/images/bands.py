"""An opened image in bands of rows, so that converting it takes little memory compared with the image."""

from __future__ import annotations

from collections.abc import Iterator

from PIL import Image

from polyscan.images.deep import BAND


def bands(image: Image.Image) -> Iterator[tuple[slice, Image.Image]]:
    """The image cut into bands of rows; a small image is a single band."""
    n_rows = max(1, BAND // image.width)
    if n_rows >= image.height:
        yield slice(None), image
        return
    for top in range(0, image.height, n_rows):
        bottom = min(image.height, top + n_rows)
        yield slice(top, bottom), image.crop((0, top, image.width, bottom))
