"""Patch swaps: a part of one picture pasted into another, and the unit read where it was pasted.

A patch is the field of a position, centred at it; where the field is more than half as wide as the input, only its
central part, so that there is room for the same patch elsewhere. A window that would reach over the edge is shifted
inside. Places are positions of the layer's map, so that a patch lies at the same phase of the layer's strides in the
picture that it comes from and in the one that it goes to.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float32, Float64, UInt8
from torch import Tensor

from polyscan.vision.framing import Size
from polyscan.vision.readouts import Reader, ReadPoint

MOST_SHARE = 0.5
"""Largest side of a patch as a share of the input's side: a second patch of this size always fits beside it."""
Picture8 = UInt8[np.ndarray, "h w c"]


class Window(NamedTuple):
    """A rectangle of the input in px: first row and column, and those after the last."""

    top: int
    left: int
    bottom: int
    right: int

    def of(self, picture: Picture8) -> Picture8:
        """What a picture shows there."""
        return picture[self.top : self.bottom, self.left : self.right]


class Spot(NamedTuple):
    """Where a patch is pasted, a second place apart from it, and the positions that are read.

    Args:
        here: window of the patch; the unit is read here in every condition.
        elsewhere: a window of the same size that shares no pixel with it.
        read: the positions of the map whose field's centre lies in `here`; the nearest one if there are none.
    """

    here: Window
    elsewhere: Window
    read: Bool[np.ndarray, "y x"]


@dataclass(frozen=True)
class LayerAxis:
    """One axis of a layer: where its positions look at, in px of the input.

    Args:
        side: of the input.
        n: number of positions.
        stride: distance in the input between the fields of neighbouring positions; not finite: unknown.
        first: first px of the first position's field; not finite: unknown.
        field: size of the field; inf: the whole image.
        effective: size of the part with most of the gradient; not finite: unknown.
    """

    side: int
    n: int
    stride: float
    first: float
    field: float
    effective: float

    @property
    def patch(self) -> int:
        """Size of a patch: the field, or its central part if it is more than half as wide as the input."""
        most = max(1, math.floor(self.side * MOST_SHARE))
        if self.field <= most:
            return max(1, round(self.field))
        return max(1, min(most, round(self.effective))) if math.isfinite(self.effective) else most

    @property
    def centres(self) -> Float64[np.ndarray, " n"]:
        """Middle of each position's field; evenly spaced over the input if the field is unknown."""
        if not (math.isfinite(self.field) and math.isfinite(self.first) and math.isfinite(self.stride)):
            return (np.arange(self.n) + 0.5) * self.side / self.n - 0.5
        return self.first + np.arange(self.n) * self.stride + (self.field - 1) / 2

    def start(self, position: int) -> int:
        """First px of the patch of a position."""
        start = math.floor(self.centres[position] - (self.patch - 1) / 2 + 0.5)
        return min(max(start, 0), self.side - self.patch)

    def within(self, start: int) -> Bool[np.ndarray, " n"]:
        """Positions whose centre lies in the patch that begins there; else the one nearest to its middle."""
        inside = (self.centres >= start) & (self.centres < start + self.patch)
        if inside.any():
            return inside
        return np.arange(self.n) == np.abs(self.centres - (start + (self.patch - 1) / 2)).argmin()


@dataclass(frozen=True)
class PatchGrid:
    """The windows of a layer's patches: by rows and columns of its map."""

    rows: LayerAxis
    columns: LayerAxis

    @property
    def size(self) -> Size:
        """Height and width of a patch in px."""
        return self.rows.patch, self.columns.patch

    def window(self, y: int, x: int) -> Window:
        """The patch of a position."""
        return self._at(self.rows.start(y), self.columns.start(x))

    def _at(self, top: int, left: int) -> Window:
        height, width = self.size
        return Window(top, left, top + height, left + width)

    def spot(self, generator: np.random.Generator) -> Spot:
        """A random place, with as much chance for each position that leaves room for a patch elsewhere."""
        here = self._windows[int(generator.integers(len(self._windows)))]
        bands = self._bands(here)
        band = bands[int(generator.integers(len(bands)))]
        elsewhere = self._at(
            int(generator.integers(band.top, band.bottom)), int(generator.integers(band.left, band.right))
        )
        return Spot(here, elsewhere, np.logical_and.outer(self.rows.within(here.top), self.columns.within(here.left)))

    @cached_property
    def _windows(self) -> list[Window]:
        """Windows where a patch may be pasted: those of positions with room elsewhere; else the corners."""
        windows = [self.window(y, x) for y in range(self.rows.n) for x in range(self.columns.n)]
        with_room = [window for window in windows if self._bands(window)]
        if with_room:
            return with_room
        last = (self.rows.side - self.rows.patch, self.columns.side - self.columns.patch)
        return [self._at(top, left) for top in (0, last[0]) for left in (0, last[1])]

    def _bands(self, here: Window) -> list[Window]:
        """Where the upper left corner of a patch may lie that shares no pixel with this one: up to four rectangles."""
        height, width = self.size
        last_top, last_left = self.rows.side - height, self.columns.side - width
        bands = (
            Window(0, 0, here.top - height + 1, last_left + 1),
            Window(here.bottom, 0, last_top + 1, last_left + 1),
            Window(0, 0, last_top + 1, here.left - width + 1),
            Window(0, here.right, last_top + 1, last_left + 1),
        )
        return [band for band in bands if band.top < band.bottom and band.left < band.right]


def pasted(picture: Picture8, patch: Picture8, window: Window) -> Picture8:
    """A copy of the picture with the patch in that window."""
    new = picture.copy()
    new[window.top : window.bottom, window.left : window.right] = patch
    return new


def plain(picture: Picture8, size: Size) -> Picture8:
    """A patch of a picture's mean colour: the part of it that is pasted over is lost, and little else is added.

    Args:
        picture: the picture.
        size: height and width of the patch in px.
    """
    colour = np.round(picture.mean(axis=(0, 1))).astype(np.uint8)
    return np.broadcast_to(colour, (*size, len(colour)))


class PlaceReader:
    """Reads units of one read point at given positions, in one forward pass a batch that ends at the layer.

    Batch norms are folded into convolutions, which takes less time: values are those of a scan up to rounding, and are
    compared with each other alone.

    Args:
        reader: of the layer.
        point: the read point.
        batch: pictures per pass.
    """

    def __init__(self, reader: Reader, point: ReadPoint, batch: int) -> None:
        self.network = reader.network
        self.trunk = reader.trunk(point)
        self.batch = batch

    def __call__(
        self, pictures: UInt8[np.ndarray, "n h w c"], read: Bool[np.ndarray, "n y x"], channel: int
    ) -> Float32[np.ndarray, " n"]:
        """The unit's peak within the positions to read, picture by picture."""
        values: list[Tensor] = []
        for start in range(0, len(pictures), self.batch):
            part = slice(start, start + self.batch)
            maps = self.maps(pictures[part], [channel])[:, 0]
            mask = torch.from_numpy(read[part]).to(maps.device)
            values.append(torch.where(mask, maps, -torch.inf).amax(dim=(1, 2)))
        return torch.cat(values).cpu().numpy()

    def maps(self, pictures: UInt8[np.ndarray, "n h w c"], channels: list[int]) -> Float32[Tensor, "n u y x"]:
        """Maps of some units on at most a batch of pictures."""
        # The last batch is padded: rounding may depend on a batch's shape, never on how many pictures were left.
        padded = np.zeros((self.batch, *pictures.shape[1:]), dtype=np.uint8)
        padded[: len(pictures)] = pictures
        with torch.inference_mode():
            maps = self.trunk(self.network.preprocessing.batch(padded, self.network.device))
        return maps[: len(pictures), channels].float()
