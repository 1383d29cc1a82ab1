"""The cost of `combine`: merging the exemplars of all shards into the top k of each unit."""

from __future__ import annotations

import math

from polyscan.stages.combine import UNITS_PER_SHARD
from polyscan.studies.plan.outlook import Outlook
from polyscan.studies.plan.row import PlanRow

EXEMPLAR_BYTES, UNIT_BYTES = 15, 80
"""Bytes of one row of `exemplars` and `units` on disk."""
MERGING_S, OPENING_S, FILE_S = 1.5e-6, 0.015, 2.5e-3
"""Seconds to read and rank a candidate, to begin a shard, and to open one of the parts of `collect`."""
RANKED_HELD = 200
"""Bytes in memory of a candidate that is ranked."""


def cost(outlook: Outlook) -> PlanRow:
    """The top k of each unit, from the candidates of all shards."""
    job = outlook.job
    sizes = [n for layer in outlook.layers for n in (layer.point.n_channels, *layer.virtual.values())]
    shards = sum(math.ceil(n / UNITS_PER_SHARD) for n in sizes)
    units, kept = sum(sizes), sum(sizes) * job.k
    parts = math.ceil(len(outlook.images) / job.collect.images_per_shard)
    bytes_ = kept * EXEMPLAR_BYTES + units * UNIT_BYTES
    held = min(max(sizes), UNITS_PER_SHARD) * job.k * parts * RANKED_HELD
    time_ = kept * parts * MERGING_S + shards * (OPENING_S + parts * FILE_S)
    return PlanRow("combine", shards, kept + units, bytes_, time_, held)
