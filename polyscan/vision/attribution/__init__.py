"""Attribution of units to the channels of lower layers: gradient x activation, and layer-wise relevance propagation."""

from polyscan.vision.attribution.attributor import HOWS, Attributions, Attributor, How, attributions
from polyscan.vision.attribution.masking import masked_directions, masked_values, purified_directions
from polyscan.vision.attribution.rules import COMPOSITES

__all__ = [
    "COMPOSITES",
    "HOWS",
    "Attributions",
    "Attributor",
    "How",
    "attributions",
    "masked_directions",
    "masked_values",
    "purified_directions",
]
