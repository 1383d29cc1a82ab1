"""Decodes the bytes of an image file to pixels, or gives the reason why it can't be decoded.

Law: for any bytes, no exception is raised, no warning is issued, and no pixel is decoded before the size is known to
be allowed. (Only `MemoryError` is raised, since another machine may be able to read that image. For a damaged TIFF,
libtiff itself may write a line to stderr, which Pillow does not suppress.)
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from functools import cache
from io import BytesIO
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError

from polyscan.images.arrays import MAGIC, array_pixels
from polyscan.images.bands import bands
from polyscan.images.damage import png_damage
from polyscan.images.decoding import Decoding
from polyscan.images.grey import Grey, grey_of, paint_grey, ppm_most
from polyscan.images.pillow_state import pillow_settings
from polyscan.images.tiff import MOST_SAMPLES, SAMPLES_PER_PIXEL, pages_as_channels, too_many_samples, unread_tiff

# Usual formats of photos. Pillow knows more, including some that start other programs (EPS) and some without a
# signature, which would accept noise as an image.
FORMATS = ("JPEG", "MPO", "PNG", "GIF", "BMP", "DIB", "TIFF", "WEBP", "AVIF", "JPEG2000", "PPM")

# Coders that need more than a gigabyte, or many seconds, for 64 million pixels (one of them is written in Python).
MOST_PIXELS = {"jpeg2k": 32_000_000, "bmp_rle": 16_000_000}
MOST_SCANS = 100  # scans in one JPEG, libtiff's limit; cameras write 1, progressive files have about 10
MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")  # after a scan: 0 is a byte of data, d0-d7 restart, ff is padding
WHITE_ZERO = (
    "unsupported: a TIFF in which 0 is white, with `images.value_range` as numbers, which begin with black; allowed is "
    '"format" or "image". Save it with 0 as black, or leave `images.value_range` out'
)
DEEP_COLOUR = (
    "unsupported: colours of 16 bits, of which only the high bytes are read; allowed are grey or .npy. Save it "
    "as .npy, or leave `images.value_range` out"
)

AS_SEEN = Decoding()
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


def decode(content: bytes, max_pixels: int, how: Decoding = AS_SEEN) -> UInt8[np.ndarray, "y x c"] | str:
    """Pixels of an image file, upright, or one line that says why there are none.

    Of an animation, the first frame is used. Colour profiles are ignored, as networks are trained without them.
    Damage that the format itself can't detect (a flipped bit in a JPEG) gives wrong pixels, not a reason.

    Args:
        content: the file's bytes; the format is found from them, never from a name.
        max_pixels: an image whose header states more pixels is refused before it is decoded.
        how: choices that the format leaves open.

    Returns:
        red, green and blue, or more channels where the file has them, writable; or a reason as `Reject` describes it.
    """
    if not content:
        return "empty: no bytes"
    with warnings.catch_warnings(), pillow_settings(max_pixels):
        # Pillow warns about odd metadata and big images; here the result is pixels or a reason.
        warnings.simplefilter("ignore")
        try:
            return (
                array_pixels(content, max_pixels, how) if content.startswith(MAGIC) else _read(content, max_pixels, how)
            )
        except MemoryError:
            raise
        except Exception as error:  # damaged files make Pillow's readers raise almost any exception
            return reason(error)


def _read(content: bytes, max_pixels: int, how: Decoding) -> UInt8[np.ndarray, "y x c"] | str:
    """As `decode`, with Pillow's exceptions."""
    try:
        with Image.open(BytesIO(content), formats=_formats()) as image:
            if image.format in ("JPEG", "MPO") and has_many_scans(content):
                return f"huge: its pixels are written in more than {MOST_SCANS} scans"
            pixels = pixels_of(image, max_pixels, how)
            # After the size, since a reason should be the one that is seen first.
            return pixels if isinstance(pixels, str) else png_damage(content) or pixels
    except UnidentifiedImageError:
        if why := unread_tiff(content):
            return why
        raise


def pixels_of(image: Image.Image, max_pixels: int, how: Decoding = AS_SEEN) -> UInt8[np.ndarray, "y x c"] | str:
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
    if image.format == "TIFF":
        is_fourth_wanted = how.alpha == "keep" and image.mode == "RGB"  # Pillow drops one that isn't marked as alpha
        samples = getattr(image, "tag_v2", {}).get(SAMPLES_PER_PIXEL)
        if why := too_many_samples(samples, most=3 if is_fourth_wanted else MOST_SAMPLES):
            return why
        if how.tiff_pages == "channels" and int(getattr(image, "n_frames", 1)) > 1:
            return pages_as_channels(image, max_pixels, how)
    grey = grey_of(image)
    if why := _unkept_range(image, grey, how):
        return why
    image.load()
    # Read after loading, because Pillow itself rotates a TIFF while it loads, and then drops the tag.
    orientation = _orientation(image) if how.exif == "turn" else 1
    as_stored = AS_STORED.get(orientation, lambda pixels: pixels)
    is_turned = 5 <= orientation <= 8
    height, width = (image.width, image.height) if is_turned else (image.height, image.width)
    pixels = np.empty((height, width, 4 if _has_fourth(image, grey, how) else 3), dtype=np.uint8)
    _paint(image, grey, as_stored(pixels), how)
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


def _unkept_range(image: Image.Image, grey: Grey | None, how: Decoding) -> str:
    """The reason why the values that are black and white can't be those of the setting; "" if they can."""
    if how.value_range == "format":
        return ""
    if grey and grey.is_inverted and not isinstance(how.value_range, str):
        return WHITE_ZERO
    return DEEP_COLOUR if _is_deep_colour(image) else ""


def _is_deep_colour(image: Image.Image) -> bool:
    """Whether an image has colours, or grey with alpha, of 16 bits; Pillow reads their high bytes alone."""
    if image.format == "PPM" and image.mode == "RGB":
        return ppm_most(image) > 255
    tiles: Any = getattr(image, "tile", None)
    return bool(tiles) and ";16" in str(tiles[0][3]) and not image.mode.startswith("I")


def _has_fourth(image: Image.Image, grey: Grey | None, how: Decoding) -> bool:
    """Whether a loaded image has a fourth channel that is kept."""
    return how.alpha == "keep" and (grey.transparent is not None if grey else image.has_transparency_data)


def _paint(image: Image.Image, grey: Grey | None, canvas: UInt8[np.ndarray, "y x c"], how: Decoding) -> None:
    """Fills the canvas, band by band, with a loaded image of any mode; as a viewer shows it unless `how` says else."""
    if grey:
        paint_grey(image, grey, canvas, how)
        return
    for rows, band in bands(image):
        canvas[rows] = _colours(band, how)


def _colours(image: Image.Image, how: Decoding) -> UInt8[np.ndarray, "y x c"]:
    """Red, green and blue of an image of 8 bits, on a page or with alpha if it is transparent."""
    if how.alpha == "keep" and image.has_transparency_data:
        return np.asarray(image.convert("RGBA"))
    if image.has_transparency_data and how.alpha != "drop":
        page = Image.new("RGBA", image.size, how.alpha if how.alpha != "keep" else "white")
        return np.asarray(Image.alpha_composite(page, image.convert("RGBA")).convert("RGB"))
    return np.asarray(image.convert("RGB"))
