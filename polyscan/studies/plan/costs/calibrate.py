"""The cost of `calibrate`: scoring null sets."""

from __future__ import annotations

import math

from polyscan.stats.whitening import COMPONENTS
from polyscan.studies.plan.evidence import READING_S, WRITING_S, evidence_held
from polyscan.studies.plan.outlook import Outlook
from polyscan.studies.plan.row import PlanRow

NULL_BYTES = 8
"""Bytes of one row on disk."""


def cost(outlook: Outlook) -> PlanRow:
    """Every score with a tail on the first sets of each null, the test's scores on further ones."""
    settings = outlook.job.calibrate
    of_layer = [layer.virtual.get("null", 0) if "layer" in settings.nulls else 0 for layer in outlook.layers]
    pooled = [settings.embedding_sets] * outlook.n_pooled_nulls
    shards = sum(math.ceil(n / settings.sets_per_shard) for n in (*of_layer, *pooled))
    widths = [*(layer.width for layer in outlook.layers), *(outlook.embedding_width for _ in pooled)]
    rows, time_ = 0, 0.0
    for n, width in zip((*of_layer, *pooled), widths, strict=True):
        full = min(n, settings.full_sets)
        for count, set_cost in ((full, outlook.null_cost), (n - full, outlook.test_cost if n > full else None)):
            rows += count * set_cost.n_values if set_cost else 0
            time_ += count * set_cost.of(width) if set_cost else 0.0
    for layer, n in zip(outlook.layers, of_layer, strict=True):
        pictured = min(n, layer.n_null_visualized)
        rows += pictured * outlook.null_cost.n_values
        if outlook.second_layers and n:
            rows += n * outlook.second_cost.n_values
            time_ += n * outlook.second_cost.of(layer.width)
        time_ += pictured * outlook.picture_cost.of(outlook.embedding_width) if pictured else 0.0
    held = evidence_held(outlook) + (_pool_held(outlook) if pooled else 0)
    # The tables of a null are read once for all its shards.
    time_ += rows * WRITING_S + sum(1 for n in (*of_layer, *pooled) if n) * READING_S
    return PlanRow("calibrate", shards, rows, rows * NULL_BYTES, time_, held)


def _pool_held(outlook: Outlook) -> int:
    """Bytes of the pool's vectors: as stored, normalized, and along their principal components."""
    return len(outlook.images) * (8 * outlook.embedding_width + 8 * min(COMPONENTS, outlook.embedding_width))
