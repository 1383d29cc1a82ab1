"""From the bytes of an image file to pixels, or to the reason why not.

Law: whatever the bytes, nothing is raised and nothing is warned of, and no pixel is decoded before the size is known
to be allowed. (`MemoryError` alone passes: another machine might well read that image. And of a damaged TIFF, libtiff
itself may write a line to stderr, which Pillow does not hold back.)
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from io import BytesIO

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, UnidentifiedImageError

# Formats that photos come in. Pillow knows more, among them some that start other programs (EPS) and some without a
# signature, which would take noise for an image.
FORMATS = ("JPEG", "MPO", "PNG", "GIF", "BMP", "DIB", "TIFF", "WEBP", "AVIF", "JPEG2000", "PPM")

ORIENTATION = 0x0112  # the EXIF tag
# What turns the stored pixels upright, by the tag's value (EXIF 2.32, section 4.6.4).
UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
    8: lambda pixels: np.rot90(pixels, 1),
}


def decode(content: bytes, max_pixels: int) -> UInt8[np.ndarray, "y x 3"] | str:
    """Pixels of an image file, upright, or one line that says why there are none.

    The first frame of an animation is taken. Colour profiles are left alone, as networks are trained without them.
    Damage that the format itself doesn't notice (a flipped bit in a JPEG) gives wrong pixels, not a reason.

    Args:
        content: the file's bytes; the format is found from them, never from a name.
        max_pixels: an image whose header says more is refused before its pixels are decoded.

    Returns:
        red, green and blue, writable; or a reason as `Reject` describes it.
    """
    if not content:
        return "empty: no bytes"
    with warnings.catch_warnings():
        # Pillow warns of odd metadata and of big images; the verdict here is the pixels or the reason.
        warnings.simplefilter("ignore")
        try:
            with Image.open(BytesIO(content), formats=_formats()) as image:
                return pixels_of(image, max_pixels)
        except MemoryError:
            raise
        except Exception as error:  # damaged files make Pillow's readers raise nearly anything
            return reason(error)


def pixels_of(image: Image.Image, max_pixels: int) -> UInt8[np.ndarray, "y x 3"] | str:
    """Pixels of an opened image, upright, or the reason why there are none.

    Raises:
        Exception: whatever Pillow raises on a damaged file; `reason` puts it into words.
    """
    n_pixels = image.width * image.height
    if n_pixels > max_pixels:
        return f"huge: {image.width}x{image.height} is {n_pixels} pixels, allowed are {max_pixels}"
    image.load()
    # Asked after loading, since Pillow itself turns a TIFF while it loads, and then drops the tag.
    turn = UPRIGHT.get(_orientation(image))
    pixels = _rgb(image)
    return np.ascontiguousarray(turn(pixels)) if turn else pixels


def reason(error: Exception) -> str:
    """What was wrong with an image, from what its reader raised."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, UnidentifiedImageError):
        return f"not an image that can be read (known formats: {', '.join(_formats())})"
    if isinstance(error, Image.DecompressionBombError):
        return f"huge: {text}"
    return f"truncated: {text}" if "truncated" in text.lower() else f"corrupt: {text}"


@cache
def _formats() -> tuple[str, ...]:
    """Those of FORMATS that this build of Pillow reads."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1..8; 1 where it is missing or damaged, which spoils no picture."""
    try:
        value = image.getexif().get(ORIENTATION, 1)
    except Exception:  # as in `decode`
        return 1
    return value if isinstance(value, int) else 1


def _rgb(image: Image.Image) -> UInt8[np.ndarray, "y x 3"]:
    """Red, green and blue of a loaded image of any mode, as a viewer shows them on a white page."""
    if image.mode.startswith("I;16"):
        # Pillow reads 16-bit colour by its high bytes, and clips 16-bit grey at 255, which is nearly all white.
        return _grey_as_rgb((np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        return _grey_as_rgb(_stretched(np.asarray(image).astype(np.float64)))
    if image.has_transparency_data:
        page = Image.new("RGBA", image.size, "white")
        return np.array(Image.alpha_composite(page, image.convert("RGBA")).convert("RGB"))
    return np.array(image.convert("RGB"))


def _grey_as_rgb(grey: UInt8[np.ndarray, "y x"]) -> UInt8[np.ndarray, "y x 3"]:
    """Three equal channels."""
    return np.repeat(grey[:, :, None], 3, axis=2)


def _stretched(values: Float[np.ndarray, "y x"]) -> UInt8[np.ndarray, "y x"]:
    """Numbers without a declared white (32-bit and float TIFF), spread from their smallest to their largest."""
    if not np.isfinite(values).all():
        raise ValueError("its values are not all finite")
    low, high = values.min(), values.max()
    scale = 255 / (high - low) if high > low else 0.0
    return np.rint((values - low) * scale).astype(np.uint8)
