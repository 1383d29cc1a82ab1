"""The cost of `visualize`: gradient ascent for the visualized units."""

from __future__ import annotations

import math

import numpy as np

from polyscan.stages.visualize import ascent_of, ascent_settings
from polyscan.studies.plan.measuring import seconds
from polyscan.studies.plan.outlook import Outlook
from polyscan.studies.plan.row import PlanRow
from polyscan.vision.channels import COLOURS
from polyscan.vision.feature_visualization import canvas_size
from polyscan.vision.readouts import ReadPoint

MEASURED_LAYERS = 5
PNG_BYTES = 0.9
"""Bytes of a PNG per byte of its pixels."""


def cost(outlook: Outlook) -> PlanRow:
    """The time of a step is measured in a few layers, evenly over the depth, and interpolated between them.

    Rows assume that no unit reaches its elbow before `max_images`; time and disk assume that units reach it as early as
    most do. The last batch of a shard is as large as the others.
    """
    settings, preprocessing = outlook.job.visualize, outlook.reader.network.preprocessing
    if not settings.enabled:
        return PlanRow("visualize", 0, 0, 0.0, 0.0, 0.0)
    layers = [(layer.point, layer.n_visualized) for layer in outlook.layers if layer.n_visualized]
    measured = sorted({round(place) for place in np.linspace(0, len(layers) - 1, MEASURED_LAYERS)})
    steps = [_step_seconds(outlook, layers[place][0]) for place in measured]
    step = np.interp(range(len(layers)), measured, steps)
    time_ = settings.steps * sum(_n_images(outlook, n) * step_s for (_, n), step_s in zip(layers, step, strict=True))
    canvases = [math.prod(canvas_size(point, preprocessing, ascent_settings(settings))) for point, _ in layers]
    pixels = sum(n * outlook.n_pictures * canvas for (_, n), canvas in zip(layers, canvases, strict=True))
    bytes_ = pixels * min(preprocessing.channels, COLOURS) * PNG_BYTES
    shards = sum(math.ceil(n / settings.units_per_shard) for _, n in layers)
    rows = sum(n for _, n in layers) * settings.max_images
    held = settings.units_per_shard * settings.max_images * max(canvases) * preprocessing.channels
    return PlanRow("visualize", shards, rows, bytes_, float(time_), float(held))


def _n_images(outlook: Outlook, n_units: int) -> int:
    """Images that are made for that many units of a layer, shard by shard, in full batches."""
    settings = outlook.job.visualize
    whole, rest = divmod(n_units, settings.units_per_shard)
    return sum(
        count * math.ceil(units * outlook.n_pictures / settings.batch) * settings.batch
        for count, units in ((whole, settings.units_per_shard), (1, rest))
    )


def _step_seconds(outlook: Outlook, point: ReadPoint) -> float:
    """Seconds of one step of one image."""
    one = outlook.job.visualize.model_copy(update={"steps": 1})
    ascent = ascent_of(one, outlook.reader, point)
    return seconds(lambda: ascent([0] * one.batch, list(range(one.batch)))) / one.batch
