"""Where units are read, and reading many layers in one forward pass.

A convolution's units are read after the batch norm that follows it and before the ReLU; a block's units after its
addition and before its last ReLU. `torch.fx` finds these places, and the forward pass ends after the deepest of them.
A network that can't be traced is read at the outputs of its modules, which the column `readout` of each layer says.
"""

from polyscan.vision.readouts.blocks import blocks_of
from polyscan.vision.readouts.choosing import chosen_layers
from polyscan.vision.readouts.own_maps import OwnMaps
from polyscan.vision.readouts.points import PeakSink, ReadPoint, Sink, smoothed
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
    "blocks_of",
    "chosen_layers",
    "peaks_of",
    "smoothed",
    "traced",
]
