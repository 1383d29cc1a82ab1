"""Windows of resized pictures: the same pixels as Pillow's, in memory that does not depend on the picture's shape.

A picture of 30,000 x 1 px whose short side is resized to 256 px has 8 million px on its long side, of which the network
sees 224. Where Pillow would make more than MOST_PIXELS, only the window is computed, in Pillow's own arithmetic.
Source: Pillow, `src/libImaging/Resample.c`: two passes, weights as integers of 22 bits, rounded to 8 bits between them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64, UInt8
from PIL import Image

INTERPOLATIONS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "box": Image.Resampling.BOX,
    "hamming": Image.Resampling.HAMMING,
}
MOST_PIXELS = 16_000_000  # of a picture that Pillow resizes as a whole: 64 MB, and as much between its passes
LONGEST = 1_000_000  # px of a side that Pillow resizes: its table of weights has up to 50 bytes for each
IN_FLIGHT = 1 << 22  # numbers of a pass that are in memory at once
ONE = 1 << 22  # a weight of 1
COPY = "copy"  # in place of an interpolation: the position itself
Pixels = UInt8[np.ndarray, "y x c"]


def resized(pixels: Pixels, size: tuple[int, int], interpolation: str) -> Pixels:
    """The whole picture at another size (height, width), each channel as Pillow resizes it."""
    if pixels.shape[:2] == size:
        return pixels
    if pixels.shape[2] in (1, 3):
        return _by_pillow(pixels, size, interpolation)
    # One by one: Pillow has no pictures of 2 or of many channels, and takes a fourth one for transparency.
    channels = [_by_pillow(pixels[:, :, c : c + 1], size, interpolation) for c in range(pixels.shape[2])]
    return np.concatenate(channels, axis=2)


def _by_pillow(pixels: Pixels, size: tuple[int, int], interpolation: str) -> Pixels:
    picture = Image.fromarray(pixels if pixels.shape[2] == 3 else np.ascontiguousarray(pixels[:, :, 0]))
    array = np.asarray(picture.resize((size[1], size[0]), INTERPOLATIONS[interpolation]))
    return array if array.ndim == 3 else array[:, :, None]


def resized_window(
    pixels: Pixels, size: tuple[int, int], rows: range, columns: range, *, interpolation: str
) -> UInt8[np.ndarray, "v u c"]:
    """These rows and columns of the picture resized to `size` (height, width), equal to those of `resized`."""
    height, width = pixels.shape[:2]
    is_large = max(size[0], height) * size[1] > max(MOST_PIXELS, height * width)
    if not (is_large or max(height, width) > LONGEST) or (height, width) == size:
        return resized(pixels, size, interpolation)[rows.start : rows.stop, columns.start : columns.stop]
    return window_alone(pixels, size, rows, columns, interpolation=interpolation)


def window_alone(
    pixels: Pixels, size: tuple[int, int], rows: range, columns: range, *, interpolation: str
) -> UInt8[np.ndarray, "v u c"]:
    """As `resized_window`, without the rest of the resized picture.

    Of pictures that shrink along both axes, some pixels may be off by the rounding between the passes: Pillow chooses
    the order of passes by the speed that it expects.
    """
    height, width = pixels.shape[:2]
    if interpolation == "nearest":
        return pixels[_nearest(height, size[0], rows)][:, _nearest(width, size[1], columns)]
    down, across = _taps(height, size[0], rows, interpolation), _taps(width, size[1], columns, interpolation)
    if size[0] < height and size[1] > width:  # the order of Pillow 13; older ones always begin with the rows
        return _in_two_passes(pixels.swapaxes(0, 1), down, across).swapaxes(0, 1)
    return _in_two_passes(pixels, across, down)


def _in_two_passes(pixels: Pixels, across: list[_Tap], down: list[_Tap]) -> UInt8[np.ndarray, "v u c"]:
    window = np.empty((len(down), len(across), pixels.shape[2]), dtype=np.uint8)
    for block, source in _blocks(down, len(across) * pixels.shape[2]):
        strip = _pass(pixels[source.start : source.stop].swapaxes(0, 1), across).swapaxes(0, 1)
        window[block.start : block.stop] = _pass(strip, down[block.start : block.stop], first=source.start)
    return window


@dataclass(frozen=True)
class _Tap:
    """What one position of the result takes of the positions `first` to `stop` - 1: weights in whole numbers."""

    first: int
    stop: int
    centre: float
    stretch: float
    interpolation: str

    def weights(self) -> Float64[np.ndarray, " n"]:
        """Computed when they are used: for a side of millions of px they take gigabytes together."""
        if self.interpolation == COPY:
            return np.full(1, float(ONE))
        kernel, _ = KERNELS[self.interpolation]
        weights = kernel((np.arange(self.first, self.stop) - self.centre + 0.5) * (1 / self.stretch))
        return np.trunc(weights / np.cumsum(weights)[-1] * ONE + np.copysign(0.5, weights))


def _taps(n_in: int, n_out: int, window: range, interpolation: str) -> list[_Tap]:
    """The taps of a window of one axis; an axis that keeps its length is copied, as in Pillow."""
    if n_in == n_out:
        return [_Tap(place, place + 1, place + 0.5, 1.0, COPY) for place in window]
    scale = n_in / n_out
    stretch = max(scale, 1.0)
    reach = KERNELS[interpolation][1] * stretch
    centres = [(place + 0.5) * scale for place in window]
    return [
        _Tap(max(0, int(at - reach + 0.5)), min(n_in, int(at + reach + 0.5)), at, stretch, interpolation)
        for at in centres
    ]


def _nearest(n_in: int, n_out: int, window: range) -> Int64[np.ndarray, " n"]:
    """Source positions of a window of one axis."""
    step = n_in / n_out
    if window.stop <= MOST_PIXELS:  # as in Pillow, one after the other: rounding decides where two are equally near
        places = np.cumsum(np.concatenate([[step * 0.5], np.full(window.stop - 1, step)]))[window.start :]
    else:
        places = (np.arange(window.start, window.stop) + 0.5) * step
    return np.minimum(places.astype(np.int64), n_in - 1)


def _blocks(taps: list[_Tap], width: int) -> Iterator[tuple[range, range]]:
    """Ranges of taps, and the range of source rows that each range needs, of at most IN_FLIGHT numbers if possible."""
    start = 0
    while start < len(taps):
        stop = start + 1
        while stop < len(taps) and (taps[stop].stop - taps[start].first) * width <= IN_FLIGHT:
            stop += 1
        yield range(start, stop), range(taps[start].first, taps[stop - 1].stop)
        start = stop


def _pass(values: UInt8[np.ndarray, "n m c"], taps: list[_Tap], *, first: int = 0) -> UInt8[np.ndarray, "k m c"]:
    """Weighted sums along the first axis, which begins at `first`, rounded to 8 bits.

    Sums of whole numbers are exact in any order, so they can be taken part by part.
    """
    result = np.empty((len(taps), *values.shape[1:]), dtype=np.uint8)
    at_once = max(1, IN_FLIGHT // max(1, values[0].size))
    for place, tap in enumerate(taps):
        total, weights = np.full(values.shape[1:], ONE / 2), tap.weights()
        for start in range(0, len(weights), at_once):
            some = weights[start : start + at_once]
            part = values[tap.first - first + start :][: len(some)]
            total += np.tensordot(some, part.astype(np.float64), axes=1)
        result[place] = np.floor(total / ONE).clip(0, 255)
    return result


# ---- kernels: weight by distance, and the distance from which on it is 0 ---------------------------------------------


def _box(x: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
    return ((x > -0.5) & (x <= 0.5)).astype(np.float64)


def _bilinear(x: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
    return np.maximum(1 - np.abs(x), 0)


def _hamming(x: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
    near, far = float(np.float32(0.54)), float(np.float32(0.46))  # of single precision in Pillow
    return np.where(np.abs(x) < 1, np.sinc(x) * (near + far * np.cos(math.pi * x)), 0)


def _bicubic(x: Float64[np.ndarray, " n"], a: float = -0.5) -> Float64[np.ndarray, " n"]:
    x = np.abs(x)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return np.where(x < 1, near, np.where(x < 2, far, 0))


def _lanczos(x: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
    return np.where((x >= -3) & (x < 3), np.sinc(x) * np.sinc(x / 3), 0)


KERNELS: dict[str, tuple[Callable[[Float64[np.ndarray, " n"]], Float64[np.ndarray, " n"]], float]] = {
    "box": (_box, 0.5),
    "bilinear": (_bilinear, 1.0),
    "hamming": (_hamming, 1.0),
    "bicubic": (_bicubic, 2.0),
    "lanczos": (_lanczos, 3.0),
}
