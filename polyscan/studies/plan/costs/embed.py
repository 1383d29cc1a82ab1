"""What `embed` takes: concepts; distinct crops; features at distinct places of peaks; visualizations."""

from __future__ import annotations

import math
from functools import partial

from polyscan.images import Picture
from polyscan.stats.whitening import COMPONENTS
from polyscan.studies.plan.costs.survey import sampled
from polyscan.studies.plan.evidence import READ_HELD, Count, compared_by_features, distinct_crops, distinct_places
from polyscan.studies.plan.outlook import Outlook
from polyscan.studies.plan.row import PlanRow
from polyscan.vision.readouts import Reader

THUMBNAIL_BYTES = 1500
"""Of one row on disk."""
CUTTING_S, FEATURE_S = 6e-4, 2e-5
"""Of a crop that is cut out and fitted, and of a feature that is looked up."""
EXEMPLAR_HELD, NUMBER_HELD = 550, 20
"""Bytes in memory for a row of exemplars among which crops are made distinct, and for a number of a vector that is
filed: as it is gathered, as it is packed, and as it lies in the file."""
LOOKED_AT = 256


def cost(outlook: Outlook) -> PlanRow:
    """Concepts; distinct crops, the pool among them; features at distinct places of peaks; visualizations."""
    job, n_images, width = outlook.job, len(outlook.images), outlook.embedding_width
    crops, shown = distinct_crops(outlook)
    n_visualized = sum(layer.n_visualized for layer in outlook.layers)
    pictures = Count(n_visualized * job.visualize.max_images, n_visualized * outlook.n_pictures)
    places = [(layer.width, distinct_places(outlook, layer)) for layer in compared_by_features(outlook)]
    concepts = 1 + min(COMPONENTS, width) + _n_labels(outlook)
    numbers = sum(each.expected * of_layer for of_layer, each in places)
    bytes_ = (
        4 * numbers + 4 * width * (concepts + crops.expected + pictures.expected) + shown.expected * THUMBNAIL_BYTES
    )
    time_ = (outlook.n_sample + crops.expected + pictures.expected) * (outlook.embedding_seconds + CUTTING_S)
    seen = Count(0.0, 0.0) if job.embed.crops else shown  # cut out to be looked at alone, at most
    time_ += seen.expected * CUTTING_S
    cut = crops.most + seen.most
    shards = 1 + sum(math.ceil(most / job.embed.crops_per_shard) for most in (cut, pictures.most))
    if places:
        shards += math.ceil(n_images / job.collect.images_per_shard)
        time_ += _reading_seconds(outlook) + sum(each.expected for _, each in places) * FEATURE_S
    rows = concepts + crops.most + pictures.most + shown.most
    rows += sum(each.most for _, each in places)
    at_once = max(width * job.embed.crops_per_shard, numbers * min(1, job.collect.images_per_shard / n_images))
    exemplars = sum(layer.n_units for layer in outlook.layers) * job.collect.k
    held = exemplars * EXEMPLAR_HELD + at_once * NUMBER_HELD + READ_HELD
    return PlanRow("embed", shards, int(rows), float(bytes_), time_, held)


def _reading_seconds(outlook: Outlook) -> float:
    """Of the pass that gathers features."""
    reader = Reader(outlook.reader.network, sorted({layer.source.layer for layer in compared_by_features(outlook)}))
    of_batch = outlook.pass_seconds(partial(reader.read, sink=sampled))
    return of_batch * math.ceil(len(outlook.images) / outlook.job.collect.batch)


def _n_labels(outlook: Outlook) -> int:
    """Classes among a few images, evenly spaced."""
    n = len(outlook.images)
    entries = outlook.images.read(range(0, n, max(1, n // LOOKED_AT)))
    return len({entry.label for entry in entries if isinstance(entry, Picture) and entry.label is not None})
