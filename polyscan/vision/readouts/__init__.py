"""Where units are read, and reading many layers in one forward pass.

A unit is read where its convolution's signal is ready: behind the batch norm that follows it and before the ReLU; a
block behind its addition and before its last ReLU. `torch.fx` finds the place and the forward pass is cut behind the
deepest one. A network that can't be traced is read at its modules' own outputs, and every layer says so.
"""

from polyscan.vision.readouts.blocks import blocks_of
from polyscan.vision.readouts.choosing import choose, chosen_layers
from polyscan.vision.readouts.own_maps import OwnMaps
from polyscan.vision.readouts.points import PeakSink, ReadPoint, Sink, as_map, smoothed
from polyscan.vision.readouts.reader import Reader, Trunk
from polyscan.vision.readouts.units import Channels, Directions, Downward, Largest, Peaks, Readout, peaks_of
from polyscan.vision.tracing import traced

__all__ = [
    "Channels",
    "Directions",
    "Downward",
    "Largest",
    "OwnMaps",
    "PeakSink",
    "Peaks",
    "Readout",
    "ReadPoint",
    "Reader",
    "Sink",
    "Trunk",
    "as_map",
    "blocks_of",
    "choose",
    "chosen_layers",
    "peaks_of",
    "smoothed",
    "traced",
]
