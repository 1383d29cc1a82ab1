"""The numbers that are made of a layer's maps: its channels, or directions in its activation space."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor, nn

from polyscan.errors import ModelError

_IN_CACHE, _ON_GPU = 2**20, 2**26
"""Numbers of directions' maps that are in memory at once: what stays in a core's cache, or what keeps a GPU busy."""


class Peaks(NamedTuple):
    """Where and how strong each unit's peak over space is, on each image.

    Args:
        value: the peak.
        place: its place, row by row; the first of several on a CPU, any of them on a GPU.
        width: of the map.
    """

    value: Float32[Tensor, "b u"]
    place: Int64[Tensor, "b u"]
    width: int

    def first(self, n: int) -> Peaks:
        """Those of the first n images."""
        return Peaks(self.value[:n], self.place[:n], self.width)


def peaks_of(maps: Float[Tensor, "b u y x"]) -> Peaks:
    """Each map's peak and its place."""
    maps, width = maps.float(), maps.shape[3]
    if maps.device.type == "cpu":
        # One pooling window over the whole map finds both in one pass; `max` with indices is many times slower there.
        value, place = nn.functional.max_pool2d(maps, maps.shape[2:], return_indices=True)
        return Peaks(value.flatten(1), place.flatten(1), width)
    value, place = maps.flatten(2).max(dim=2)
    return Peaks(value, place, width)


class ReadOut(Protocol):
    """What is read from a layer's map: its channels, or other numbers made of them position by position."""

    def n_units(self, n_channels: int) -> int:
        """How many units it makes of a layer's channels.

        Raises:
            ModelError: if it can't be made of so many channels.
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
    """The channels upside down: what a unit's strongest images downwards are."""

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
    """Linear read-outs: one more 1x1 convolution, each unit a direction in the layer's activation space.

    Args:
        weights: one row per unit.
        bias: added to each.
    """

    weights: Float[Tensor, "u c"]
    bias: Float[Tensor, " u"]

    def n_units(self, n_channels: int) -> int:
        """One a row.

        Raises:
            ModelError: if the rows are not as long as the layer has channels, or the bias has another length.
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
        return self._of(maps, slice(None))

    def peaks(self, maps: Float[Tensor, "b c y x"]) -> Peaks:
        """Their peaks, some images' and some directions' maps at a time."""
        n, _, *size = maps.shape
        value = maps.new_empty(n, len(self.weights), dtype=torch.float32)
        place = maps.new_empty(value.shape, dtype=torch.int64)
        for images, units in self._chunks(maps):
            value[images, units], place[images, units], _ = peaks_of(self._of(maps[images], units))
        return Peaks(value, place, size[1])

    def _chunks(self, maps: Float[Tensor, "b c y x"]) -> Iterator[tuple[slice, slice]]:
        """Images and directions whose maps are made at once: all directions of several images, or some of one."""
        at_once = _IN_CACHE if maps.device.type == "cpu" else _ON_GPU
        of_one = maps.shape[2] * maps.shape[3]
        n_units = min(len(self.weights), max(1, at_once // of_one))
        n_images = max(1, at_once // (n_units * of_one))
        for image in range(0, len(maps), n_images):
            for unit in range(0, len(self.weights), n_units):
                yield slice(image, image + n_images), slice(unit, unit + n_units)

    def _of(self, maps: Float[Tensor, "b c y x"], units: slice) -> Float[Tensor, "b u y x"]:
        weights, bias = self.weights[units].to(maps), self.bias[units].to(maps)
        return nn.functional.conv2d(maps, weights[:, :, None, None], bias)


@dataclass(frozen=True, eq=False)
class Largest:
    """Each unit the largest of several directions, position by position: a unit that answers to several things.

    Args:
        parts: directions of all units in turn, `per_unit` for each.
        per_unit: how many directions a unit has.
    """

    parts: Directions
    per_unit: int

    def n_units(self, n_channels: int) -> int:
        """One for each `per_unit` directions.

        Raises:
            ModelError: if the directions do not fit the layer.
        """
        return self.parts.n_units(n_channels) // self.per_unit

    def __call__(self, maps: Float[Tensor, "b c y x"]) -> Float[Tensor, "b u y x"]:
        """Their maps."""
        return self.parts(maps).unflatten(1, (-1, self.per_unit)).amax(dim=2)

    def peaks(self, maps: Float[Tensor, "b c y x"]) -> Peaks:
        """Their peaks: a peak of the largest direction is the largest peak of the directions."""
        found = self.parts.peaks(maps)
        values, places = (each.unflatten(1, (-1, self.per_unit)) for each in (found.value, found.place))
        value = values.amax(dim=2)
        beyond = maps.shape[2] * maps.shape[3]  # of equal directions the one whose place is first
        place = torch.where(values == value[..., None], places, beyond).amin(dim=2)
        return Peaks(value, place, found.width)
