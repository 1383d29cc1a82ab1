"""The cost of `deflate`: two passes over a sample, the second with all units and their main readouts."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float
from torch import Tensor

from polyscan.nulls.deflation import BINS, Curves, main_readouts
from polyscan.shards import split_by_weight
from polyscan.stages.deflate import UNITS_PER_SHARD
from polyscan.studies.plan.costs.recollect import pair_seconds
from polyscan.studies.plan.measuring import once
from polyscan.studies.plan.outlook import Outlook
from polyscan.studies.plan.row import PlanRow

ROW_BYTES = 40
"""Bytes of one row of `main_readouts` on disk, without its vectors."""


def cost(outlook: Outlook) -> PlanRow:
    """The sample is read once for vectors and once for peaks in each shard; then algebra for each layer."""
    job, layers = outlook.job, outlook.second_layers
    if not layers:
        return PlanRow("deflate", 0, 0, 0.0, 0.0, 0.0)
    n_images = len(outlook.images)
    n_curves = min(job.survey.images, n_images)
    n_sample = min(n_images, max(n_curves, math.ceil(job.second.exemplars * n_images / job.k)))
    units = [layer.n_units for layer in layers]
    shards = len(split_by_weight("deflate", units, UNITS_PER_SHARD))
    plain = outlook.pass_seconds(lambda inputs: outlook.reader.read(inputs, _nothing))
    batch = job.collect.batch
    time_ = shards * (math.ceil(n_sample / batch) * plain + math.ceil(n_curves / batch) * pair_seconds(outlook))
    time_ += sum(_algebra_seconds(layer.point.n_channels, layer.n_units, n_curves) for layer in layers)
    bytes_ = sum(layer.n_units * (ROW_BYTES + 4 * (layer.point.n_channels + 2 * BINS)) for layer in layers)
    held = 8.0 * min(sum(units), UNITS_PER_SHARD) * n_curves + 4.0 * max(
        layer.n_units * layer.point.n_channels for layer in layers
    )
    return PlanRow("deflate", shards, sum(units), float(bytes_), time_, held)


def _nothing(_: int, __: Float[Tensor, "b c y x"]) -> None:
    """Reads a map without work on it."""


def _algebra_seconds(width: int, n_units: int, n_images: int) -> float:
    """Seconds for a layer's main readouts and curves; the curves are measured for some units."""
    generator = np.random.default_rng(0)
    covariance, few = np.eye(width), min(n_units, 64)
    tops = generator.standard_normal((few, width))
    mains, values = generator.standard_normal((2, n_images, few)).astype(np.float32)
    solved = once(lambda: main_readouts(tops, np.zeros(width), covariance))
    fitted = once(lambda: Curves.fit(mains, values)) if n_images >= 2 * BINS else 0.0
    return solved + fitted * n_units / few
