"""The cost of `embed`: vectors of concepts, crops, visualizations and features."""

from __future__ import annotations

import math
from functools import partial
from typing import NamedTuple

from polyscan.images import Picture
from polyscan.stats.whitening import COMPONENTS
from polyscan.studies.plan.costs.survey import sampled
from polyscan.studies.plan.evidence import READ_HELD, Count, compared_by_features, distinct_crops, distinct_places
from polyscan.studies.plan.outlook import Outlook
from polyscan.studies.plan.row import PlanRow
from polyscan.vision.readouts import Reader

THUMBNAIL_BYTES = 1500
"""Bytes of one row of `thumbnails` on disk."""
CUTTING_S, FEATURE_S = 6e-4, 2e-5
"""Seconds to cut out and resize a crop, and to look up a feature."""
EXEMPLAR_HELD, NUMBER_HELD = 550, 20
"""Bytes in memory for a row of exemplars while distinct crops are found, and for a number of a vector that is
written: as it is gathered, as it is packed, and as it is in the file."""
LABELLED_IMAGES = 256
"""Images whose labels are read to count the classes."""


class _EmbedCounts(NamedTuple):
    """What is embedded or gathered.

    Args:
        concepts: the mean and the principal axes of the embedding, and one vector per label.
        crops: crops that are embedded, with the pool.
        shown: crops that are shown.
        cut: crops that are cut out only to be shown.
        visualizations: images that are embedded.
        places: for each layer compared by features, the length of a vector and the number of distinct places.
    """

    concepts: int
    crops: Count
    shown: Count
    cut: Count
    visualizations: Count
    places: list[tuple[int, Count]]


def cost(outlook: Outlook) -> PlanRow:
    """Concepts; distinct crops, with the pool; features at distinct places of peaks; visualizations."""
    counts = _embed_counts(outlook)
    numbers = sum(places.expected * width for width, places in counts.places)
    time_ = _seconds(outlook, counts)
    rows = counts.concepts + counts.crops.most + counts.visualizations.most + counts.shown.most
    rows += sum(places.most for _, places in counts.places)
    shards, bytes_ = _shards(outlook, counts), _bytes(outlook, counts, numbers)
    return PlanRow("embed", shards, int(rows), float(bytes_), time_, _held(outlook, numbers))


def _embed_counts(outlook: Outlook) -> _EmbedCounts:
    job = outlook.job
    crops, shown = distinct_crops(outlook)
    n_visualized = sum(layer.n_visualized for layer in outlook.layers)
    return _EmbedCounts(
        concepts=1 + min(COMPONENTS, outlook.embedding_width) + _n_labels(outlook),
        crops=crops,
        shown=shown,
        cut=Count(0.0, 0.0) if job.embed.crops else shown,
        visualizations=Count(n_visualized * job.visualize.max_images, n_visualized * outlook.n_pictures),
        places=[(layer.width, distinct_places(outlook, layer)) for layer in compared_by_features(outlook)],
    )


def _shards(outlook: Outlook, counts: _EmbedCounts) -> int:
    job, most = outlook.job, (counts.crops.most + counts.cut.most, counts.visualizations.most)
    shards = 1 + sum(math.ceil(n / job.embed.crops_per_shard) for n in most)
    return shards + (math.ceil(len(outlook.images) / job.collect.images_per_shard) if counts.places else 0)


def _bytes(outlook: Outlook, counts: _EmbedCounts, numbers: float) -> float:
    """Size on disk; `numbers` are those of all features."""
    vectors = counts.concepts + counts.crops.expected + counts.visualizations.expected
    return 4 * numbers + 4 * outlook.embedding_width * vectors + counts.shown.expected * THUMBNAIL_BYTES


def _seconds(outlook: Outlook, counts: _EmbedCounts) -> float:
    embedded = outlook.n_sample + counts.crops.expected + counts.visualizations.expected
    time_ = embedded * (outlook.embedding_seconds + CUTTING_S)
    time_ += counts.cut.expected * CUTTING_S
    if counts.places:
        time_ += _reading_seconds(outlook) + sum(places.expected for _, places in counts.places) * FEATURE_S
    return time_


def _held(outlook: Outlook, numbers: float) -> float:
    """Bytes in memory; `numbers` are those of all features."""
    job = outlook.job
    share = min(1, job.collect.images_per_shard / len(outlook.images))
    at_once = max(outlook.embedding_width * job.embed.crops_per_shard, numbers * share)
    # Crops are found layer by layer.
    exemplars = max(layer.n_units for layer in outlook.layers) * outlook.n_items
    return exemplars * EXEMPLAR_HELD + at_once * NUMBER_HELD + READ_HELD


def _reading_seconds(outlook: Outlook) -> float:
    """Seconds of the pass that gathers features."""
    reader = Reader(outlook.reader.network, sorted({layer.source.layer for layer in compared_by_features(outlook)}))
    batch_seconds = outlook.pass_seconds(partial(reader.read, sink=sampled))
    return batch_seconds * math.ceil(len(outlook.images) / outlook.job.collect.batch)


def _n_labels(outlook: Outlook) -> int:
    """Number of classes among a few evenly spaced images."""
    n = len(outlook.images)
    entries = outlook.images.read(range(0, n, max(1, n // LABELLED_IMAGES)))
    return len({entry.label for entry in entries if isinstance(entry, Picture) and entry.label is not None})
