"""The cost of the maps: data and pictures of each unit, and one script per column."""

from __future__ import annotations

from polyscan.studies.plan.costs.picture import HELD, sprite_bytes
from polyscan.studies.plan.outlook import Outlook
from polyscan.studies.plan.row import PlanRow

PAGE_BYTES, COLUMN_BYTES, ASSET_BYTES = 2000, 4 * 4 / 3, 1.1e6
"""Bytes of a unit's data without pictures, of one number of a unit on the map, and of the files that pages share."""
COLUMNS = 30
DRAWING_S = 1.6e-3
"""Seconds per unit."""


def cost(outlook: Outlook) -> PlanRow:
    """Data and copied pictures of each unit, and one script per column."""
    job = outlook.job
    units = sum(layer.n_judged for layer in outlook.layers)
    shown = units
    if job.show.pictures_per_layer is not None:
        most = job.show.pictures_per_layer
        shown = sum(min(layer.n_judged, most) for layer in outlook.layers)
    pictures = sprite_bytes(outlook) * shown / max(1, units)
    bytes_ = pictures + units * (PAGE_BYTES + 2 * COLUMNS * COLUMN_BYTES) + ASSET_BYTES
    return PlanRow("report", 0, units, bytes_, units * DRAWING_S, HELD)
