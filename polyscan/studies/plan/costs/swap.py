"""The cost of `swap`: forward passes over pictures with patches, up to each layer."""

from __future__ import annotations

import math

import numpy as np

from polyscan.scores.sample import MOST_PARTS
from polyscan.stages.swap import POOL, SIDE_PX
from polyscan.stages.swap.donors import SPARE
from polyscan.stages.swap.effects import CONDITIONS
from polyscan.studies.plan.measuring import seconds
from polyscan.studies.plan.outlook import LayerOutlook, Outlook
from polyscan.studies.plan.row import PlanRow
from polyscan.vision.readouts import ReadPoint
from polyscan.vision.swapping import PlaceReader

MEASURED_LAYERS = 5
CALLED = 0.3
"""Share of units that one of the two tests calls at p <= .05, about: .29 of MobileNetV2's."""
CLUSTERS = 2.5
"""Clusters of a unit's exemplars, about; its deflated evidence has two."""
SHARED = 4
"""Conditions that are the same for all clusters of a unit, with the unchanged pictures; each cluster has two more."""
PIXEL_BYTES, HEAD_BYTES, ROW_BYTES, PARTS_BYTES = 0.35, 650, 60, 10_000
"""Bytes of a small JPEG per pixel and for its head, of one row without pictures, and of two parts without rows."""
PASTING_S = 4e-4
"""Seconds to read, cut out and paste one patch."""


def cost(outlook: Outlook) -> PlanRow:
    """A batch is timed in a few layers, evenly over the depth, and interpolated between them.

    Rows and shards assume that every unit is called by both tests; time and disk that as many are as usual.
    """
    if not outlook.job.swap.enabled:
        return PlanRow("swap", 0, 0, 0.0, 0.0, 0.0)
    layers, settings = outlook.layers, outlook.job.swap
    measured = sorted({round(place) for place in np.linspace(0, len(layers) - 1, MEASURED_LAYERS)})
    each = np.interp(range(len(layers)), measured, [_picture_seconds(outlook, layers[at].point) for at in measured])
    clusters = [_clusters(outlook, layer) for layer in layers]
    time_ = sum(n * _pictures(outlook) * one for n, one in zip(clusters, each, strict=True))
    second = 2 * bool(outlook.second_layers)
    units = [(layer.point.n_channels, *_proof(outlook, layer)) for layer in layers]
    rows = sum(map(sum, units)) * (MOST_PARTS + second) * (1 + len(CONDITIONS))
    side = outlook.job.embed.thumbnail_px or SIDE_PX
    shards = sum(math.ceil(n / settings.units_per_shard) for sizes in units for n in sizes)
    pictures = 2 * (side**2 * PIXEL_BYTES + HEAD_BYTES)
    bytes_ = sum(clusters) * (pictures + (1 + len(CONDITIONS)) * ROW_BYTES) + shards * PARTS_BYTES
    return PlanRow("swap", shards, rows, bytes_, float(time_), _held(outlook))


def _proof(outlook: Outlook, layer: LayerOutlook) -> list[int]:
    """Virtual units of a layer that are swapped, by role."""
    most = outlook.job.swap.virtual_units
    return [min(n, most) for role, n in layer.virtual.items() if role not in ("null", "down")]


def _clusters(outlook: Outlook, layer: LayerOutlook) -> float:
    """Clusters of a layer whose patches are swapped, about."""
    called = CALLED if outlook.job.swap.units == "called" else 1.0
    second = 2 * CALLED / 2 * bool(outlook.second_layers)  # about as many units by each test
    return (called * layer.point.n_channels + sum(_proof(outlook, layer))) * (CLUSTERS + second)


def _pictures(outlook: Outlook) -> float:
    """Pictures that are read per cluster: with patches, and candidates for donors."""
    settings = outlook.job.swap
    return settings.recipients * (2 + SHARED / CLUSTERS) + SPARE * settings.donors


def _picture_seconds(outlook: Outlook, point: ReadPoint) -> float:
    """Seconds to make and read one picture with a patch."""
    size, preprocessing = outlook.job.collect.batch, outlook.reader.network.preprocessing
    reader = PlaceReader(outlook.reader, point, size)
    pictures = np.zeros((size, *preprocessing.size, preprocessing.channels), dtype=np.uint8)
    read = np.ones((size, *point.map_size), dtype=bool)
    return seconds(lambda: reader(pictures, read, 0)) / size + PASTING_S


def _held(outlook: Outlook) -> float:
    """Bytes of the pictures that a shard has in memory at once."""
    settings, preprocessing = outlook.job.swap, outlook.reader.network.preprocessing
    per_unit = SPARE * settings.donors * (MOST_PARTS + 4) + settings.recipients
    of_one = settings.recipients * (SHARED + 2 * (MOST_PARTS + 2))
    n = min(len(outlook.images), settings.units_per_shard * per_unit) + of_one + POOL * settings.recipients
    return float(n * preprocessing.size[0] * preprocessing.size[1] * preprocessing.channels)
