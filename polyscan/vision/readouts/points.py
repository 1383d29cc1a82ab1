"""What is read: a place in a network, and what it gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from polyscan.units import CALL_MARK
from polyscan.vision.fields import Field
from polyscan.vision.readouts.units import Channels, Peaks, Readout

Sink = Callable[[int, Float[Tensor, "b u y x"]], None]
"""Is handed the index of a read point and its units' maps, while the pass stands there; must not keep the maps."""

PeakSink = Callable[[int, Peaks], None]
"""Is handed the index of a read point and the peaks of its units' maps."""

OWN_CHANNELS = Channels()


@dataclass(frozen=True)
class ReadPoint:
    """One layer of a network, ready to be read.

    Args:
        layer: its name; `#2` behind it for a shared module's second call, `@name` for a readout of other units.
        depth: place in the forward order of the chosen layers; a readout has its layer's.
        n_channels: its units, as many as `units` makes of the layer's channels.
        map_size: height and width of its activation map; (1, 1) where it has no space.
        field: its theoretical receptive field; None for the whole image.
        readout: where it is read, in words.
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
    readout: str
    relu_follows: bool
    node: str
    channels_last: bool
    units: Readout = OWN_CHANNELS

    def maps(self, value: Tensor) -> Float[Tensor, "b c y x"]:
        """The layer's maps, of what the network gives at its place."""
        return as_map(value, channels_last=self.channels_last)


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
    return name if calls[name] == 1 else f"{name}{CALL_MARK}{calls[name]}"
