"""Drawing: an `Atlas` in, the files of the maps folder out. Nothing here reads a run or writes to disk."""

from polyscan.maps.atlas import Atlas, Cluster, Column, LayerRow, Mean, Panel, Rate, Tile, TrendPoint, UnitCard
from polyscan.maps.page import pages
from polyscan.maps.validation import validation_page

__all__ = [
    "Atlas",
    "Cluster",
    "Column",
    "LayerRow",
    "Mean",
    "Panel",
    "Rate",
    "Tile",
    "TrendPoint",
    "UnitCard",
    "pages",
    "validation_page",
]
