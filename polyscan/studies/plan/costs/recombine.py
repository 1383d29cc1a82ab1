"""The cost of `recombine`: merging the least explained images of all shards."""

from __future__ import annotations

import math

from polyscan.stages.recombine import UNITS_PER_SHARD
from polyscan.studies.plan.costs.combine import EXEMPLAR_BYTES, FILE_S, MERGING_S, OPENING_S, RANKED_HELD
from polyscan.studies.plan.costs.recollect import per_part
from polyscan.studies.plan.outlook import Outlook
from polyscan.studies.plan.row import PlanRow

UNIT_BYTES = 20
"""Bytes of one row of `seconds` on disk."""


def cost(outlook: Outlook) -> PlanRow:
    """The least explained images of each unit, from those of all shards."""
    job, layers = outlook.job, outlook.second_layers
    sizes = [n for layer in layers for n in (layer.point.n_channels, *layer.virtual.values())]
    if not sizes:
        return PlanRow("recombine", 0, 0, 0.0, 0.0, 0.0)
    shards = sum(math.ceil(n / UNITS_PER_SHARD) for n in sizes)
    units, n_images = sum(sizes), len(outlook.images)
    parts = math.ceil(n_images / job.collect.images_per_shard)
    merged, kept = per_part(outlook) * parts, units * job.n_half
    time_ = units * merged * MERGING_S + shards * (OPENING_S + parts * FILE_S)
    held = min(max(sizes), UNITS_PER_SHARD) * merged * RANKED_HELD
    return PlanRow(
        "recombine", shards, kept + units, float(kept * EXEMPLAR_BYTES + units * UNIT_BYTES), time_, float(held)
    )
