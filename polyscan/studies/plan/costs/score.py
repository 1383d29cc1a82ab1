"""The cost of `score`: scoring real units, controls and planted units."""

from __future__ import annotations

import math
from typing import NamedTuple

from polyscan.studies.plan.evidence import READING_S, WRITING_S, evidence_held
from polyscan.studies.plan.outlook import LayerOutlook, Outlook
from polyscan.studies.plan.row import PlanRow

SCORE_BYTES, MATCH_BYTES, CLUSTER_BYTES, ARTEFACT_BYTES = 24, 80, 3, 8
"""Bytes of one row of `scores`, `matches`, `clusters` and `artefacts` on disk."""
PSI = ("labels", "words")
PSI_ROWS = 4


class _ScoreCounts(NamedTuple):
    """What is scored in one layer, and the rows that it gives.

    Args:
        units: real units, controls and planted units.
        crops: real units that are scored again with embedded crops.
        second: units that are scored with their deflated evidence.
        visualized: units that are scored with their visualizations.
        scores: rows of `scores`.
        matches: rows of `matches`.
        clusters: rows of `clusters`.
    """

    units: int
    crops: int
    second: int
    visualized: int
    scores: int
    matches: int
    clusters: int


def cost(outlook: Outlook) -> PlanRow:
    """Real units, controls and planted units; real units again if their crops are embedded in addition to features."""
    unit_cost = outlook.unit_cost
    shards = rows = 0
    bytes_ = time_ = 0.0
    for layer in outlook.layers:
        counts = _counts(outlook, layer)
        shards += sum(math.ceil(n / outlook.job.score.units_per_shard) for n in layer.scored)
        rows += counts.scores + counts.matches + counts.clusters + counts.units
        bytes_ += (
            counts.units * ARTEFACT_BYTES
            + counts.scores * SCORE_BYTES
            + counts.matches * MATCH_BYTES
            + counts.clusters * CLUSTER_BYTES
        )
        time_ += counts.second * outlook.second_cost.of(layer.width) if counts.second else 0.0
        time_ += counts.units * unit_cost.of(layer.width) + counts.crops * unit_cost.of(outlook.embedding_width)
        time_ += counts.visualized * outlook.picture_cost.of(outlook.embedding_width) if counts.visualized else 0.0
    time_ += rows * WRITING_S + shards * READING_S
    return PlanRow("score", shards, rows, bytes_, time_, evidence_held(outlook))


def _counts(outlook: Outlook, layer: LayerOutlook) -> _ScoreCounts:
    job, n_values = outlook.job, outlook.unit_cost.n_values
    units = sum(layer.scored)
    crops = layer.n_judged if job.embed.crops and layer.space != "image" else 0
    visualized = layer.n_visualized - layer.n_null_visualized
    nulls = int("null" in layer.virtual and "layer" in job.calibrate.nulls)
    nulls += outlook.n_pooled_nulls if layer.space == "image" else 0
    per_unit = n_values + max(0, nulls - 1) * len(outlook.calibrated) + nulls * (1 + len(PSI) * PSI_ROWS)
    second = units if outlook.second_layers else 0
    of_second = second * (1 + outlook.second_cost.n_values) if second else 0
    return _ScoreCounts(
        units,
        crops,
        second,
        visualized,
        scores=units * per_unit + crops * n_values + visualized * per_unit + of_second,
        matches=(units + visualized) * nulls + second,
        clusters=(units + crops) * outlook.n + 2 * second * job.n_half + visualized * job.visualize.max_images,
    )
