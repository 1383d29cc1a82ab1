"""Units that are read from a layer's maps: its channels, or directions in its activation space."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Protocol

import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor, nn

from polyscan.errors import ModelError

_IN_CACHE, _ON_GPU = 2**19, 2**26
"""Numbers in directions' maps that are in memory at once: as many as fit in a core's cache, or keep a GPU busy."""
_LANES = 16
"""Numbers in a CPU's vector (AVX-512); directions whose number is not a multiple take up to half more time."""
_NO_PLACE = torch.iinfo(torch.int64).max


class Peaks(NamedTuple):
    """Each unit's peak over space on each image, and its place.

    Args:
        value: the peak.
        place: the position of the peak, counted row by row; the first of several on a CPU, any of them on a GPU.
        width: width of the map, or of each unit's map.
    """

    value: Float32[Tensor, "b u"]
    place: Int64[Tensor, "b u"]
    width: int | Int64[Tensor, " u"]

    @classmethod
    def joined(cls, parts: Sequence[Peaks]) -> Peaks:
        """Joins the peaks of the units of several layers or readouts."""
        values, places, widths = zip(*parts, strict=True)
        unit_widths = [
            torch.as_tensor(width).expand(value.shape[1]) for value, width in zip(values, widths, strict=True)
        ]
        return cls(torch.cat(values, dim=1), torch.cat(places, dim=1), torch.cat(unit_widths))

    @classmethod
    def stacked(cls, parts: Sequence[Peaks]) -> Peaks:
        """Joins the peaks of several batches for the same units."""
        values, places, widths = zip(*parts, strict=True)
        return cls(torch.cat(values), torch.cat(places), widths[0])

    def first(self, n: int) -> Peaks:
        """The peaks of the first n images."""
        return Peaks(self.value[:n], self.place[:n], self.width)

    def of_images(self, rows: Int64[Tensor, " n"]) -> Peaks:
        """The peaks of the images in these rows."""
        return Peaks(self.value.index_select(0, rows), self.place.index_select(0, rows), self.width)

    def of(self, units: Int64[Tensor, " v"]) -> Peaks:
        """The peaks of these units of one layer."""
        return Peaks(self.value.index_select(1, units), self.place.index_select(1, units), self.width)


def peaks_of(maps: Float[Tensor, "b u y x"]) -> Peaks:
    """Each map's peak and its position."""
    maps, width = maps.float(), maps.shape[3]
    if maps.device.type == "cpu":
        # One pooling window over the whole map finds both in one pass; `max` with indices is many times slower there.
        value, place = nn.functional.max_pool2d(maps, maps.shape[2:], return_indices=True)
        return Peaks(value.flatten(1), place.flatten(1), width)
    value, place = maps.flatten(2).max(dim=2)
    return Peaks(value, place, width)


class Readout(Protocol):
    """The units that are read from a layer's maps: its channels, or other functions of them at each position."""

    def n_units(self, n_channels: int) -> int:
        """Number of units for a layer with this many channels.

        Raises:
            ModelError: if the readout does not fit this number of channels.
        """
        ...

    def __call__(self, maps: Float[Tensor, "b c y x"]) -> Float[Tensor, "b u y x"]:
        """The units' maps."""
        ...

    def peaks(self, maps: Float[Tensor, "b c y x"]) -> Peaks:
        """The peaks of the units' maps, which need not be in memory all at once."""
        ...


@dataclass(frozen=True)
class Channels:
    """The layer's own channels."""

    def n_units(self, n_channels: int) -> int:
        """All of them."""
        return n_channels

    def __call__(self, maps: Float[Tensor, "b c y x"]) -> Float[Tensor, "b c y x"]:
        """The maps themselves."""
        return maps

    def peaks(self, maps: Float[Tensor, "b c y x"]) -> Peaks:
        """Their peaks."""
        return peaks_of(maps)


@dataclass(frozen=True)
class Downward:
    """The negative channels, whose strongest images are those on which a unit is lowest."""

    def n_units(self, n_channels: int) -> int:
        """All of them."""
        return n_channels

    def __call__(self, maps: Float[Tensor, "b c y x"]) -> Float[Tensor, "b c y x"]:
        """The negative maps."""
        return -maps

    def peaks(self, maps: Float[Tensor, "b c y x"]) -> Peaks:
        """Their peaks."""
        return peaks_of(-maps)


@dataclass(frozen=True, eq=False)
class Directions:
    """Linear readouts: one more 1x1 convolution, each unit a direction in the layer's activation space.

    Args:
        weights: one row per unit.
        bias: one number per unit, added to its map.
    """

    weights: Float[Tensor, "u c"]
    bias: Float[Tensor, " u"]

    def n_units(self, n_channels: int) -> int:
        """One unit per row.

        Raises:
            ModelError: if the length of the rows is not the number of channels, or the bias has another length.
        """
        rows = len(self.weights)
        if self.weights.ndim != 2 or self.weights.shape[1] != n_channels or tuple(self.bias.shape) != (rows,):
            raise ModelError(
                f"directions have weights of shape {tuple(self.weights.shape)} and a bias of {tuple(self.bias.shape)}; "
                f"the layer has {n_channels} channels, so (units, {n_channels}) and (units,) are allowed"
            )
        return rows

    def __call__(self, maps: Float[Tensor, "b c y x"]) -> Float[Tensor, "b u y x"]:
        """Their maps."""
        return nn.functional.conv2d(maps, *self._filters(maps))

    def peaks(self, maps: Float[Tensor, "b c y x"]) -> Peaks:
        """Their peaks, computed for several images at a time, or for some rows of one image if the maps are large."""
        height, width = maps.shape[2:]
        n_images, n_rows = self._piece(maps)
        tops = range(0, height, n_rows)
        weights, bias = self._filters(maps)
        pieces = [
            peaks_of(nn.functional.conv2d(images[:, :, top : top + n_rows], weights, bias))
            for images in maps.split(n_images)
            for top in tops
        ]
        shape = (len(maps), len(tops), len(self.weights))
        value, strip = torch.cat([piece.value for piece in pieces]).view(shape).max(dim=1)  # the first of equal ones
        place = torch.cat([piece.place for piece in pieces]).view(shape).gather(1, strip[:, None])[:, 0]
        return Peaks(value, place + strip * (n_rows * width), width)

    def _piece(self, maps: Float[Tensor, "b c y x"]) -> tuple[int, int]:
        """How many images, and how many rows of each, are computed at once."""
        height, width = maps.shape[2:]
        at_once = _IN_CACHE if maps.device.type == "cpu" else _ON_GPU
        row = len(self.weights) * width
        n_strips = min(height, -(-row * height // at_once))  # 1 if several images fit
        return max(1, at_once // (row * height)), -(-height // n_strips)

    def _filters(self, maps: Float[Tensor, "b c y x"]) -> tuple[Float[Tensor, "u c 1 1"], Float[Tensor, " u"]]:
        return self.weights.to(maps)[:, :, None, None], self.bias.to(maps)

    @property
    def directions(self) -> Directions:
        """The directions to read: these."""
        return self

    def of_directions(self, peaks: Peaks) -> Peaks:
        """The units' peaks, from the peaks of their directions."""
        return peaks


@dataclass(frozen=True, eq=False)
class Largest:
    """Each unit is the largest of several directions at each position, so it answers to several things.

    Args:
        directions: the directions of all units, `per_unit` consecutive ones for each.
        per_unit: number of directions per unit.
    """

    directions: Directions
    per_unit: int

    def n_units(self, n_channels: int) -> int:
        """One unit for each `per_unit` directions.

        Raises:
            ModelError: if the directions do not fit the layer.
        """
        return self.directions.n_units(n_channels) // self.per_unit

    def __call__(self, maps: Float[Tensor, "b c y x"]) -> Float[Tensor, "b u y x"]:
        """Their maps."""
        return self.directions(maps).unflatten(1, (-1, self.per_unit)).amax(dim=2)

    def peaks(self, maps: Float[Tensor, "b c y x"]) -> Peaks:
        """Their peaks."""
        return self._together.peaks(maps)

    def of_directions(self, peaks: Peaks) -> Peaks:
        """The units' peaks, from the peaks of their directions: the peak of a maximum is the largest of the peaks."""
        values, places = (tensor.unflatten(1, (-1, self.per_unit)) for tensor in (peaks.value, peaks.place))
        value = values.amax(dim=2)
        # If directions are equal, the first position counts.
        place = torch.where(values == value[..., None], places, _NO_PLACE).amin(dim=2)
        return Peaks(value, place, peaks.width)

    @cached_property
    def _together(self) -> Together:
        return Together((self,))


@dataclass(frozen=True, eq=False)
class Together:
    """Several readouts of a layer as one, with their units one after the other.

    All their directions are read at once: one product of large matrices takes less time than several of smaller ones.
    A direction that occurs more than once (pairs share their parts) is read once.
    """

    readouts: tuple[Readout, ...]

    def n_units(self, n_channels: int) -> int:
        """Number of units of all readouts.

        Raises:
            ModelError: if one of them does not fit this number of channels.
        """
        return sum(units.n_units(n_channels) for units in self.readouts)

    def __call__(self, maps: Float[Tensor, "b c y x"]) -> Float[Tensor, "b u y x"]:
        """Their maps."""
        return torch.cat([units(maps) for units in self.readouts], dim=1)

    def peaks(self, maps: Float[Tensor, "b c y x"]) -> Peaks:
        """Their peaks."""
        linear = iter(self._linear_peaks(maps))
        peaks = [
            next(linear) if isinstance(units, Directions | Largest) else units.peaks(maps) for units in self.readouts
        ]
        return Peaks.joined(peaks)._replace(width=maps.shape[3])

    def _linear_peaks(self, maps: Float[Tensor, "b c y x"]) -> Iterator[Peaks]:
        """The peaks of each readout that is made of directions."""
        if not self._linear:
            return
        distinct, rows = self._distinct
        peaks = distinct.peaks(maps)
        for units, unit_rows in zip(self._linear, rows, strict=True):
            yield units.of_directions(peaks.of(unit_rows.to(maps.device)))

    @cached_property
    def _linear(self) -> list[Directions | Largest]:
        return [units for units in self.readouts if isinstance(units, Directions | Largest)]

    @cached_property
    def _distinct(self) -> tuple[Directions, list[Int64[Tensor, " v"]]]:
        """All directions, each once, and for each readout the rows of its directions among them."""
        parts = [units.directions for units in self._linear]
        rows = torch.cat([torch.cat([part.weights, part.bias[:, None]], dim=1) for part in parts])
        distinct, place = torch.unique(rows, dim=0, return_inverse=True)
        distinct = torch.cat([distinct, distinct[:1].expand(-len(distinct) % _LANES, -1)])  # fills the last vector
        directions = Directions(distinct[:, :-1].contiguous(), distinct[:, -1].contiguous())
        return directions, list(place.split([len(part.weights) for part in parts]))
