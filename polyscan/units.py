"""What is scanned: layers and their units, in one fixed order.

A unit's place in that order (its `number`) is the depth order of the layers, then the channel: every range of
units, every shard and every row of `map.parquet` follows it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate


@dataclass(frozen=True, order=True)
class Unit:
    """One read-out of one layer: a channel, or a virtual unit where the layer's name holds an `@`.

    >>> str(Unit("layer4.2.conv3", 17))
    'layer4.2.conv3:17'
    """

    layer: str
    channel: int

    def __str__(self) -> str:
        return f"{self.layer}:{self.channel}"

    @classmethod
    def parse(cls, text: str) -> Unit:
        """The unit that `layer:channel` names.

        Raises:
            ValueError: if there is no colon, or what follows the last one is no whole number.

        >>> Unit.parse("layer1.0:3")
        Unit(layer='layer1.0', channel=3)
        """
        layer, colon, channel = text.rpartition(":")
        if not colon or not layer or not channel.isdecimal():
            raise ValueError(f'"{text}" names no unit; a unit is written layer:channel, as in layer1.0:3')
        return cls(layer, int(channel))


@dataclass(frozen=True)
class Layer:
    """One layer as it is scanned.

    Args:
        name: dotted module name as in `named_modules()`; a second call of a shared module has `#2` behind it,
            a virtual layer `@name`.
        depth: place in the forward order, 0 first.
        n_units: how many units it has.
    """

    name: str
    depth: int
    n_units: int

    @property
    def parent(self) -> str:
        """The layer that it is read from: itself, or what stands before the `@`."""
        return self.name.partition("@")[0]

    @property
    def role(self) -> str:
        """What its virtual units are for: `null`, `control`, `planted`, `down` ...; empty for a real layer.

        >>> Layer("layer1.0@null", 0, 200).role
        'null'
        """
        return self.name.partition("@")[2]


class UnitOrder(Sequence[Unit]):
    """All units of a run in their fixed order, addressed by number.

    >>> order = UnitOrder([Layer("a", 0, 2), Layer("b", 1, 3)])
    >>> len(order), str(order[3]), order.number(Unit("b", 1))
    (5, 'b:1', 3)
    """

    def __init__(self, layers: Iterable[Layer]) -> None:
        self.layers = tuple(sorted(layers, key=lambda layer: layer.depth))
        self.starts = tuple(accumulate((layer.n_units for layer in self.layers), initial=0))
        self._place = {layer.name: place for place, layer in enumerate(self.layers)}

    def __len__(self) -> int:
        return self.starts[-1]

    def __getitem__(self, number: int) -> Unit:  # type: ignore[override]  # slices are ranges of numbers here
        if not 0 <= number < len(self):
            raise IndexError(f"unit number {number} is outside 0..{len(self) - 1}")
        place = bisect_right(self.starts, number) - 1
        return Unit(self.layers[place].name, number - self.starts[place])

    def __iter__(self) -> Iterator[Unit]:
        return (Unit(layer.name, channel) for layer in self.layers for channel in range(layer.n_units))

    def number(self, unit: Unit) -> int:
        """Place of `unit` in the order.

        Raises:
            KeyError: if the layer is not scanned or has no such channel.
        """
        place = self._place[unit.layer]
        if not 0 <= unit.channel < self.layers[place].n_units:
            raise KeyError(f"{unit.layer} has channels 0..{self.layers[place].n_units - 1}, not {unit.channel}")
        return self.starts[place] + unit.channel

    def start(self, layer: str) -> int:
        """Number of the layer's first unit."""
        return self.starts[self._place[layer]]

    def layer(self, name: str) -> Layer:
        """The layer of that name."""
        return self.layers[self._place[name]]
