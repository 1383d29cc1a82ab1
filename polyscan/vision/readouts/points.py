"""Read points: places in a network, and the maps that are read there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from polyscan.units import CALL_MARK
from polyscan.vision.fields import Field
from polyscan.vision.readouts.layouts import Layout
from polyscan.vision.readouts.units import Channels, Peaks, Readout

Sink = Callable[[int, Float[Tensor, "b u y x"]], None]
"""Called during the pass with the index of a read point and its units' maps; must not keep the maps."""

PeakSink = Callable[[int, Peaks], None]
"""Called during the pass with the index of a read point and the peaks of its units' maps."""

OWN_CHANNELS = Channels()


@dataclass(frozen=True)
class PlacedLayer:
    """A place that may be read, before it is known where its images are.

    Args:
        layer: the layer's name, with `#2` for a further call.
        node: the node's name in the graph; the name of a call of a module if the network was not traced.
        channels: the axis of the channels.
        readout: where it is read, in words.
        relu_follows: whether every next operation is a ReLU.
        field: the theoretical receptive field; None for the whole image.
    """

    layer: str
    node: str
    channels: int
    readout: str
    relu_follows: bool = False
    field: Field = None

    def point(self, layout: Layout, shape: tuple[int, ...]) -> ReadPoint:
        """The read point for an output of this shape."""
        _, n_channels, *size = layout.shape(shape)
        # A position in a part of an image, or in a row of tokens, is no position in the image.
        is_map = len(shape) == 4 and layout.is_by_image
        field = self.field if is_map else None
        return ReadPoint(
            self.layer, 0, n_channels, (size[0], size[1]), field, self.readout, self.relu_follows, self.node, layout
        )


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
        layout: which axes of the node's output hold the images and the channels.
        units: makes the units' maps from the layer's maps.
        reads_input: whether the first input of the module is read, rather than the output; only if it was not traced.
    """

    layer: str
    depth: int
    n_channels: int
    map_size: tuple[int, int]
    field: Field
    readout: str
    relu_follows: bool
    node: str
    layout: Layout
    units: Readout = OWN_CHANNELS
    reads_input: bool = False

    def maps(self, value: Tensor) -> Float[Tensor, "b c y x"]:
        """The layer's maps, from the value of its node."""
        return self.layout.maps(value)


def smoothed(maps: Float[Tensor, "b c y x"]) -> Float[Tensor, "b c y x"]:
    """The average of each position's 3 x 3 neighbourhood; at a border, of the part inside the map."""
    return nn.functional.avg_pool2d(maps, 3, stride=1, padding=1, count_include_pad=False)


def call_name(name: str, calls: dict[str, int]) -> str:
    """The name of a module's next call: the module's name, later with `#2`, `#3` appended; `calls` counts the calls."""
    calls[name] = calls.get(name, 0) + 1
    return name if calls[name] == 1 else f"{name}{CALL_MARK}{calls[name]}"
