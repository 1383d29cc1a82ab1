"""The cost of `survey`: passes over a sample, gradients of a few images, and algebra for each layer."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
from jaxtyping import Float
from torch import Tensor

from polyscan.inputs import batches
from polyscan.nulls.coherence import random_clarity
from polyscan.nulls.readouts import Activations, one_exemplar
from polyscan.shards import split_by_weight
from polyscan.stages.survey import CHANNELS_PER_SHARD, FIELD_IMAGES
from polyscan.stats.whitening import COMPONENTS, Whitening, place_directions
from polyscan.studies.plan.measuring import once, seconds
from polyscan.studies.plan.outlook import PARTS, Outlook
from polyscan.studies.plan.row import PlanRow
from polyscan.units import DIRECTION
from polyscan.vision.readouts import ReadPoint, smoothed
from polyscan.vision.readouts.effective import effective_fields

READOUT_BYTES = 100
"""Bytes of one row of `readouts` on disk, without its vector."""
SAMPLE_BYTES = 24
"""Bytes of one row of `sample` on disk."""
PLACES = 64
"""Places of the map that is measured."""


def cost(outlook: Outlook) -> PlanRow:
    """A pass over the sample, and one for planted units; gradients of a few images; algebra for each layer."""
    shards = len(split_by_weight("survey", [layer.point.n_channels for layer in outlook.layers], CHANNELS_PER_SHARD))
    rows, bytes_ = 0, 0.0
    for layer in outlook.layers:
        directions = sum(n * PARTS.get(role, 2) for role, n in layer.virtual.items() if role != "down")
        whitening = 1 + min(COMPONENTS, layer.source.n_channels)
        rows += 1 + len(layer.virtual) + directions + whitening
        bytes_ += 4 * (directions * layer.point.n_channels + whitening * layer.source.n_channels)
    passes = shards * (
        2 if any(set(layer.virtual) - {"null", "control", "down", DIRECTION} for layer in outlook.layers) else 1
    )
    batch_seconds = outlook.pass_seconds(lambda inputs: outlook.reader.read(inputs, sampled))
    time_ = passes * math.ceil(outlook.n_sample / outlook.job.collect.batch) * batch_seconds
    time_ += _field_seconds(outlook) + _algebra_seconds(outlook)
    sample = shards * outlook.n_sample  # rows with the checksums of the images read
    bytes_ += rows * READOUT_BYTES + sample * SAMPLE_BYTES
    return PlanRow("survey", shards, rows + sample, bytes_, time_, _sample_held(outlook))


def _sample_held(outlook: Outlook) -> float:
    """Bytes of the vectors that a shard samples: of each layer, and of the layer whose features are compared."""
    per_image = math.ceil(outlook.job.survey.positions / outlook.n_sample)

    def sample(point: ReadPoint) -> int:
        return 4 * outlook.n_sample * min(per_image, math.prod(point.map_size)) * point.n_channels

    all_samples = sum(sample(layer.point) + sample(layer.source) for layer in outlook.layers)
    channels = sum(layer.point.n_channels for layer in outlook.layers)
    return all_samples * min(1, CHANNELS_PER_SHARD / channels)


def sampled(_: int, maps: Float[Tensor, "b c y x"]) -> None:
    """Does the work that a scan does on a map: smoothing, and the mean at each place."""
    smoothed(maps).flatten(2).double().sum(dim=0)


def _field_seconds(outlook: Outlook) -> float:
    """Seconds for all effective receptive fields; on average, one takes half as long as that of the deepest layer."""
    indices = range(min(FIELD_IMAGES, len(outlook.images)))
    first = next(iter(batches(outlook.reader.network, outlook.images, indices, FIELD_IMAGES)), None)
    with_field = [index for index, layer in enumerate(outlook.layers) if layer.point.field is not None]
    if first is None or not with_field:
        return 0.0
    return seconds(lambda: effective_fields(outlook.reader, with_field[-1:], first.inputs)) * (1 + len(with_field)) / 2


def _algebra_seconds(outlook: Outlook) -> float:
    """Seconds for covariances, readouts and whitening, measured at three widths and interpolated on a log-log scale."""
    widths = [layer.point.n_channels for layer in outlook.layers]
    low, high = min(widths), max(widths)
    measured = sorted({low, round(math.sqrt(low * high)), high})
    algebra(outlook, low)  # a first call to warm up
    durations = [once(partial(algebra, outlook, width)) for width in measured]
    return float(np.exp(np.interp(np.log(widths), np.log(measured), np.log(durations))).sum())


def algebra(outlook: Outlook, width: int) -> None:
    """Does the algebra of the survey for one layer of this width, on random vectors."""
    survey = outlook.job.survey
    generator = np.random.default_rng(0)
    vectors = generator.standard_normal((max(survey.positions, outlook.n_sample), width)).astype(np.float32)
    whitening = Whitening.of(vectors, without=place_directions(vectors[:PLACES].astype(np.float64)))
    random_clarity(whitening(vectors), outlook.job.k, generator=generator)
    if survey.readouts:
        activations = Activations.of(vectors)
        count = survey.readouts + survey.controls
        one_exemplar(vectors, activations.mean, activations.covariance, count=count, generator=generator)
