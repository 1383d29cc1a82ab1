"""The cost of `name`: naming clusters and exemplars."""

from __future__ import annotations

import math

from polyscan.scores.sample import MOST_PARTS
from polyscan.stages.name import NAMES
from polyscan.studies.plan.evidence import evidence_held
from polyscan.studies.plan.outlook import Outlook
from polyscan.studies.plan.row import PlanRow

NAME_BYTES = 6
"""Bytes of one row on disk."""
NAMING_S = 3e-3
"""Seconds per unit."""


def cost(outlook: Outlook) -> PlanRow:
    """Names of each cluster, and of all exemplars of a unit."""
    sizes = [layer.n_judged for layer in outlook.layers]
    rows = sum(sizes) * NAMES * (1 + MOST_PARTS)
    shards = sum(math.ceil(n / outlook.job.score.units_per_shard) for n in sizes)
    return PlanRow("name", shards, rows, rows * NAME_BYTES, sum(sizes) * NAMING_S, evidence_held(outlook))
