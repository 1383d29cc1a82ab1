"""The cost of `name`: naming clusters and exemplars, by labels or by a model that sees crops."""

from __future__ import annotations

import math

from polyscan.inputs import counts_labels
from polyscan.scores.sample import MOST_PARTS
from polyscan.stages.name import NAMES
from polyscan.stages.name.crops import POOL
from polyscan.stages.name.knowledge import IMAGES
from polyscan.studies.plan.costs.embed import CUTTING_S
from polyscan.studies.plan.evidence import drawn_crops, evidence_held
from polyscan.studies.plan.outlook import LayerOutlook, Outlook
from polyscan.studies.plan.row import PlanRow

NAME_BYTES = 20
"""Bytes of one row on disk."""
LABELLING_S, NAMING_S = 8e-3, 2e-2
"""Seconds per unit: to count labels, and to compare a thousand words with random sets."""
PARTS = 2.5
"""Clusters of a unit, on average; measured 2.3 to 2.9 on MobileNetV2."""


def cost(outlook: Outlook) -> PlanRow:
    """Names of each cluster of both tests, and of all exemplars of a unit."""
    sizes = [layer.n_judged for layer in outlook.layers]
    n_units, by_labels = sum(sizes), counts_labels(outlook.job)
    clusters = MOST_PARTS + 2 * bool(outlook.second_layers)
    rows = n_units * (NAMES + (not by_labels)) * (1 + clusters)
    vectors = 0 if by_labels else n_units * clusters
    shards = sum(math.ceil(n / outlook.job.score.units_per_shard) for n in sizes) + (not by_labels)
    seconds = n_units * (LABELLING_S if by_labels else NAMING_S)
    if not by_labels:
        crops = IMAGES + POOL + drawn_crops(outlook, [_draws(outlook, layer) for layer in outlook.layers]).expected
        seconds += crops * (outlook.naming_seconds + CUTTING_S)
    n_bytes = rows * NAME_BYTES + vectors * (NAME_BYTES + 4 * outlook.naming_width)
    return PlanRow("name", shards, rows + vectors, n_bytes, seconds, evidence_held(outlook))


def _draws(outlook: Outlook, layer: LayerOutlook) -> float:
    """Crops of a layer's units that the model sees, and random crops."""
    items = outlook.job.name.items * (PARTS + bool(outlook.second_layers))
    return layer.n_judged * min(items, outlook.n_items) + POOL
