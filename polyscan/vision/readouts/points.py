"""What is read: a place in a network, and the numbers that are made of its maps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from jaxtyping import Float
from torch import Tensor, nn

from polyscan.errors import ModelError
from polyscan.vision.fields import Field

Sink = Callable[[int, Float[Tensor, "b u y x"]], None]
"""Is handed the index of a read point and its units' maps, while the pass stands there; must not keep the maps."""


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


@dataclass(frozen=True)
class Channels:
    """The layer's own channels."""

    def n_units(self, n_channels: int) -> int:
        """All of them."""
        return n_channels

    def __call__(self, maps: Float[Tensor, "b c y x"]) -> Float[Tensor, "b c y x"]:
        """The maps themselves."""
        return maps


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
        weights, bias = self.weights.to(maps), self.bias.to(maps)
        return nn.functional.conv2d(maps, weights[:, :, None, None], bias)


@dataclass(frozen=True)
class Downward:
    """The channels upside down: what a unit's strongest images downwards are."""

    def n_units(self, n_channels: int) -> int:
        """All of them."""
        return n_channels

    def __call__(self, maps: Float[Tensor, "b c y x"]) -> Float[Tensor, "b c y x"]:
        """The negative maps."""
        return -maps


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


@dataclass(frozen=True)
class ReadPoint:
    """One layer of a network, ready to be read.

    Args:
        layer: its name; `#2` behind it for a shared module's second call, `@name` for a read-out of other units.
        depth: place in the forward order of the chosen layers; a read-out has its layer's.
        n_channels: its units, as many as `units` makes of the layer's channels.
        map_size: height and width of its activation map; (1, 1) where it has no space.
        field: its theoretical receptive field; None for the whole image.
        read_out: where it is read, in words.
        relu_follows: whether every next operation is a ReLU.
        node: where it is in the graph; the module's name where the network was not traced.
        channels_last: whether the channels are the last axis there, as behind a linear layer.
        units: makes its units' maps of the layer's.
    """

    layer: str
    depth: int
    n_channels: int
    map_size: tuple[int, int]
    field: Field
    read_out: str
    relu_follows: bool
    node: str
    channels_last: bool
    units: ReadOut = Channels()

    def unit_maps(self, value: Tensor) -> Float[Tensor, "b u y x"]:
        """Its units' maps, of what the network gives at its place."""
        return self.units(as_map(value, channels_last=self.channels_last))


def smoothed(maps: Float[Tensor, "b c y x"]) -> Float[Tensor, "b c y x"]:
    """Each place's 3 x 3 neighbourhood averaged; at a border, what there is of it."""
    return nn.functional.avg_pool2d(maps, 3, stride=1, padding=1, count_include_pad=False)


def as_map(value: Tensor, *, channels_last: bool) -> Float[Tensor, "b c y x"]:
    """A layer's output as maps: vectors have one position, tokens one column of them."""
    if value.ndim == 4:
        return value.permute(0, 3, 1, 2) if channels_last else value
    if value.ndim == 3:
        return value.permute(0, 2, 1).unsqueeze(-1)
    return value.reshape(value.shape[0], -1, 1, 1)


def call_name(name: str, calls: dict[str, int]) -> str:
    """The name of a module's next call: its own, then with `#2`, `#3` behind it; `calls` counts them."""
    calls[name] = calls.get(name, 0) + 1
    return name if calls[name] == 1 else f"{name}#{calls[name]}"
