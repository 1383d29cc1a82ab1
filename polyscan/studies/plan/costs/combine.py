"""What `combine` takes: each unit's top k of those of all shards."""

from __future__ import annotations

import math

from polyscan.stages.combine import UNITS_PER_SHARD
from polyscan.studies.plan.outlook import Outlook
from polyscan.studies.plan.row import PlanRow

EXEMPLAR_BYTES, UNIT_BYTES = 15, 80
"""Of one row on disk."""
MERGING_S, OPENING_S, FILE_S = 1.5e-6, 0.015, 2.5e-3
"""Of one candidate that is read and ranked, of a shard, and of each of `collect`'s parts that it opens."""
RANKED_HELD = 200
"""Bytes in memory for a candidate that is ranked."""


def cost(outlook: Outlook) -> PlanRow:
    """Each unit's top k of those of all shards."""
    job = outlook.job
    sizes = [n for layer in outlook.layers for n in (layer.point.n_channels, *layer.virtual.values())]
    shards = sum(math.ceil(n / UNITS_PER_SHARD) for n in sizes)
    units, kept = sum(sizes), sum(sizes) * job.collect.k
    parts = math.ceil(len(outlook.images) / job.collect.images_per_shard)
    bytes_ = kept * EXEMPLAR_BYTES + units * UNIT_BYTES
    held = min(max(sizes), UNITS_PER_SHARD) * job.collect.k * parts * RANKED_HELD
    time_ = kept * parts * MERGING_S + shards * (OPENING_S + parts * FILE_S)
    return PlanRow("combine", shards, kept + units, bytes_, time_, held)
