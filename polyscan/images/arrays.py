"""Images as NumPy arrays: `.npy` files of up to 32 channels. They are never unpickled."""

from __future__ import annotations

import math
from io import BytesIO
from typing import Any

import numpy as np
from jaxtyping import UInt8
from numpy.lib import format as npy

from polyscan.images.decoding import Decoding
from polyscan.images.deep import as_bytes

MAGIC = npy.MAGIC_PREFIX
MOST_CHANNELS = 32
CHANNEL_AXIS = {"yxc": 2, "cyx": 0}


def array_pixels(content: bytes, max_pixels: int, how: Decoding) -> UInt8[np.ndarray, "y x c"] | str:
    """Pixels of a `.npy` file, or the reason why there are none.

    An array of two axes is grey and gives three equal channels, as does a single channel. Of three axes, the one of at
    most 32 entries is the channels; if both ends are so short, `npy_axes` has to say which.

    Raises:
        ValueError: for a damaged file.
    """
    shape, is_fortran, dtype, start = _header(content)
    axis = _channel_axis(shape, how.npy_axes)
    if isinstance(axis, str):
        return axis
    height, width = shape[:2] if axis == 2 else shape[1:]
    if height * width > max_pixels:
        return f"huge: {width}x{height} is {height * width} pixels, allowed are {max_pixels}"
    if dtype.kind not in "iuf":
        return f"unsupported: values of type {dtype!s:.40}; allowed are whole numbers and floats. Convert the array"
    n_values = math.prod(shape)
    if (n_bytes := n_values * dtype.itemsize) > len(content) - start:
        return f"truncated: {len(content) - start} bytes of values, its header says {n_bytes}"
    values = np.frombuffer(content, dtype, n_values, start).reshape(shape, order="F" if is_fortran else "C")
    values = values[:, :, None] if values.ndim == 2 else np.moveaxis(values, axis, 2)
    return with_colours(as_bytes(values, how.value_range, is_stretched=False))


def with_colours(pixels: UInt8[np.ndarray, "y x c"] | str) -> UInt8[np.ndarray, "y x d"] | str:
    """Writable pixels; a single channel three times, so that grey is grey whatever the format."""
    if isinstance(pixels, str):
        return pixels
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else np.array(pixels, order="C")


def _header(content: bytes) -> tuple[tuple[int, ...], bool, Any, int]:
    """Shape, order, type and the place of the first value."""
    stream = BytesIO(content)
    version = npy.read_magic(stream)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"version {version[0]}.{version[1]} of .npy; allowed are 1.0 and 2.0")
    read: Any = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, is_fortran, dtype = read(stream)
    return shape, is_fortran, dtype, stream.tell()


def _channel_axis(shape: tuple[int, ...], npy_axes: str) -> int | str:
    """The axis of the channels (2 for a grey picture without one), or the reason why there is none."""
    text = "x".join(map(str, shape)) or "()"
    if len(shape) not in (2, 3):
        return f"unsupported: an array of shape {text}; allowed are y x, y x c and c y x. Save one image as one file"
    if min(shape) < 1:
        return f"empty: an array of shape {text}"
    if len(shape) == 2:
        return 2
    allowed = [CHANNEL_AXIS[npy_axes]] if npy_axes in CHANNEL_AXIS else [0, 2]
    short = [axis for axis in allowed if shape[axis] <= MOST_CHANNELS]
    if len(short) == 1:
        return short[0]
    if short:
        return f'unsupported: an array of shape {text} may be y x c or c y x. Set `images.npy_axes` to "yxc" or "cyx"'
    return (
        f"unsupported: an array of shape {text} has more than {MOST_CHANNELS} channels; allowed are 1 to "
        f"{MOST_CHANNELS}, first or last (`images.npy_axes`). Leave out channels"
    )
