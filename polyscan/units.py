"""Layers and their units, in one fixed order.

A unit's place in that order (its `number`) follows the depth of its layer, then its channel: every range of units,
every shard and every row of `map.parquet` is in this order.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

REAL = "unit"
"""The role of a layer's own channels; virtual layers have other roles: `null`, `control`, `planted`, `down` ..."""
DIRECTION = "direction"
"""The role of directions that a user brings: virtual units that are judged and shown like channels."""
JUDGED = (REAL, DIRECTION)
"""Roles of the units that have a row in the map, a verdict and a page."""
VIRTUAL_MARK = "@"
"""Separates layer and role in the name of a virtual layer; only this file writes and parses it."""
CALL_MARK = "#"
"""Separates a module and the number of its call, if the network calls it more than once."""


def virtual_layer(parent: str, role: str) -> str:
    """Name of the virtual layer that is read from `parent`; a real layer's own name for the role `unit`.

    >>> virtual_layer("layer1.0", "null"), virtual_layer("layer1.0", "unit")
    ('layer1.0@null', 'layer1.0')
    """
    return parent if role == REAL else f"{parent}{VIRTUAL_MARK}{role}"


def parent_and_role(layer: str) -> tuple[str, str]:
    """The layer that a layer is read from (itself, if it is real), and its role.

    >>> parent_and_role("layer1.0@null"), parent_and_role("layer1.0")
    (('layer1.0', 'null'), ('layer1.0', 'unit'))
    """
    parent, _, role = layer.partition(VIRTUAL_MARK)
    return parent, role or REAL


@dataclass(frozen=True, order=True)
class Unit:
    """One readout of one layer: a channel, or a virtual unit where the layer is virtual.

    >>> str(Unit("layer4.2.conv3", 17))
    'layer4.2.conv3:17'
    """

    layer: str
    channel: int

    def __str__(self) -> str:
        return f"{self.layer}:{self.channel}"

    @classmethod
    def parse(cls, text: str) -> Unit:
        """The unit written as `layer:channel`.

        Raises:
            ValueError: if there is no colon, or the text after the last one is not a whole number.

        >>> Unit.parse("layer1.0:3")
        Unit(layer='layer1.0', channel=3)
        """
        layer, colon, channel = text.rpartition(":")
        if not colon or not layer or not channel.isdecimal():
            raise ValueError(f'"{text}" is not a unit; write a unit as layer:channel, as in layer1.0:3')
        return cls(layer, int(channel))


@dataclass(frozen=True)
class Layer:
    """One scanned layer.

    Args:
        name: dotted module name as in `named_modules()`, followed by `#2` for the second call of a shared module, and
            by `@role` for a virtual layer.
        depth: place in the forward order, 0 first.
        n_units: number of its units.
    """

    name: str
    depth: int
    n_units: int

    @property
    def parent(self) -> str:
        """The real layer that it is read from; itself, unless it is virtual."""
        return parent_and_role(self.name)[0]

    @property
    def role(self) -> str:
        """The role of its units: `unit` for a real layer, else `null`, `control`, `planted`, `down` ...

        >>> Layer("layer1.0@null", 0, 200).role, Layer("layer1.0", 0, 64).role
        ('null', 'unit')
        """
        return parent_and_role(self.name)[1]

    @property
    def is_real(self) -> bool:
        """Whether its units are channels of the network."""
        return self.role == REAL

    @property
    def is_judged(self) -> bool:
        """Whether its units have verdicts and pages: channels, and directions of one's own.

        >>> Layer("layer1.0@direction", 0, 8).is_judged, Layer("layer1.0@null", 0, 200).is_judged
        (True, False)
        """
        return self.role in JUDGED


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

    def ranges(self, predicate: Callable[[Layer], bool]) -> list[tuple[int, int]]:
        """First number, and the number after the last, of each layer that the predicate accepts, in order.

        >>> UnitOrder([Layer("a", 0, 2), Layer("a@null", 0, 4), Layer("b", 1, 3)]).ranges(lambda layer: layer.is_real)
        [(0, 2), (6, 9)]
        """
        return [
            (start, start + layer.n_units)
            for layer, start in zip(self.layers, self.starts, strict=False)
            if predicate(layer)
        ]

    def within_layer(self, start: int, stop: int) -> tuple[Layer, range]:
        """The layer of the units `start` up to, not including, `stop`, and their channels.

        >>> UnitOrder([Layer("a", 0, 2), Layer("b", 1, 3)]).within_layer(3, 5)
        (Layer(name='b', depth=1, n_units=3), range(1, 3))
        """
        layer = self.layer(self[start].layer)
        first = start - self.start(layer.name)
        return layer, range(first, first + stop - start)
