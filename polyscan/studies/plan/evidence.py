"""What the stages take that work on evidence: embed, calibrate, score, name."""

from __future__ import annotations

import math
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd

from polyscan.images import Picture
from polyscan.run.vectors import KEPT_BYTES
from polyscan.scores.sample import MOST_PARTS
from polyscan.stages.combine import boxes_of
from polyscan.stages.name import NAMES
from polyscan.stages.survey.geometry import layer_row
from polyscan.stats.whitening import COMPONENTS
from polyscan.studies.plan.outlook import LayerOutlook, Outlook
from polyscan.studies.plan.passes import PlanRow, sampled
from polyscan.vision.readouts import Reader, ReadPoint

THUMBNAIL_BYTES, NULL_BYTES, SCORE_BYTES, MATCH_BYTES, CLUSTER_BYTES, NAME_BYTES = 1500, 8, 24, 80, 3, 6
"""Of one row on disk."""
CUTTING_S, FEATURE_S, FILING_S, NAMING_S, READING_S = 6e-4, 2e-5, 4e-6, 3e-3, 0.3
"""Of a crop that is cut out and fitted, a feature that is looked up, a row that is made and filed, a named unit, and of
a shard of units or null sets whose evidence is read."""
SALIENT = 0.6
"""Distinct places of peaks / as many as there were if they fell anywhere: readouts like the same places."""
EXEMPLAR_HELD, NUMBER_HELD = 550, 20
"""Bytes in memory for a row of exemplars among which crops are made distinct, and for a number of a vector that is
filed: as it is gathered, as it is packed, and as it lies in the file."""
READ_HELD = 200e6
"""Bytes that reading tables takes, however small they are."""
PSI = ("labels", "words")
PSI_ROWS = 4
LOOKED_AT = 256


class Count(NamedTuple):
    """How many there are: at most, and as expected if peaks fell on any place alike."""

    most: float
    expected: float


def embed_row(outlook: Outlook) -> PlanRow:
    """Concepts; distinct crops, the pool among them; features at distinct places of peaks; visualizations."""
    job, n_images, width = outlook.job, len(outlook.images), outlook.embedding_width
    crops, shown = _crops(outlook)
    n_visualized = sum(layer.n_visualized for layer in outlook.layers)
    pictures = Count(n_visualized * job.visualize.max_images, n_visualized * outlook.n_pictures)
    places = [(layer.width, _places(outlook, layer)) for layer in _by_features(outlook)]
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
    reader = Reader(outlook.reader.network, sorted({layer.source.layer for layer in _by_features(outlook)}))
    of_batch = outlook.pass_seconds(partial(reader.read, sink=sampled))
    return of_batch * math.ceil(len(outlook.images) / outlook.job.collect.batch)


def _crops(outlook: Outlook) -> tuple[Count, Count]:
    """How many are embedded, and how many are shown.

    Those of real units are shown; virtual units' are embedded where they are compared. Where a field is the whole
    image, so is its crop, whatever the layer: there are no more than images.
    """
    n_images, n = len(outlook.images), outlook.n
    input_px = outlook.reader.network.preprocessing.input_px
    embedded, shown = [0.0, 0.0], [0.0, 0.0]
    whole = whole_shown = 0.0
    for layer in outlook.layers:
        is_compared = layer.space == "image"
        real = layer.point.n_channels * n
        drawn = layer.n_units * n if is_compared else real * outlook.job.embed.crops
        seen = real * (outlook.job.embed.thumbnail_px > 0)
        of_part, of_whole = box_shares(layer.point, input_px)
        whole, whole_shown = whole + drawn * of_whole, whole_shown + seen * of_whole
        for found, draws in ((embedded, drawn), (shown, seen)):
            found[0] += min(draws, len(of_part) * n_images)
            found[1] += distinct(draws, of_part, n_images)
    all_of_it = np.ones(1)
    whole = math.inf if outlook.has_pool else whole
    return (
        Count(embedded[0] + min(whole, n_images), embedded[1] + distinct(whole, all_of_it, n_images)),
        Count(shown[0] + min(whole_shown, n_images), shown[1] + distinct(whole_shown, all_of_it, n_images)),
    )


def box_shares(point: ReadPoint, input_px: int) -> tuple[np.ndarray, float]:
    """Shares of a map's places that see each part of the image, and of those that see all of it."""
    if point.field is None:
        return np.empty(0), 1.0
    y, x = np.divmod(np.arange(point.map_size[0] * point.map_size[1]), point.map_size[1])
    boxes = boxes_of(pd.DataFrame({"y": y, "x": x}), pd.Series(layer_row(point)), input_px)
    parts, counts = np.unique(boxes, axis=0, return_counts=True)
    is_whole = (parts == (0, 0, input_px, input_px)).all(axis=1)
    shares = counts / counts.sum()
    return shares[~is_whole], float(shares[is_whole].sum())


def distinct(draws: float, shares: np.ndarray, n_images: int) -> float:
    """How many kinds are met, on average, in so many draws of an image and, by these shares, of a part of it.

    >>> round(distinct(2, np.ones(1), 2), 2)
    1.5
    """
    if n_images == 1:
        return float(len(shares)) * (draws > 0)
    return float(n_images * (1 - np.exp(draws * np.log1p(-shares / n_images))).sum()) if draws else 0.0


def _places(outlook: Outlook, layer: LayerOutlook) -> Count:
    """Distinct places of peaks: no more than there are images and positions."""
    places, draws = layer.point.map_size[0] * layer.point.map_size[1], layer.n_units * outlook.n
    cells = places * len(outlook.images)
    return Count(min(draws, cells), SALIENT * distinct(draws, np.full(places, 1 / places), len(outlook.images)))


def _by_features(outlook: Outlook) -> list[LayerOutlook]:
    return [layer for layer in outlook.layers if layer.space != "image"]


def _n_labels(outlook: Outlook) -> int:
    """Classes among a few images, evenly spaced."""
    n = len(outlook.images)
    entries = outlook.images.read(range(0, n, max(1, n // LOOKED_AT)))
    return len({entry.label for entry in entries if isinstance(entry, Picture) and entry.label is not None})


def calibrate_row(outlook: Outlook) -> PlanRow:
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
    held = _evidence_held(outlook) + (of_pool if pooled else 0)
    time_ += rows * FILING_S + shards * READING_S
    return PlanRow("calibrate", shards, rows, rows * NULL_BYTES, time_, held)


def score_row(outlook: Outlook) -> PlanRow:
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
    return PlanRow("score", shards, rows, bytes_, time_ + rows * FILING_S + shards * READING_S, _evidence_held(outlook))


def name_row(outlook: Outlook) -> PlanRow:
    """Names of each cluster, and of all exemplars."""
    sizes = [layer.point.n_channels for layer in outlook.layers]
    rows = sum(sizes) * NAMES * (1 + MOST_PARTS)
    shards = sum(math.ceil(n / outlook.job.score.units_per_shard) for n in sizes)
    return PlanRow("name", shards, rows, rows * NAME_BYTES, sum(sizes) * NAMING_S, _evidence_held(outlook))


def _evidence_held(outlook: Outlook) -> float:
    """Bytes of the vectors that a worker keeps: of one layer's features, as read and in order, and of crops' parts."""
    width, job = outlook.embedding_width, outlook.job
    features = max((8 * layer.width * _places(outlook, layer).expected for layer in _by_features(outlook)), default=0.0)
    embedded, _ = _crops(outlook)
    part = 4 * width * job.embed.crops_per_shard
    return READ_HELD + features + min(4 * width * embedded.expected, KEPT_BYTES + part)
