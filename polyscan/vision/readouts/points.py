"""Read points: places in a network, and the maps that are read there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from polyscan.units import CALL_MARK
from polyscan.vision.fields import Field
from polyscan.vision.readouts.units import Channels, Peaks, Readout

Sink = Callable[[int, Float[Tensor, "b u y x"]], None]
"""Called during the pass with the index of a read point and its units' maps; must not keep the maps."""

PeakSink = Callable[[int, Peaks], None]
"""Called during the pass with the index of a read point and the peaks of its units' maps."""

OWN_CHANNELS = Channels()


@dataclass(frozen=True)
class ReadPoint:
    """One layer of a network, ready to be read.

    Args:
        layer: the layer's name, with `#2` for a shared module's second call, with `@name` for a readout of other units.
        depth: position in the forward order of the chosen layers; a readout has that of its layer.
        n_channels: number of units that `units` makes from the layer's channels.
        map_size: height and width of the activation map; (1, 1) if it has no spatial extent.
        field: the theoretical receptive field; None for the whole image.
        readout: where the layer is read, in words.
        relu_follows: whether every next operation is a ReLU.
        node: the node's name in the graph; the module's name if the network was not traced.
        channels_last: whether the channels are the last axis there, as after a linear layer.
        units: makes the units' maps from the layer's maps.
    """

    layer: str
    depth: int
    n_channels: int
    map_size: tuple[int, int]
    field: Field
    readout: str
    relu_follows: bool
    node: str
    channels_last: bool
    units: Readout = OWN_CHANNELS

    def maps(self, value: Tensor) -> Float[Tensor, "b c y x"]:
        """The layer's maps, from the value of its node."""
        return as_map(value, channels_last=self.channels_last)


def smoothed(maps: Float[Tensor, "b c y x"]) -> Float[Tensor, "b c y x"]:
    """The average of each position's 3 x 3 neighbourhood; at a border, of the part inside the map."""
    return nn.functional.avg_pool2d(maps, 3, stride=1, padding=1, count_include_pad=False)


def as_map(value: Tensor, *, channels_last: bool) -> Float[Tensor, "b c y x"]:
    """A layer's output as maps: a vector has one position, tokens are one column of positions."""
    if value.ndim == 4:
        return value.permute(0, 3, 1, 2) if channels_last else value
    if value.ndim == 3:
        return value.permute(0, 2, 1).unsqueeze(-1)
    return value.reshape(value.shape[0], -1, 1, 1)


def call_name(name: str, calls: dict[str, int]) -> str:
    """The name of a module's next call: the module's name, later with `#2`, `#3` appended; `calls` counts the calls."""
    calls[name] = calls.get(name, 0) + 1
    return name if calls[name] == 1 else f"{name}{CALL_MARK}{calls[name]}"
