"""Values of more than 8 bits as bytes: what is black and what is white is decided by the format or by a setting."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import UInt8

BAND = 1 << 21  # values converted at a time, so that conversion takes little memory compared with the image


def as_bytes(
    values: np.ndarray, value_range: str | tuple[float, float], *, is_stretched: bool
) -> UInt8[np.ndarray, ...] | str:
    """The values as 0..255, or the reason why they can't be: bytes as they are, deeper ones from black to white.

    Args:
        values: whole numbers or floats, rows first.
        value_range: as in `Decoding`.
        is_stretched: whether the format leaves white undefined, so that "format" means the image's own range.
    """
    if values.dtype == np.uint8:
        return values
    if values.dtype.kind not in "iuf":
        return f"unsupported: values of type {values.dtype}; allowed are whole numbers and floats. Convert the image"
    if value_range == "format" and not is_stretched:
        return _by_format(values)
    low, high = _own_range(values) if isinstance(value_range, str) else value_range
    return _filled(values, low, high)


def _by_format(values: np.ndarray) -> UInt8[np.ndarray, ...] | str:
    """As the type says: the high bytes of 16 bits, 0..1 for floats."""
    if values.dtype.kind == "u" and values.dtype.itemsize == 2:
        return (values >> 8).astype(np.uint8)
    if values.dtype.kind != "f":
        return (
            f"unsupported: values of type {values.dtype}, for which black and white are not defined; allowed are "
            "uint8, uint16 and floats in 0..1. Set `images.value_range`"
        )
    low, high = _own_range(values)
    if low < 0 or high > 1:
        return (
            f"unsupported: floats from {low:.6g} to {high:.6g}; allowed are 0 (black) to 1 (white). Set "
            "`images.value_range`"
        )
    return _filled(values, 0, 1)


def _filled(values: np.ndarray, low: float, high: float) -> UInt8[np.ndarray, ...]:
    """All values, scaled so that `low` is black and `high` is white; what lies outside is black or white."""
    pixels = np.empty(values.shape, dtype=np.uint8)
    for rows in _bands(values):
        pixels[rows] = scaled(values[rows], low, high)
    return pixels


def scaled(values: np.ndarray, low: float, high: float) -> UInt8[np.ndarray, ...]:
    """Values scaled so that `low` is black and `high` is white; all black if both are equal.

    Raises:
        ValueError: if a value is not finite.
    """
    if not np.isfinite(values).all():
        raise ValueError("its values are not all finite")
    scale = 255 / (high - low) if high > low else 0.0
    return np.rint((values.astype(np.float64) - low) * scale).clip(0, 255).astype(np.uint8)


def _own_range(values: np.ndarray) -> tuple[float, float]:
    """The smallest and the largest value."""
    bands: list[Any] = [values[rows] for rows in _bands(values)]
    return finite_range(bands)


def finite_range(bands: Any) -> tuple[float, float]:
    """The smallest and the largest value of bands of an image.

    Raises:
        ValueError: if a value is not finite.
    """
    low, high = np.inf, -np.inf
    for values in bands:
        if not np.isfinite(values).all():
            raise ValueError("its values are not all finite")
        low, high = min(low, float(values.min())), max(high, float(values.max()))
    return low, high


def _bands(values: np.ndarray) -> Iterator[slice]:
    """Ranges of rows."""
    n_rows = max(1, BAND // max(1, values[0].size))
    for start in range(0, len(values), n_rows):
        yield slice(start, start + n_rows)
