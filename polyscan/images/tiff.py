"""TIFF of many channels: as pages, which Pillow reads one by one; channels within a pixel are refused by name."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image, TiffImagePlugin

from polyscan.images.arrays import MOST_CHANNELS, with_colours
from polyscan.images.decoding import Decoding
from polyscan.images.deep import as_bytes
from polyscan.images.grey import has_12_bits, is_white_zero

MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
SAMPLES_PER_PIXEL = 277
MOST_SAMPLES = 4  # Pillow refuses more, or drops those after the third
DEEP_MODES = ("L", "I", "F", "I;16", "I;16B", "I;16L", "I;16N")


def too_many_samples(samples: Any, *, most: int) -> str:
    """The reason why a TIFF of so many channels per pixel is refused; "" if it is not."""
    if not isinstance(samples, int) or samples <= most:
        return ""
    return (
        f"unsupported: a TIFF of {samples} channels per pixel; allowed are grey and colour, with or without alpha. "
        'Save it as .npy, or as a TIFF of one page per channel with `images.tiff_pages` = "channels"'
    )


def unread_tiff(content: bytes) -> str:
    """The reason why a TIFF that Pillow can't identify is refused; "" if it is not its number of channels.

    Raises:
        Exception: whatever Pillow raises on damaged tags.
    """
    if not content.startswith(MAGICS):
        return ""
    tags = TiffImagePlugin.ImageFileDirectory_v2(content[: 16 if content[2:4] in (b"+\0", b"\0+") else 8])
    stream = BytesIO(content)
    stream.seek(tags.next)
    tags.load(stream)
    return too_many_samples(tags.get(SAMPLES_PER_PIXEL), most=1)


def pages_as_channels(image: Image.Image, max_pixels: int, how: Decoding) -> UInt8[np.ndarray, "y x c"] | str:
    """The pages of an opened TIFF as channels, or the reason why they can't be.

    Raises:
        Exception: whatever Pillow raises on a damaged file.
    """
    n_pages = int(getattr(image, "n_frames", 1))
    if n_pages > MOST_CHANNELS:
        return f"unsupported: {n_pages} pages as channels; allowed are 1 to {MOST_CHANNELS}. Leave out pages"
    if n_pages * image.width * image.height > max_pixels:
        size = f"{n_pages} pages of {image.width}x{image.height}"
        return f"huge: {size} are {n_pages * image.width * image.height} pixels, allowed are {max_pixels}"
    pages: list[np.ndarray] = []
    for page in range(n_pages):
        image.seek(page)
        if image.width * image.height > max_pixels:
            n_pixels = image.width * image.height
            return f"huge: {image.width}x{image.height} is {n_pixels} pixels, allowed are {max_pixels}"
        if why := _no_channel(image, page):
            return why
        pages.append(_values(image, how))
        if (pages[-1].shape, pages[-1].dtype) != (pages[0].shape, pages[0].dtype):
            return (
                f"unsupported: page {page + 1} has another size or type than page 1; pages that are channels have one"
            )
    values = np.stack(pages, axis=2)
    has_white = values.dtype.kind == "u"  # of pages, 8 or 16 bits
    return with_colours(as_bytes(values, how.value_range, is_stretched=not has_white))


def _no_channel(image: Image.Image, page: int) -> str:
    """The reason why the page that an image is at is no channel; "" if it is one."""
    if image.mode not in DEEP_MODES:
        return f"unsupported: page {page + 1} is of mode {image.mode}; pages that are channels have one value a pixel"
    if is_white_zero(image):
        return f"unsupported: in page {page + 1}, 0 is white; pages that are channels have 0 as black. Save it so"
    return ""


def _values(image: Image.Image, how: Decoding) -> np.ndarray:
    """The values of the page that an image is at; those of 12 bits as 16 where the format decides what is white."""
    is_spread = has_12_bits(image) and how.value_range == "format"
    values = np.asarray(image)
    return values << 4 if is_spread else values
