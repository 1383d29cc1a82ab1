"""Draws the files of the maps folder from an `Atlas`. Nothing here reads a run or writes to disk."""

from polyscan.maps.atlas import (
    Association,
    Atlas,
    Cluster,
    ElbowCurve,
    Gallery,
    LayerRow,
    MapColumn,
    Mean,
    NoUnits,
    NullPlace,
    NullSets,
    Panel,
    Plane,
    Rate,
    Statement,
    Tile,
    TrendPoint,
    UnitCard,
)
from polyscan.maps.site import Site, pages
from polyscan.maps.validation import validation_page

__all__ = [
    "Association",
    "Atlas",
    "Cluster",
    "MapColumn",
    "ElbowCurve",
    "Gallery",
    "LayerRow",
    "Mean",
    "NoUnits",
    "NullPlace",
    "NullSets",
    "Panel",
    "Plane",
    "Rate",
    "Site",
    "Statement",
    "Tile",
    "TrendPoint",
    "UnitCard",
    "pages",
    "validation_page",
]
