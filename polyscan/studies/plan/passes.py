"""What the stages take that pass images through the network: survey and collect, and combine, which merges them."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from polyscan.run.batches import batches
from polyscan.shards import split_by_weight
from polyscan.stages.combine import UNITS_PER_SHARD
from polyscan.stages.survey import CHANNELS_PER_SHARD, FIELD_IMAGES
from polyscan.stats.coherence import random_clarity
from polyscan.stats.read_outs import Activations, one_exemplar
from polyscan.stats.whitening import COMPONENTS, Whitening, place_directions
from polyscan.studies.plan.outlook import LayerOutlook, Outlook, seconds
from polyscan.vision.peaks import PeakTally
from polyscan.vision.readouts import Directions, Downward, Largest, Peaks, Reader, ReadOut, smoothed
from polyscan.vision.readouts.effective import effective_fields

PARTS = {"null": 1, "control": 1, "sum": 1, "noisy": 1, "random": 1, "three": 3}
"""Directions of a virtual unit by its role; 2 where it is not named."""
READOUT_BYTES, CANDIDATE_BYTES, MOMENT_BYTES, EXEMPLAR_BYTES, UNIT_BYTES = 100, 12, 80, 24, 80
"""Of one row on disk, its vector apart."""
MERGING_S = 5e-6
"""Of one candidate that `combine` reads and ranks."""
PLACES = 64


@dataclass(frozen=True)
class PlanRow:
    """One stage: its shards, rows of all its tables, bytes on disk, seconds of one worker."""

    stage: str
    shards: int
    rows: int
    bytes: float
    seconds: float


# ---- survey --------------------------------------------------------------------------------------------------------


def survey_row(outlook: Outlook) -> PlanRow:
    """A pass over the sample, and one for the plants; gradients of a few images; algebra for each layer."""
    shards = len(split_by_weight("survey", [layer.point.n_channels for layer in outlook.layers], CHANNELS_PER_SHARD))
    rows, bytes_ = 0, 0.0
    for layer in outlook.layers:
        directions = sum(n * PARTS.get(role, 2) for role, n in layer.virtual.items() if role != "down")
        seen = 1 + min(COMPONENTS, layer.source.n_channels)
        rows += 1 + len(layer.virtual) + directions + seen
        bytes_ += 4 * (directions * layer.point.n_channels + seen * layer.source.n_channels)
    passes = shards * (2 if any(set(layer.virtual) - {"null", "control", "down"} for layer in outlook.layers) else 1)
    each = outlook.pass_seconds(lambda inputs: outlook.reader.read(inputs, sampled))
    time_ = passes * math.ceil(outlook.n_sample / outlook.job.collect.batch) * each
    time_ += _field_seconds(outlook) + _algebra_seconds(outlook)
    return PlanRow("survey", shards, rows, bytes_ + rows * READOUT_BYTES, time_)


def sampled(_: int, maps: Float[Tensor, "b c y x"]) -> None:
    """As much as is done to a map of which neighbourhoods are taken and the mean of each place."""
    smoothed(maps).flatten(2).double().sum(dim=0)


def _field_seconds(outlook: Outlook) -> float:
    """Of all effective fields, each as long as the deepest one's."""
    wanted = range(min(FIELD_IMAGES, len(outlook.images)))
    first = next(iter(batches(outlook.reader.network, outlook.images, wanted, FIELD_IMAGES)), None)
    with_field = [index for index, layer in enumerate(outlook.layers) if layer.point.field is not None]
    if first is None or not with_field:
        return 0.0
    return seconds(lambda: effective_fields(outlook.reader, with_field[-1:], first.inputs)) * len(with_field)


def _algebra_seconds(outlook: Outlook) -> float:
    """Of covariances, read-outs and whitenings; measured at the narrowest and the widest layer, a line between them."""
    widths = [layer.point.n_channels for layer in outlook.layers]
    ends = sorted({min(widths), max(widths)})
    taken: list[float] = []
    for width in ends:
        started = time.perf_counter()
        _algebra(outlook, width)
        taken.append(time.perf_counter() - started)
    return float(np.interp(widths, ends, taken).sum())


def _algebra(outlook: Outlook, width: int) -> None:
    """What the survey makes of one layer's vectors."""
    survey = outlook.job.survey
    generator = np.random.default_rng(0)
    vectors = generator.standard_normal((max(survey.positions, outlook.n_sample), width)).astype(np.float32)
    whitening = Whitening.of(vectors, without=place_directions(vectors[:PLACES].astype(np.float64)))
    random_clarity(whitening(vectors), outlook.job.collect.k, generator=generator)
    if survey.read_outs:
        its = Activations.of(vectors)
        count = survey.read_outs + survey.controls
        one_exemplar(vectors, its.mean, its.covariance, count=count, generator=generator)


# ---- collect and combine -------------------------------------------------------------------------------------------


def collect_row(outlook: Outlook) -> PlanRow:
    """Real units and virtual ones, which are measured with random weights."""
    job, n_images = outlook.job, len(outlook.images)
    shards = math.ceil(n_images / job.collect.images_per_shard)
    moments = shards * sum(layer.n_units for layer in outlook.layers)
    candidates = moments * min(job.collect.k, job.collect.images_per_shard)
    bytes_ = candidates * CANDIDATE_BYTES + moments * MOMENT_BYTES
    time_ = _collecting_seconds(outlook) * math.ceil(n_images / job.collect.batch)
    return PlanRow("collect", shards, candidates + moments + n_images, bytes_, time_)


def _collecting_seconds(outlook: Outlook) -> float:
    """Of one batch, sorted into the strongest at once, which is sorting more often than it takes."""
    names = [layer.point.layer for layer in outlook.layers]
    reader = Reader(outlook.reader.network, names, dict(zip(names, map(_read_outs, outlook.layers), strict=True)))
    device, k = reader.network.device, outlook.job.collect.k
    tallies = [PeakTally(point.n_channels, k=k, layer=point.layer, device=device) for point in reader.points]

    def count(index: int, peaks: Peaks) -> None:
        tallies[index].add(peaks, torch.arange(len(peaks.value), device=device))
        tallies[index].result()

    return outlook.pass_seconds(lambda inputs: reader.read_peaks(inputs, count))


def _read_outs(layer: LayerOutlook) -> dict[str, ReadOut]:
    """Directions of noise, as many as the layer's virtual units have."""
    found: dict[str, ReadOut] = {}
    generator = torch.Generator().manual_seed(0)
    for role, n in layer.virtual.items():
        parts = PARTS.get(role, 2)
        weights = torch.randn(n * parts, layer.point.n_channels, generator=generator)
        directions = Directions(weights, torch.zeros(len(weights)))
        found[role] = Downward() if role == "down" else Largest(directions, parts) if parts > 1 else directions
    return found


def combine_row(outlook: Outlook) -> PlanRow:
    """Each unit's top k of those of all shards."""
    job = outlook.job
    sizes = [n for layer in outlook.layers for n in (layer.point.n_channels, *layer.virtual.values())]
    shards = sum(math.ceil(n / UNITS_PER_SHARD) for n in sizes)
    units, kept = sum(sizes), sum(sizes) * job.collect.k
    read = kept * math.ceil(len(outlook.images) / job.collect.images_per_shard)
    return PlanRow("combine", shards, kept + units, kept * EXEMPLAR_BYTES + units * UNIT_BYTES, read * MERGING_S)
