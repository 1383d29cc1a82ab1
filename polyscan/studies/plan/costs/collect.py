"""The cost of `collect`: one pass over all images, with real and virtual units."""

from __future__ import annotations

import math

import torch

from polyscan.studies.plan.outlook import PARTS, LayerOutlook, Outlook
from polyscan.studies.plan.row import PlanRow
from polyscan.vision.peaks import LayerPeakTally
from polyscan.vision.readouts import Directions, Downward, Largest, Peaks, Reader, Readout

CANDIDATE_BYTES, MOMENT_BYTES = 8, 80
"""Bytes of one row of `candidates` and `moments` on disk."""
CANDIDATE_HELD, TALLIED_HELD = 160, 40
"""Bytes in memory of a candidate of a shard (in the tally, as a row and as it is written), and in the tally alone,
which is on the GPU if there is one."""


def cost(outlook: Outlook) -> PlanRow:
    """Real and virtual units; virtual ones are measured with random weights."""
    job, n_images = outlook.job, len(outlook.images)
    shards = math.ceil(n_images / job.collect.images_per_shard)
    moments = shards * sum(layer.n_units for layer in outlook.layers)
    candidates = moments * min(job.k, job.collect.images_per_shard)
    bytes_ = candidates * CANDIDATE_BYTES + moments * MOMENT_BYTES
    time_ = _collecting_seconds(outlook) * math.ceil(n_images / job.collect.batch)
    at_once = candidates / shards
    held, tallied = at_once * CANDIDATE_HELD, at_once * TALLIED_HELD
    return PlanRow("collect", shards, candidates + moments + n_images, bytes_, time_, held, gpu_held=tallied)


def _collecting_seconds(outlook: Outlook) -> float:
    """Seconds of one batch, ranked after each batch; a scan ranks less often."""
    names = [layer.point.layer for layer in outlook.layers]
    reader = Reader(outlook.reader.network, names, dict(zip(names, map(random_readouts, outlook.layers), strict=True)))
    device, k = reader.network.device, outlook.job.k
    tallies = [LayerPeakTally(point.n_channels, k=k, layer=point.layer, device=device) for point in reader.points]

    def count(index: int, peaks: Peaks) -> None:
        tallies[index].add(peaks, torch.arange(len(peaks.value), device=device))
        tallies[index].result()

    return outlook.pass_seconds(lambda inputs: reader.read_peaks(inputs, count))


def random_readouts(layer: LayerOutlook) -> dict[str, Readout]:
    """Random directions, as many as the virtual units of the layer have."""
    readouts: dict[str, Readout] = {}
    generator = torch.Generator().manual_seed(0)
    for role, n in layer.virtual.items():
        parts = PARTS.get(role, 2)
        weights = torch.randn(n * parts, layer.point.n_channels, generator=generator)
        directions = Directions(weights, torch.zeros(len(weights)))
        readouts[role] = Downward() if role == "down" else Largest(directions, parts) if parts > 1 else directions
    return readouts
