"""What the stages take that pass images through the network: survey and collect, and combine, which merges them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from polyscan.inputs.batches import batches
from polyscan.nulls.coherence import random_clarity
from polyscan.nulls.readouts import Activations, one_exemplar
from polyscan.shards import split_by_weight
from polyscan.stages.combine import UNITS_PER_SHARD
from polyscan.stages.survey import CHANNELS_PER_SHARD, FIELD_IMAGES
from polyscan.stats.whitening import COMPONENTS, Whitening, place_directions
from polyscan.studies.plan.measuring import Peak, once, seconds
from polyscan.studies.plan.outlook import LayerOutlook, Outlook
from polyscan.vision.peaks import LayerPeakTally
from polyscan.vision.readouts import Directions, Downward, Largest, Peaks, Reader, Readout, ReadPoint, smoothed
from polyscan.vision.readouts.effective import effective_fields

PARTS = {"null": 1, "control": 1, "sum": 1, "noisy": 1, "random": 1, "three": 3}
"""Directions of a virtual unit by its role; 2 where it is not named."""
READOUT_BYTES, CANDIDATE_BYTES, MOMENT_BYTES, EXEMPLAR_BYTES, UNIT_BYTES = 100, 8, 80, 15, 80
"""Of one row on disk, its vector apart."""
MERGING_S, OPENING_S, FILE_S = 1.5e-6, 0.015, 2.5e-3
"""Of one candidate that `combine` reads and ranks, of a shard of it, and of each of `collect`'s parts that it opens."""
CANDIDATE_HELD, RANKED_HELD, TALLIED_HELD = 160, 200, 40
"""Bytes in memory for a candidate of a shard of `collect` (tallied twice over, as a row, and as that is filed), for one
that `combine` ranks, and for the tally alone, which is on the GPU where there is one."""
PLACES = 64


@dataclass(frozen=True)
class PlanRow:
    """One stage.

    Args:
        stage: its name.
        shards: how many, at most.
        rows: of all its tables, at most.
        bytes: on disk.
        seconds: of one worker.
        held: bytes that a worker holds because there is so much to do: what grows with images, units and k.
        gpu_held: the same on a GPU.
        peak: what this process held while one batch or set of it was measured, network and all.
    """

    stage: str
    shards: int
    rows: int
    bytes: float
    seconds: float
    held: float
    gpu_held: float = 0.0
    peak: Peak = field(default_factory=Peak)

    @property
    def memory(self) -> float | None:
        """Most bytes that a worker holds; None where the system does not tell."""
        return None if self.peak.process is None else self.peak.process + self.held

    @property
    def gpu_memory(self) -> float | None:
        """Most bytes on its GPU; None without one."""
        return None if self.peak.gpu is None else self.peak.gpu + self.gpu_held


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
    return PlanRow("survey", shards, rows, bytes_ + rows * READOUT_BYTES, time_, _sample_held(outlook))


def _sample_held(outlook: Outlook) -> float:
    """Bytes of the vectors that a shard samples, of each layer and of the one whose features it is compared by."""
    per_image = math.ceil(outlook.job.survey.positions / outlook.n_sample)

    def sample(point: ReadPoint) -> int:
        return 4 * outlook.n_sample * min(per_image, math.prod(point.map_size)) * point.n_channels

    all_of_it = sum(sample(layer.point) + sample(layer.source) for layer in outlook.layers)
    channels = sum(layer.point.n_channels for layer in outlook.layers)
    return all_of_it * min(1, CHANNELS_PER_SHARD / channels)


def sampled(_: int, maps: Float[Tensor, "b c y x"]) -> None:
    """As much as is done to a map of which neighbourhoods are taken and the mean of each place."""
    smoothed(maps).flatten(2).double().sum(dim=0)


def _field_seconds(outlook: Outlook) -> float:
    """Of all effective fields; one takes half as long as the deepest, on average."""
    wanted = range(min(FIELD_IMAGES, len(outlook.images)))
    first = next(iter(batches(outlook.reader.network, outlook.images, wanted, FIELD_IMAGES)), None)
    with_field = [index for index, layer in enumerate(outlook.layers) if layer.point.field is not None]
    if first is None or not with_field:
        return 0.0
    return seconds(lambda: effective_fields(outlook.reader, with_field[-1:], first.inputs)) * (1 + len(with_field)) / 2


def _algebra_seconds(outlook: Outlook) -> float:
    """Of covariances, readouts and whitenings; measured at three widths, straight lines between their logarithms."""
    widths = [layer.point.n_channels for layer in outlook.layers]
    low, high = min(widths), max(widths)
    measured = sorted({low, round(math.sqrt(low * high)), high})
    algebra(outlook, low)  # the first call loads what it needs
    taken = [once(partial(algebra, outlook, width)) for width in measured]
    return float(np.exp(np.interp(np.log(widths), np.log(measured), np.log(taken))).sum())


def algebra(outlook: Outlook, width: int) -> None:
    """What the survey makes of one layer's vectors."""
    survey = outlook.job.survey
    generator = np.random.default_rng(0)
    vectors = generator.standard_normal((max(survey.positions, outlook.n_sample), width)).astype(np.float32)
    whitening = Whitening.of(vectors, without=place_directions(vectors[:PLACES].astype(np.float64)))
    random_clarity(whitening(vectors), outlook.job.collect.k, generator=generator)
    if survey.readouts:
        its = Activations.of(vectors)
        count = survey.readouts + survey.controls
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
    at_once = candidates / shards
    held, tallied = at_once * CANDIDATE_HELD, at_once * TALLIED_HELD
    return PlanRow("collect", shards, candidates + moments + n_images, bytes_, time_, held, gpu_held=tallied)


def _collecting_seconds(outlook: Outlook) -> float:
    """Of one batch, sorted into the strongest at once, which is sorting more often than it takes."""
    names = [layer.point.layer for layer in outlook.layers]
    reader = Reader(outlook.reader.network, names, dict(zip(names, map(_readouts, outlook.layers), strict=True)))
    device, k = reader.network.device, outlook.job.collect.k
    tallies = [LayerPeakTally(point.n_channels, k=k, layer=point.layer, device=device) for point in reader.points]

    def count(index: int, peaks: Peaks) -> None:
        tallies[index].add(peaks, torch.arange(len(peaks.value), device=device))
        tallies[index].result()

    return outlook.pass_seconds(lambda inputs: reader.read_peaks(inputs, count))


def _readouts(layer: LayerOutlook) -> dict[str, Readout]:
    """Directions of noise, as many as the layer's virtual units have."""
    found: dict[str, Readout] = {}
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
    parts = math.ceil(len(outlook.images) / job.collect.images_per_shard)
    bytes_ = kept * EXEMPLAR_BYTES + units * UNIT_BYTES
    held = min(max(sizes), UNITS_PER_SHARD) * job.collect.k * parts * RANKED_HELD
    time_ = kept * parts * MERGING_S + shards * (OPENING_S + parts * FILE_S)
    return PlanRow("combine", shards, kept + units, bytes_, time_, held)
