"""What an image looks like at a glance: a hash that its copies share, and the frame around it."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64, UInt8

HASH_SIDE = 8
ENOUGH_PX = 128
"""A larger image is hashed from every second, third ... pixel, as many as leave it this size."""
PLAIN = 4.0
"""Standard deviation of an image's 8 x 9 block means, in grey levels, below which it is plain and has no hash."""
TOLERANCE = 16
"""Grey levels by which the values of a band may differ, as after JPEG compression."""
EDGE_SHARE = 0.5
"""Share of the line after a band that must differ from the band: else it is a plain background, not a frame."""
BLURRED_SHARE = 0.8
"""The same of the second line after it, as compression blurs the edge."""


def difference_hash(pixels: UInt8[np.ndarray, "y x c"]) -> int:
    """64 bits that hardly change when an image is compressed or resized; 0 for a plain image.

    The image is averaged over 8 x 9 blocks; each bit says whether a block is brighter than its left neighbour.

    Args:
        pixels: any size and number of channels.

    Returns:
        The bits as a signed number; 0 if all blocks are about equally bright, so that the bits mean nothing.

    Source: Krawetz 2013, "Kind of like that" (dHash).
    """
    step = max(1, min(pixels.shape[:2]) // ENOUGH_PX)
    blocks = _block_means(pixels[::step, ::step], HASH_SIDE, HASH_SIDE + 1)
    if blocks.std() < PLAIN:
        return 0
    bits = np.packbits(blocks[:, 1:] > blocks[:, :-1])
    return int(bits.view(">i8")[0])


def _block_means(pixels: UInt8[np.ndarray, "y x c"], rows: int, columns: int) -> Float64[np.ndarray, "rows columns"]:
    """Mean brightness of blocks of nearly equal size; a block has a pixel at least, also in a smaller image."""
    sums = pixels.sum(axis=2, dtype=np.uint32)
    n_pixels = float(pixels.shape[2])
    for axis, n in enumerate((rows, columns)):
        side = pixels.shape[axis]
        if side < n:
            sums, side = sums.repeat(-(-n // side), axis), side * -(-n // side)
        starts = np.arange(n) * side // n
        lengths = np.diff(np.append(starts, side))
        sums = np.add.reduceat(sums, starts, axis=axis) / np.expand_dims(lengths, 1 - axis)
    return sums / n_pixels


def frame_share(pixels: UInt8[np.ndarray, "y x c"]) -> float:
    """Share of an image that is taken up by bands of one colour along its edges, as of a letterbox or a scan.

    A band is a run of lines at an edge whose values differ by at most 16 of 255 grey levels. It counts only if more
    than half of the next line, or .8 of the one after it, differs from it by more: a plain background ends in the
    outline of an object, a frame in a straight edge. An image of one colour has no frame.

    Args:
        pixels: any size and number of channels.

    >>> brightness = np.add.outer(np.arange(0, 192, 12), np.arange(0, 80, 10)).astype(np.uint8)
    >>> brightness[:4] = 0  # of 16 rows
    >>> frame_share(np.stack([brightness] * 3, axis=2))
    0.25
    """
    rows, columns = pixels.shape[:2]
    top, bottom = _band(pixels), _band(pixels[::-1])
    if top == rows:
        return 0.0
    inside = pixels[top : rows - bottom]
    sides = inside.transpose(1, 0, 2)
    left, right = _band(sides), _band(sides[::-1])
    if left == columns:
        return 0.0
    return 1 - (rows - top - bottom) * (columns - left - right) / (rows * columns)


def _band(lines: UInt8[np.ndarray, "y x c"]) -> int:
    """Length of the band at the beginning of an image; 0 for none, all lines if the image has one colour."""
    colour = lines[0].mean(axis=0)
    for length, line in enumerate(lines):  # nearly always over at the first line
        share = _far_share(line, colour)
        if not share:
            continue
        after = _far_share(lines[min(length + 1, len(lines) - 1)], colour)
        return length if share > EDGE_SHARE or after > BLURRED_SHARE else 0
    return len(lines)


def _far_share(line: UInt8[np.ndarray, "x c"], colour: Float64[np.ndarray, " c"]) -> float:
    return float((np.abs(line - colour) > TOLERANCE).any(axis=1).mean())
