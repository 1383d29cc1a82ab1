"""How many distinct crops and places a job's evidence has, and how much of it a worker holds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from polyscan.run.vectors import KEPT_BYTES
from polyscan.stages.survey.geometry import layer_row
from polyscan.studies.plan.outlook import LayerOutlook, Outlook
from polyscan.tables.boxes import boxes_of
from polyscan.vision.readouts import ReadPoint

SALIENT = 0.6
"""Distinct places of peaks / their number if peaks fell on random places: readouts prefer the same places."""
READ_HELD = 200e6
"""Bytes of memory to read tables, however small they are."""
WRITING_S, READING_S = 4e-6, 0.3
"""Seconds to make and write a row, and to read the evidence of a shard of units or null sets."""


class Count(NamedTuple):
    """How many there are: at most, and as expected if peaks fall on all places with equal probability."""

    most: float
    expected: float


def distinct_crops(outlook: Outlook) -> tuple[Count, Count]:
    """How many distinct crops are embedded, and how many are shown.

    Crops of real units are shown; crops of virtual units are embedded where they are compared. Where the receptive
    field is the whole image, so is the crop, whatever the layer: there are no more of these than images.
    """
    embedded, shown = (_CropTally(len(outlook.images)) for _ in range(2))
    for layer in outlook.layers:
        n_real = layer.n_judged * outlook.n_items
        is_compared = layer.space == "image"
        of_part, of_whole = box_shares(layer.point, outlook.reader.network.preprocessing.size)
        embedded.add(
            layer.n_units * outlook.n_items if is_compared else n_real * outlook.job.embed.crops, of_part, of_whole
        )
        shown.add(n_real * (outlook.job.embed.thumbnail_px > 0), of_part, of_whole)
    if outlook.has_pool:
        embedded.whole = math.inf
    return embedded.count(), shown.count()


def drawn_crops(outlook: Outlook, draws: Sequence[float]) -> Count:
    """How many distinct crops there are if so many are drawn of each layer."""
    tally = _CropTally(len(outlook.images))
    for layer, count in zip(outlook.layers, draws, strict=True):
        tally.add(count, *box_shares(layer.point, outlook.reader.network.preprocessing.size))
    return tally.count()


@dataclass
class _CropTally:
    """Counts distinct crops layer by layer; crops that are whole images are counted once for all layers.

    Args:
        n_images: number of images.
        most: crops that show part of an image, at most.
        expected: the same, as expected.
        whole: how many times a whole image is drawn.
    """

    n_images: int
    most: float = 0.0
    expected: float = 0.0
    whole: float = 0.0

    def add(self, draws: float, of_part: np.ndarray, of_whole: float) -> None:
        """Adds the crops of one layer, drawn with these shares of parts and of the whole image."""
        self.whole += draws * of_whole
        self.most += min(draws, len(of_part) * self.n_images)
        self.expected += distinct(draws, of_part, self.n_images)

    def count(self) -> Count:
        """All crops so far."""
        expected_whole = distinct(self.whole, np.ones(1), self.n_images)
        return Count(self.most + min(self.whole, self.n_images), self.expected + expected_whole)


def box_shares(point: ReadPoint, input_size: tuple[int, int]) -> tuple[np.ndarray, float]:
    """Shares of a map's places by the part of the image that they see, and the share that sees the whole image."""
    if point.field is None:
        return np.empty(0), 1.0
    y, x = np.divmod(np.arange(point.map_size[0] * point.map_size[1]), point.map_size[1])
    boxes = boxes_of(pd.DataFrame({"y": y, "x": x}), pd.Series(layer_row(point)), input_size)
    parts, counts = np.unique(boxes, axis=0, return_counts=True)
    is_whole = (parts == (0, 0, *input_size)).all(axis=1)
    shares = counts / counts.sum()
    return shares[~is_whole], float(shares[is_whole].sum())


def distinct(draws: float, shares: np.ndarray, n_images: int) -> float:
    """Expected number of distinct crops in that many draws of an image and, with these shares, of a part of it.

    >>> round(distinct(2, np.ones(1), 2), 2)
    1.5
    """
    if n_images == 1:
        return float(len(shares)) * (draws > 0)
    return float(n_images * (1 - np.exp(draws * np.log1p(-shares / n_images))).sum()) if draws else 0.0


def distinct_places(outlook: Outlook, layer: LayerOutlook) -> Count:
    """Distinct places of peaks: at most the number of images times positions."""
    places, draws = layer.point.map_size[0] * layer.point.map_size[1], layer.n_units * outlook.n_items
    cells = places * len(outlook.images)
    return Count(min(draws, cells), SALIENT * distinct(draws, np.full(places, 1 / places), len(outlook.images)))


def compared_by_features(outlook: Outlook) -> list[LayerOutlook]:
    """Layers whose evidence is compared in the network's own features."""
    return [layer for layer in outlook.layers if layer.space != "image"]


def evidence_held(outlook: Outlook) -> float:
    """Bytes of the vectors in a worker's memory: the features of one layer, read and sorted, and parts of crops."""
    width, job = outlook.embedding_width, outlook.job
    by_layer = (8 * layer.width * distinct_places(outlook, layer).expected for layer in compared_by_features(outlook))
    features = max(by_layer, default=0.0)
    embedded, _ = distinct_crops(outlook)
    part = 4 * width * job.embed.crops_per_shard
    return READ_HELD + features + min(4 * width * embedded.expected, KEPT_BYTES + part)
