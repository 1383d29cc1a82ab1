"""Grey of more than 8 bits, as Pillow opens it: what is white, and what Pillow leaves to its users.

Pillow gives the numbers alone: it does not turn round a TIFF in which 0 is white, nor apply a PNG's transparent grey.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from polyscan.images.bands import bands
from polyscan.images.decoding import Decoding
from polyscan.images.deep import finite_range, scaled

BITS_PER_SAMPLE, PHOTOMETRIC = 258, 262
PPM_MOST = 65535  # Pillow scales the values of a PGM of more than 8 bits to 0..65535


@dataclass(frozen=True)
class Grey:
    """What a file says of its grey values.

    Args:
        white: the value that is white, as Pillow gives values; None if the format leaves it open.
        per_value: the file's own value for one of Pillow's.
        is_inverted: whether 0 is white.
        transparent: the value that is transparent.
    """

    white: int | None
    per_value: float = 1.0
    is_inverted: bool = False
    transparent: int | None = None


def grey_of(image: Image.Image) -> Grey | None:
    """What an image that is not loaded yet says of its grey; None if it has colours or 8 bits."""
    if image.mode.startswith("I;16"):
        transparent = image.info.get("transparency")
        return Grey(
            white=(1 << 12) - 1 if has_12_bits(image) else (1 << 16) - 1,
            is_inverted=is_white_zero(image),
            transparent=transparent if isinstance(transparent, int) else None,
        )
    if image.mode == "I" and image.format == "PPM":
        return Grey(white=PPM_MOST, per_value=ppm_most(image) / PPM_MOST)
    return Grey(white=None, is_inverted=is_white_zero(image)) if image.mode in ("I", "F") else None


def is_white_zero(image: Image.Image) -> bool:
    """Whether an image is a TIFF in which 0 is white; Pillow inverts those of 8 bits itself."""
    return _tag(image, PHOTOMETRIC) == 0 and image.mode.startswith(("I", "F"))


def has_12_bits(image: Image.Image) -> bool:
    """Whether an image is a TIFF of 12 bits, whose values Pillow gives as they are."""
    bits = _tag(image, BITS_PER_SAMPLE)
    return bits in (12, (12,))


def ppm_most(image: Image.Image) -> int:
    """The largest value that the header of a PGM or PPM allows, before it is loaded."""
    tiles: Any = getattr(image, "tile", None) or [(None, None, None, None)]
    match tiles[0][3]:
        case (_, int(most)):
            return most
        case _:
            return PPM_MOST if image.mode == "I" else 255


def paint_grey(image: Image.Image, grey: Grey, canvas: UInt8[np.ndarray, "y x c"], how: Decoding) -> None:
    """Fills the canvas, band by band, with a loaded grey image; a fourth channel becomes its alpha.

    Raises:
        ValueError: if a value is not finite.
    """
    low, high = _range(image, grey, how)
    for rows, band in bands(image):
        values = np.asarray(band)
        shades = _shades(values, grey, low, high)
        canvas[rows, :, :3] = (255 - shades if grey.is_inverted else shades)[:, :, None]
        if grey.transparent is not None:
            _clear(canvas[rows], values == grey.transparent, how)


def _range(image: Image.Image, grey: Grey, how: Decoding) -> tuple[float, float | None]:
    """Black and white in the file's own values; white is None where the high byte is taken."""
    if not isinstance(how.value_range, str):
        return how.value_range
    if how.value_range == "format" and grey.white is not None:
        return 0, None
    low, high = finite_range(np.asarray(band) for _, band in bands(image))
    return low * grey.per_value, high * grey.per_value


def _shades(values: np.ndarray, grey: Grey, low: float, high: float | None) -> UInt8[np.ndarray, "y x"]:
    if high is None:  # as Pillow reads 16-bit colours; its own conversion of grey clips at 255, nearly all white
        n_low_bits = 4 if grey.white == (1 << 12) - 1 else 8
        return (values.astype(np.uint16) >> n_low_bits).astype(np.uint8)
    own = np.rint(values * grey.per_value) if grey.per_value != 1 else values
    return scaled(own, low, high)


def _clear(canvas: UInt8[np.ndarray, "y x c"], is_clear: np.ndarray, how: Decoding) -> None:
    """Lays transparent pixels on the page, or writes them to the alpha channel."""
    if how.alpha == "keep":
        canvas[:, :, 3] = np.where(is_clear, 0, 255)
    elif how.alpha != "drop":
        canvas[is_clear] = 255 if how.alpha == "white" else 0


def _tag(image: Image.Image, number: int) -> Any:
    """A tag of a TIFF; None in other formats."""
    return getattr(image, "tag_v2", {}).get(number)
