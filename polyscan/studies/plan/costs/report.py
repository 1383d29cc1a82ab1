"""What the report takes: data and pictures of each unit, copied, and a script a column."""

from __future__ import annotations

from polyscan.studies.plan.costs.picture import HELD, sprite_bytes
from polyscan.studies.plan.outlook import Outlook
from polyscan.studies.plan.row import PlanRow

PAGE_BYTES, COLUMN_BYTES, ASSET_BYTES = 2000, 4 * 4 / 3, 1.1e6
"""Of a unit's data without its pictures; of one number of one unit on the map; of what pages share."""
COLUMNS = 30
DRAWING_S = 1.6e-3
"""Of a unit's data and pictures as the maps have them."""


def cost(outlook: Outlook) -> PlanRow:
    """The maps: data and pictures of each unit, copied, and a script a column."""
    job = outlook.job
    units = sum(layer.point.n_channels for layer in outlook.layers)
    shown = units
    if job.show.pictures_per_layer is not None:
        most = job.show.pictures_per_layer
        shown = sum(min(layer.point.n_channels, most) for layer in outlook.layers)
    pictures = sprite_bytes(outlook) * shown / max(1, units)
    bytes_ = pictures + units * (PAGE_BYTES + 2 * COLUMNS * COLUMN_BYTES) + ASSET_BYTES
    return PlanRow("report", 0, units, bytes_, units * DRAWING_S, HELD)
