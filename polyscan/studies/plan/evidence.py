"""How many distinct crops and places a job's evidence has, and what a worker holds of it."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pandas as pd

from polyscan.run.vectors import KEPT_BYTES
from polyscan.stages.combine import boxes_of
from polyscan.stages.survey.geometry import layer_row
from polyscan.studies.plan.outlook import LayerOutlook, Outlook
from polyscan.vision.readouts import ReadPoint

SALIENT = 0.6
"""Distinct places of peaks / as many as there were if they fell anywhere: readouts like the same places."""
READ_HELD = 200e6
"""Bytes that reading tables takes, however small they are."""
FILING_S, READING_S = 4e-6, 0.3
"""Of a row that is made and filed, and of a shard of units or null sets whose evidence is read."""


class Count(NamedTuple):
    """How many there are: at most, and as expected if peaks fell on any place alike."""

    most: float
    expected: float


def distinct_crops(outlook: Outlook) -> tuple[Count, Count]:
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


def distinct_places(outlook: Outlook, layer: LayerOutlook) -> Count:
    """Distinct places of peaks: no more than there are images and positions."""
    places, draws = layer.point.map_size[0] * layer.point.map_size[1], layer.n_units * outlook.n
    cells = places * len(outlook.images)
    return Count(min(draws, cells), SALIENT * distinct(draws, np.full(places, 1 / places), len(outlook.images)))


def compared_by_features(outlook: Outlook) -> list[LayerOutlook]:
    """Layers whose evidence is compared in the network's own features."""
    return [layer for layer in outlook.layers if layer.space != "image"]


def evidence_held(outlook: Outlook) -> float:
    """Bytes of the vectors that a worker keeps: of one layer's features, as read and in order, and of crops' parts."""
    width, job = outlook.embedding_width, outlook.job
    by_layer = (8 * layer.width * distinct_places(outlook, layer).expected for layer in compared_by_features(outlook))
    features = max(by_layer, default=0.0)
    embedded, _ = distinct_crops(outlook)
    part = 4 * width * job.embed.crops_per_shard
    return READ_HELD + features + min(4 * width * embedded.expected, KEPT_BYTES + part)
