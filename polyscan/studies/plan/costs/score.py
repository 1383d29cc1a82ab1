"""What `score` takes: real units, controls and planted ones; real ones again where their crops are embedded, too."""

from __future__ import annotations

import math

from polyscan.studies.plan.evidence import FILING_S, READING_S, evidence_held
from polyscan.studies.plan.outlook import Outlook
from polyscan.studies.plan.row import PlanRow

SCORE_BYTES, MATCH_BYTES, CLUSTER_BYTES = 24, 80, 3
"""Of one row on disk."""
PSI = ("labels", "words")
PSI_ROWS = 4


def cost(outlook: Outlook) -> PlanRow:
    """Real units, controls and planted ones; real ones again where their crops are embedded beside features."""
    job, cost = outlook.job, outlook.unit_cost
    shards = rows = 0
    bytes_ = time_ = 0.0
    for layer in outlook.layers:
        units = sum(layer.scored)
        beside = layer.point.n_channels if job.embed.crops and layer.space != "image" else 0
        pictured = layer.n_visualized - layer.n_null_visualized
        nulls = int("null" in layer.virtual and "layer" in job.calibrate.nulls)
        nulls += outlook.n_pooled_nulls if layer.space == "image" else 0
        per_unit = cost.n_values + max(0, nulls - 1) * len(outlook.calibrated) + nulls * (1 + len(PSI) * PSI_ROWS)
        scores = units * per_unit + beside * cost.n_values + pictured * per_unit
        matches = (units + pictured) * nulls
        clusters = (units + beside) * outlook.n + pictured * job.visualize.max_images
        shards += sum(math.ceil(n / job.score.units_per_shard) for n in layer.scored)
        rows += scores + matches + clusters
        bytes_ += scores * SCORE_BYTES + matches * MATCH_BYTES + clusters * CLUSTER_BYTES
        time_ += units * cost.of(layer.width) + beside * cost.of(outlook.embedding_width)
        time_ += pictured * outlook.picture_cost.of(outlook.embedding_width) if pictured else 0.0
    return PlanRow("score", shards, rows, bytes_, time_ + rows * FILING_S + shards * READING_S, evidence_held(outlook))
