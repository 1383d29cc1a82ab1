"""One image file by itself, read as those of a source are."""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8

from polyscan.errors import ImagesError, StoreError
from polyscan.images.decode import decode
from polyscan.images.options import ImageOptions
from polyscan.storage import Storage, masked


def read_picture(address: str, options: ImageOptions) -> UInt8[np.ndarray, "y x c"]:
    """The pixels of an image file.

    Args:
        address: of the file; any address that fsspec knows.
        options: how it is decoded.

    Raises:
        ImagesError: if there is no such file, or it is no image.
    """
    try:
        storage = Storage(address)
        if not storage.is_file():
            raise ImagesError(f"there is no file at {masked(address)}; name an image file, as a JPEG or PNG")
        content = storage.read("")
    except (OSError, StoreError) as error:
        raise ImagesError(f"{masked(address)} can't be read ({error}); name an image file, as a JPEG or PNG") from error
    pixels = decode(content, options.max_pixels, options.decoding)
    if isinstance(pixels, str):
        raise ImagesError(f"{masked(address)} can't be used: {pixels}; name an image file, as a JPEG or PNG")
    return pixels
