"""Decodes the bytes of an image file to pixels, or gives the reason why it can't be decoded.

Law: for any bytes, no exception is raised, no warning is issued, and no pixel is decoded before the size is known to
be allowed. (Only `MemoryError` is raised, since another machine may be able to read that image. For a damaged TIFF,
libtiff itself may write a line to stderr, which Pillow does not suppress.)
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from io import BytesIO
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError

# Usual formats of photos. Pillow knows more, including some that start other programs (EPS) and some without a
# signature, which would accept noise as an image.
FORMATS = ("JPEG", "MPO", "PNG", "GIF", "BMP", "DIB", "TIFF", "WEBP", "AVIF", "JPEG2000", "PPM")

# Coders that need more than a gigabyte, or many seconds, for 64 million pixels (one of them is written in Python).
MOST_PIXELS = {"jpeg2k": 32_000_000, "bmp_rle": 16_000_000}
BAND = 1 << 21  # pixels converted at a time, so that conversion takes little memory compared with the image
MOST_SCANS = 100  # scans in one JPEG, libtiff's limit; cameras write 1, progressive files have about 10
MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")  # after a scan: 0 is a byte of data, d0-d7 restart, ff is padding

ORIENTATION = 0x0112  # the EXIF tag
# Functions that turn the stored pixels upright, by the tag's value (EXIF 2.32, section 4.6.4).
UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
    8: lambda pixels: np.rot90(pixels, 1),
}
AS_STORED = {**UPRIGHT, 6: UPRIGHT[8], 8: UPRIGHT[6]}  # the inverse functions; all others are their own inverse


def decode(content: bytes, max_pixels: int) -> UInt8[np.ndarray, "y x 3"] | str:
    """Pixels of an image file, upright, or one line that says why there are none.

    Of an animation, the first frame is used. Colour profiles are ignored, as networks are trained without them.
    Damage that the format itself can't detect (a flipped bit in a JPEG) gives wrong pixels, not a reason.

    Args:
        content: the file's bytes; the format is found from them, never from a name.
        max_pixels: an image whose header states more pixels is refused before it is decoded.

    Returns:
        red, green and blue, writable; or a reason as `Reject` describes it.
    """
    if not content:
        return "empty: no bytes"
    with warnings.catch_warnings():
        # Pillow warns about odd metadata and big images; here the result is pixels or a reason.
        warnings.simplefilter("ignore")
        try:
            with Image.open(BytesIO(content), formats=_formats()) as image:
                if image.format in ("JPEG", "MPO") and has_many_scans(content):
                    return f"huge: its pixels are written in more than {MOST_SCANS} scans"
                return pixels_of(image, max_pixels)
        except MemoryError:
            raise
        except Exception as error:  # damaged files make Pillow's readers raise almost any exception
            return reason(error)


def pixels_of(image: Image.Image, max_pixels: int) -> UInt8[np.ndarray, "y x 3"] | str:
    """Pixels of an opened image, upright, or the reason why there are none.

    Raises:
        Exception: any exception that Pillow raises on a damaged file; `reason` turns it into a message.
    """
    n_pixels = image.width * image.height
    if n_pixels > max_pixels:
        return f"huge: {image.width}x{image.height} is {n_pixels} pixels, allowed are {max_pixels}"
    coder = _coder(image)
    if n_pixels > (most := MOST_PIXELS.get(coder, max_pixels)):
        return f"huge: {image.width}x{image.height} is {n_pixels} pixels, allowed are {most} where {coder} decodes them"
    image.load()
    # Read after loading, because Pillow itself rotates a TIFF while it loads, and then drops the tag.
    orientation = _orientation(image)
    as_stored = AS_STORED.get(orientation, lambda pixels: pixels)
    is_turned = 5 <= orientation <= 8
    height, width = (image.width, image.height) if is_turned else (image.height, image.width)
    pixels = np.empty((height, width, 3), dtype=np.uint8)
    _paint(image, as_stored(pixels))
    return pixels


def has_many_scans(jpeg: bytes) -> bool:
    """Whether one of a JPEG's pictures has more than MOST_SCANS scans.

    In a progressive JPEG, a scan of a hundred bytes visits every block, so a small file can take minutes.
    """
    if jpeg.count(b"\xff\xda") <= MOST_SCANS:  # nearly always
        return False
    position, n_scans = 2, 0
    while n_scans <= MOST_SCANS and (match := MARKER.search(jpeg, position)):
        marker = jpeg[match.start() + 1]
        n_scans += marker == 0xDA
        if marker == 0xD9:  # the end; another picture, or a film, may follow
            return False
        position = match.end()
        if marker not in (0x01, 0xD8):  # these two have no length
            position += int.from_bytes(jpeg[position : position + 2], "big")
    return n_scans > MOST_SCANS


def reason(error: Exception) -> str:
    """What is wrong with an image, in one line, from the exception that its reader raised."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, UnidentifiedImageError):
        return f"not an image that can be read (known formats: {', '.join(_formats())})"
    if isinstance(error, Image.DecompressionBombError):
        return f"huge: {text}"
    return f"truncated: {text}" if "truncated" in text.lower() else f"corrupt: {text}"


@cache
def _formats() -> tuple[str, ...]:
    """The formats among FORMATS that this build of Pillow reads."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _coder(image: Image.Image) -> str:
    """Pillow's name for the coder of the pixels, before they are loaded; empty if it is unknown."""
    tiles: Any = getattr(image, "tile", None)
    return str(tiles[0][0]) if tiles else ""


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1..8; 1 if the tag is missing or damaged."""
    try:
        value = image.getexif().get(ORIENTATION, 1)
    except Exception:  # as in `decode`
        return 1
    return value if isinstance(value, int) else 1


def _paint(image: Image.Image, canvas: UInt8[np.ndarray, "y x 3"]) -> None:
    """Fills the canvas, band by band, with a loaded image of any mode as a viewer shows it on a white page."""
    scale = _finite_range(image) if image.mode in ("I", "F") else None
    for rows, band in _bands(image):
        canvas[rows] = _rgb(band) if scale is None else _stretched(band, *scale)


def _bands(image: Image.Image) -> Iterator[tuple[slice, Image.Image]]:
    """The image cut into bands of rows; a small image is a single band."""
    n_rows = max(1, BAND // image.width)
    if n_rows >= image.height:
        yield slice(None), image
        return
    for top in range(0, image.height, n_rows):
        bottom = min(image.height, top + n_rows)
        yield slice(top, bottom), image.crop((0, top, image.width, bottom))


def _rgb(image: Image.Image) -> UInt8[np.ndarray, "y x #3"]:
    """Red, green and blue, or one grey channel, of an image whose mode defines the value of white."""
    if image.mode.startswith("I;16"):
        # Pillow reads 16-bit colour by its high bytes, and clips 16-bit grey at 255, which is nearly all white.
        return (np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8)[:, :, None]
    if image.has_transparency_data:
        page = Image.new("RGBA", image.size, "white")
        return np.asarray(Image.alpha_composite(page, image.convert("RGBA")).convert("RGB"))
    return np.asarray(image.convert("RGB"))


def _finite_range(image: Image.Image) -> tuple[float, float]:
    """The smallest and the largest value of an image whose mode doesn't define white (32-bit and float TIFF)."""
    low, high = np.inf, -np.inf
    for _, band in _bands(image):
        values = np.asarray(band)
        if not np.isfinite(values).all():
            raise ValueError("its values are not all finite")
        low, high = min(low, float(values.min())), max(high, float(values.max()))
    return low, high


def _stretched(image: Image.Image, low: float, high: float) -> UInt8[np.ndarray, "y x 1"]:
    """The image's values, scaled so that `low` is black and `high` is white."""
    values = np.asarray(image).astype(np.float64)
    scale = 255 / (high - low) if high > low else 0.0
    return np.rint((values - low) * scale).astype(np.uint8)[:, :, None]
