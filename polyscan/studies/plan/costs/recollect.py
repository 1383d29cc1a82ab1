"""The cost of `recollect`: a second pass over all images, with all units and their main readouts."""

from __future__ import annotations

import math

import numpy as np
import torch

from polyscan.nulls.deflation import BINS, Curves
from polyscan.studies.plan.costs.collect import random_readouts
from polyscan.studies.plan.measuring import once
from polyscan.studies.plan.outlook import Outlook
from polyscan.studies.plan.row import PlanRow
from polyscan.vision.readouts import Directions, Peaks, Reader, Readout
from polyscan.vision.readouts.units import Together

CANDIDATE_BYTES = 10
"""Bytes of one row of `second_candidates` on disk."""
CANDIDATE_HELD = 160
"""Bytes in memory of a candidate of a shard: in the tally, as a row and as it is written."""


def cost(outlook: Outlook) -> PlanRow:
    """Each unit and its main readout on every image, and the least explained images of each shard."""
    job, layers, n_images = outlook.job, outlook.second_layers, len(outlook.images)
    if not layers:
        return PlanRow("recollect", 0, 0, 0.0, 0.0, 0.0)
    shards = math.ceil(n_images / job.collect.images_per_shard)
    units = sum(layer.n_units for layer in layers)
    per_shard = per_part(outlook)
    rows = shards * units * per_shard
    batches = math.ceil(n_images / job.collect.batch)
    time_ = batches * (pair_seconds(outlook) + _explaining_seconds(units, job.collect.batch))
    held = float(units * job.n_half * CANDIDATE_HELD)
    return PlanRow("recollect", shards, rows, float(rows * CANDIDATE_BYTES), time_, held)


def per_part(outlook: Outlook) -> int:
    """Images of a unit that one shard gives, about: of those that are searched, at most half its evidence."""
    images = min(outlook.job.collect.images_per_shard, len(outlook.images))
    return min(outlook.job.n_half, math.ceil((outlook.searched or 0.0) * images))


def pair_seconds(outlook: Outlook) -> float:
    """Seconds of one batch of all units and their main readouts, measured with random weights."""
    generator = torch.Generator().manual_seed(0)
    readouts: dict[str, dict[str, Readout]] = {}
    for layer in outlook.second_layers:
        weights = torch.randn(layer.n_units, layer.point.n_channels, generator=generator)
        mains = Directions(weights, torch.zeros(len(weights)))
        readouts[layer.point.layer] = {"together": Together((*random_readouts(layer).values(), mains))}
    reader = Reader(outlook.reader.network, list(readouts), readouts)
    return outlook.pass_seconds(lambda inputs: reader.read_peaks(inputs, _kept))


def _kept(_: int, peaks: Peaks) -> None:
    """Takes the peaks to the CPU, as a scan does."""
    peaks.value.cpu()


def _explaining_seconds(n_units: int, batch: int) -> float:
    """Seconds to subtract what main readouts explain, and to rank what is left, for one batch."""
    few = min(n_units, 1024)
    x = np.sort(np.random.default_rng(0).standard_normal((few, BINS)).astype(np.float32), axis=1)
    curves, mains = Curves(x, x, np.ones(few, dtype=np.float32)), np.zeros((batch, few), dtype=np.float32)
    curves.expected(mains)
    return once(lambda: np.argsort(curves.expected(mains), axis=0)) * n_units / few
