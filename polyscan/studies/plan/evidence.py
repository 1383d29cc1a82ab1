"""What the stages take that work on evidence: embed, calibrate, score, name."""

from __future__ import annotations

import math
from typing import NamedTuple

from polyscan.images import Picture
from polyscan.scores.sample import MOST_PARTS
from polyscan.stages.name import NAMES
from polyscan.stats.whitening import COMPONENTS
from polyscan.studies.plan.outlook import LayerOutlook, Outlook
from polyscan.studies.plan.passes import PlanRow, sampled
from polyscan.vision.readouts import Reader

THUMBNAIL_BYTES, NULL_BYTES, SCORE_BYTES, MATCH_BYTES, CLUSTER_BYTES, NAME_BYTES = 1500, 12, 24, 80, 3, 24
"""Of one row on disk."""
CUTTING_S, FEATURE_S, FILING_S, NAMING_S = 6e-4, 2e-5, 4e-6, 5e-3
"""Of a crop that is cut out and fitted, a feature that is looked up, a row that is made and filed, a named unit."""
PSI = ("labels", "words")
PSI_ROWS = 4
LOOKED_AT = 256


def embed_row(outlook: Outlook) -> PlanRow:
    """Concepts; distinct crops, the pool among them; features at distinct places of peaks; visualizations."""
    job, n_images = outlook.job, len(outlook.images)
    crops, shown = _crops(outlook)
    shown *= job.embed.thumbnail_px > 0
    features = {layer.point.layer: _distinct(outlook, layer, layer.n_units) for layer in _by_features(outlook)}
    pictures = sum(layer.n_visualized for layer in outlook.layers) * job.visualize.max_images
    width = outlook.embedding_width
    concepts = 1 + min(COMPONENTS, width) + _n_labels(outlook)
    rows = concepts + crops + pictures + shown + sum(features.values())
    bytes_ = 4 * width * (concepts + crops + pictures) + shown * THUMBNAIL_BYTES
    bytes_ += sum(4 * layer.width * features[layer.point.layer] for layer in _by_features(outlook))
    time_ = (outlook.n_sample + crops + pictures) * (outlook.embedding_seconds + CUTTING_S)
    shards = 1 + sum(math.ceil(n / job.embed.crops_per_shard) for n in (crops, pictures))
    if features:
        shards += math.ceil(n_images / job.collect.images_per_shard)
        reader = Reader(outlook.reader.network, sorted({layer.source.layer for layer in _by_features(outlook)}))
        of_batch = outlook.pass_seconds(lambda inputs: reader.read(inputs, sampled))
        time_ += of_batch * math.ceil(n_images / job.collect.batch)
        time_ += sum(features.values()) * FEATURE_S
    return PlanRow("embed", shards, rows, float(bytes_), time_)


class _Crops(NamedTuple):
    """How many are embedded, and how many of them are shown."""

    embedded: int
    shown: int


def _crops(outlook: Outlook) -> _Crops:
    """Those of real units are shown; virtual units' are embedded where they are compared.

    Where a layer's field is the whole image, so is its crop, whatever the layer: there are no more than images.
    """
    embedded = shown = whole = 0
    for layer in outlook.layers:
        is_compared = layer.space == "image"
        real = _distinct(outlook, layer, layer.point.n_channels) if is_compared or outlook.job.embed.crops else 0
        if layer.point.field is None:
            whole += real
            continue
        shown += real
        embedded += _distinct(outlook, layer, layer.n_units) if is_compared else real
    n_images = len(outlook.images)
    of_virtual = any(layer.point.field is None and layer.space == "image" for layer in outlook.layers)
    embedded += n_images if outlook.has_pool or of_virtual else min(whole, n_images)
    return _Crops(embedded, shown + min(whole, n_images))


def _distinct(outlook: Outlook, layer: LayerOutlook, units: int) -> int:
    """Exemplars of so many of the layer's units, no more than there are images and positions."""
    places = layer.point.map_size[0] * layer.point.map_size[1]
    return min(units * outlook.n, len(outlook.images) * places)


def _by_features(outlook: Outlook) -> list[LayerOutlook]:
    return [layer for layer in outlook.layers if layer.space != "image"]


def _n_labels(outlook: Outlook) -> int:
    """Classes among a few images, evenly spaced."""
    n = len(outlook.images)
    entries = outlook.images.read(range(0, n, max(1, n // LOOKED_AT)))
    return len({entry.label for entry in entries if isinstance(entry, Picture) and entry.label is not None})


def calibrate_row(outlook: Outlook) -> PlanRow:
    """Every score with a tail, on the evidence of null read-outs and on sets of the pool."""
    settings, cost = outlook.job.calibrate, outlook.set_cost
    of_layer = [layer.virtual.get("null", 0) if "layer" in settings.nulls else 0 for layer in outlook.layers]
    pooled = [settings.embedding_sets] * outlook.n_pooled_nulls
    shards = sum(math.ceil(n / settings.sets_per_shard) for n in (*of_layer, *pooled))
    time_ = sum(pooled) * cost.of(outlook.embedding_width)
    rows = sum(pooled) * cost.n_values
    for layer, n in zip(outlook.layers, of_layer, strict=True):
        pictured = min(n, layer.n_null_visualized)
        rows += (n + pictured) * cost.n_values
        time_ += n * cost.of(layer.width) + pictured * cost.of(outlook.embedding_width)
    return PlanRow("calibrate", shards, rows, rows * NULL_BYTES, time_ + rows * FILING_S)


def score_row(outlook: Outlook) -> PlanRow:
    """Real units, controls and planted ones; real ones again where their crops are embedded beside features."""
    job, cost = outlook.job, outlook.set_cost
    shards = rows = 0
    bytes_ = time_ = 0.0
    for layer in outlook.layers:
        units = sum(layer.scored)
        beside = layer.point.n_channels if job.embed.crops and layer.space != "image" else 0
        pictured = layer.n_visualized - layer.n_null_visualized
        nulls = int("null" in layer.virtual and "layer" in job.calibrate.nulls)
        nulls += outlook.n_pooled_nulls if layer.space == "image" else 0
        per_unit = cost.n_values + max(0, nulls - 1) * cost.n_calibrated + nulls * (1 + len(PSI) * PSI_ROWS)
        scores = units * per_unit + beside * cost.n_values + pictured * per_unit
        matches = (units + pictured) * nulls
        clusters = (units + beside) * outlook.n + pictured * job.visualize.max_images
        shards += sum(math.ceil(n / job.score.units_per_shard) for n in layer.scored)
        rows += scores + matches + clusters
        bytes_ += scores * SCORE_BYTES + matches * MATCH_BYTES + clusters * CLUSTER_BYTES
        time_ += units * cost.of(layer.width) + (beside + pictured) * cost.of(outlook.embedding_width)
    return PlanRow("score", shards, rows, bytes_, time_ + rows * FILING_S)


def name_row(outlook: Outlook) -> PlanRow:
    """Names of each cluster, and of all exemplars."""
    sizes = [layer.point.n_channels for layer in outlook.layers]
    rows = sum(sizes) * NAMES * (1 + MOST_PARTS)
    shards = sum(math.ceil(n / outlook.job.score.units_per_shard) for n in sizes)
    return PlanRow("name", shards, rows, rows * NAME_BYTES, sum(sizes) * NAMING_S)
