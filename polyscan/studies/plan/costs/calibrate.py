"""What `calibrate` takes: every score with a tail, on the evidence of null readouts and on sets of the pool."""

from __future__ import annotations

import math

from polyscan.stats.whitening import COMPONENTS
from polyscan.studies.plan.evidence import FILING_S, READING_S, evidence_held
from polyscan.studies.plan.outlook import Outlook
from polyscan.studies.plan.row import PlanRow

NULL_BYTES = 8
"""Of one row on disk."""


def cost(outlook: Outlook) -> PlanRow:
    """Every score with a tail, on the evidence of null readouts and on sets of the pool."""
    settings, cost = outlook.job.calibrate, outlook.null_cost
    of_layer = [layer.virtual.get("null", 0) if "layer" in settings.nulls else 0 for layer in outlook.layers]
    pooled = [settings.embedding_sets] * outlook.n_pooled_nulls
    shards = sum(math.ceil(n / settings.sets_per_shard) for n in (*of_layer, *pooled))
    time_ = sum(pooled) * cost.of(outlook.embedding_width)
    rows = sum(pooled) * cost.n_values
    for layer, n in zip(outlook.layers, of_layer, strict=True):
        pictured = min(n, layer.n_null_visualized)
        rows += (n + pictured) * cost.n_values
        time_ += n * cost.of(layer.width)
        time_ += pictured * outlook.picture_cost.of(outlook.embedding_width) if pictured else 0.0
    # Vectors of the pool as they are stored, of length one, and along their principal components.
    of_pool = len(outlook.images) * (8 * outlook.embedding_width + 8 * min(COMPONENTS, outlook.embedding_width))
    held = evidence_held(outlook) + (of_pool if pooled else 0)
    time_ += rows * FILING_S + shards * READING_S
    return PlanRow("calibrate", shards, rows, rows * NULL_BYTES, time_, held)
