"""What a job would take, before anything runs: rows and disk by arithmetic, time from one measured batch each."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from polyscan.images import ImageSource, Picture
from polyscan.job import Job
from polyscan.run.inputs import open_embedder, open_images, open_reader, pinned_threads
from polyscan.stages.visualize import ascent_settings
from polyscan.vision.feature_visualization import Ascent, canvas_px
from polyscan.vision.readouts import Reader, ReadPoint, chosen_layers

MEASURED_LAYERS = 5
BYTES = {"candidates": 12, "exemplars": 20, "moments": 80, "clusters": 3, "scores": 20, "thumbnails": 1500, "png": 0.9}


@dataclass(frozen=True)
class PlanRow:
    """One stage: its shards, rows of all its tables, bytes on disk, seconds of one worker."""

    stage: str
    shards: int
    rows: int
    bytes: float
    seconds: float


@dataclass(frozen=True)
class Plan:
    """The whole job."""

    n_layers: int
    n_units: int
    n_images: int
    rows: list[PlanRow]


def planned(job: Job) -> Plan:
    """Measures one batch of each costly stage and multiplies.

    Raises:
        PolyscanError: whatever is wrong with the job.
    """
    with pinned_threads(job):
        reader, images = open_reader(job), open_images(job)
        n_units = sum(point.n_channels for point in reader.points)
        rows = [
            _collect(job, reader, images, n_units),
            _combine(job, reader, n_units),
            *([_visualize(job, reader)] if job.visualize.enabled else []),
            _embed(job, reader, n_units, len(images)),
            _score(job, reader, n_units),
        ]
    return Plan(len(reader.points), n_units, len(images), rows)


def _seconds(work: Callable[[], object]) -> float:
    """Of the second call: the first one warms up."""
    work()
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _collect(job: Job, reader: Reader, source: ImageSource, n_units: int) -> PlanRow:
    preprocessing, device = reader.network.preprocessing, reader.network.device
    n = job.collect.batch

    def peaks(_: int, maps: Tensor) -> None:
        maps.amax(dim=(2, 3)).sum().item()

    def one_batch() -> None:
        pictures = [entry for entry in source.read(range(min(n, len(source)))) if isinstance(entry, Picture)]
        side = preprocessing.input_px
        views = np.zeros((n, side, side, preprocessing.channels), dtype=np.uint8)
        for place, picture in enumerate(pictures):
            views[place] = preprocessing.view(picture.pixels)
        reader.read(preprocessing.batch(views, device), peaks)

    shards = math.ceil(len(source) / job.collect.images_per_shard)
    rows = n_units * (1 + min(job.collect.k, job.collect.images_per_shard)) * shards
    return PlanRow(
        "collect", shards, rows, rows * BYTES["candidates"], _seconds(one_batch) * math.ceil(len(source) / n)
    )


def _combine(job: Job, reader: Reader, n_units: int) -> PlanRow:
    kept = n_units * job.collect.k
    return PlanRow("combine", len(reader.points), kept + n_units, kept * BYTES["exemplars"], kept * 2e-6)


def _embed(job: Job, reader: Reader, n_units: int, n_images: int) -> PlanRow:
    """Distinct crops are at most one per exemplar, and at most one per image and position of each layer."""
    embedder = open_embedder(job, reader.network)
    side, channels = embedder.preprocessing.input_px, embedder.preprocessing.channels
    crops = np.zeros((job.embed.batch, side, side, channels), dtype=np.uint8)
    width = embedder(crops).shape[1]
    each = _seconds(lambda: embedder(crops)) / job.embed.batch
    n = job.embed.n_exemplars or job.collect.k
    whole_image = any(point.field is None for point in reader.points)
    n_crops = n_images * whole_image + sum(
        min(point.n_channels * n, n_images * point.map_size[0] * point.map_size[1])
        for point in reader.points
        if point.field
    )
    n_visualizations = sum(len_ for _, len_ in _visualized(job, reader)) * job.visualize.max_images
    items = n_crops + n_visualizations
    shards = math.ceil(n_crops / job.embed.crops_per_shard) + math.ceil(n_visualizations / job.embed.crops_per_shard)
    bytes_ = items * width * 4 + n_crops * (BYTES["thumbnails"] if job.embed.thumbnail_px else 0)
    return PlanRow("embed", shards, items * (2 if job.embed.thumbnail_px else 1), bytes_, items * (each + 0.0003))


def _score(job: Job, reader: Reader, n_units: int) -> PlanRow:
    n = job.embed.n_exemplars or job.collect.k
    rows = n_units * (n + 10)
    shards = sum(math.ceil(point.n_channels / job.score.units_per_shard) for point in reader.points)
    return PlanRow("score", shards, rows, rows * BYTES["clusters"], n_units * 0.02)


def _visualized(job: Job, reader: Reader) -> list[tuple[ReadPoint, int]]:
    """The layers to visualize and how many units of each."""
    if not job.visualize.enabled:
        return []
    wanted = chosen_layers([point.layer for point in reader.points], job.visualize.layers)
    sample = job.visualize.units_per_layer or 10**9
    return [(point, min(sample, point.n_channels)) for point in reader.points if point.layer in wanted]


def _visualize(job: Job, reader: Reader) -> PlanRow:
    """A step is measured in a few layers, evenly over the depth, and interpolated between them.

    Counted is what comes to pass if no unit is dead and none reaches its elbow before `max_images`.
    """
    layers = _visualized(job, reader)
    settings = ascent_settings(job.visualize)
    measured = sorted({round(place) for place in np.linspace(0, len(layers) - 1, MEASURED_LAYERS)})
    network = reader.network
    steps: list[float] = []
    for place in measured:
        point = layers[place][0]
        one = replace(settings, steps=1)
        side = canvas_px(point, network.preprocessing, one)
        ascent = Ascent(reader.trunk(point), network.preprocessing, side, one, device=network.device)
        steps.append(_seconds(lambda a=ascent: a([0] * settings.batch, list(range(settings.batch)))) / settings.batch)
    per_image_step = np.interp(range(len(layers)), measured, steps)
    images = job.visualize.max_images
    seconds = sum(n * images * settings.steps * each for (_, n), each in zip(layers, per_image_step, strict=True))
    rows = sum(n for _, n in layers) * images
    sides = [canvas_px(point, network.preprocessing, settings) for point, _ in layers]
    bytes_ = sum(
        n * images * side**2 * network.preprocessing.channels * BYTES["png"]
        for (_, n), side in zip(layers, sides, strict=True)
    )
    shards = sum(math.ceil(n / job.visualize.units_per_shard) for _, n in layers)
    return PlanRow("visualize", shards, rows, float(bytes_), float(seconds))
