"""Means of layers and of networks, and their differences, each with a 95 % interval.

Law: every draw is seeded by what it is for, its layer and the run's place, so the order of rows changes nothing.
All columns of a layer have the same units drawn again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64
from scipy.special import stdtrit

from polyscan.maps.atlas import MapColumn
from polyscan.shards import seed
from polyscan.stats.significance import Interval, times_drawn, wilson_interval
from polyscan.studies.compare.runs import EXCESS, SHARES, ComparedRun, Values

SEED = 0
DRAWS = 1000
LEAST_LAYERS = 3
"""With fewer common layers nothing would be left without the first and the last one."""
_ENDS = (0.025, 0.975)

Draws = Float64[np.ndarray, " draws"]


@dataclass(frozen=True, eq=False)
class Cell:
    """One column of one layer of one run.

    Args:
        key: column, layer and the run's place; its draws are seeded by the last two.
        channels: of the units that have the number.
        values: their numbers.
        controls: numbers of the layer's controls, whose mean is taken off; empty where nothing is.
        draws: the mean with units, and controls, drawn again.
        interval: the mean and its interval.
    """

    key: tuple[str, str, int]
    channels: Int64[np.ndarray, " u"]
    values: Values
    controls: Values
    draws: Draws
    interval: Interval


class Difference(NamedTuple):
    """Mean of a run less that of the first one, in one layer; `n` units of the run, or pairs."""

    interval: Interval
    n: int
    is_paired: bool


class Overall(NamedTuple):
    """Mean of the layers' differences with Student's interval over layers.

    Args:
        interval: NaN ends for fewer than two layers.
        n: layers.
        inner: the same mean without the first and the last layer; NaN where none is left.
        own: the same mean with each run's own live units; it differs where only units live in both were compared.
        is_claimed: whether the interval excludes 0 and all three have one sign.
    """

    interval: Interval
    n: int
    inner: float
    own: float
    is_claimed: bool


Cells = Mapping[tuple[str, str], Cell]


def cells_of(side: ComparedRun, columns: Sequence[MapColumn]) -> dict[tuple[str, str], Cell]:
    """Every column of every layer that has one unit or more with the number; by column and layer."""
    found: dict[tuple[str, str], Cell] = {}
    layers = {str(layer): rows for layer, rows in side.frame.groupby("layer", sort=False)}
    for layer in side.layers:
        if layer.name not in layers:
            continue
        every = layers[layer.name]
        live = every[~every["is_dead"]]
        for column in columns:
            score = EXCESS.get(column.name)
            controls = side.controls.get((layer.name, score)) if score else np.empty(0)
            if controls is None:
                continue
            rows = every if column.name == "dead_share" else live
            values = rows[score or column.name].to_numpy(np.float64)
            channels = rows["channel"].to_numpy(np.int64)
            known = np.isfinite(values)
            if known.any():
                key = (column.name, layer.name, side.place)
                found[column.name, layer.name] = _cell(key, channels[known], values[known], controls)
    order = [(column.name, layer.name) for column in columns for layer in side.layers]
    return {key: found[key] for key in order if key in found}


def _cell(key: tuple[str, str, int], channels: Int64[np.ndarray, " u"], values: Values, controls: Values) -> Cell:
    draws = resampled(values, _seed("units of", key))
    mean = float(values.mean())
    if len(controls):
        draws = draws - resampled(controls, _seed("controls of", key))
        mean -= float(controls.mean())
    is_share = key[0] in SHARES
    interval = wilson_interval(int(values.sum()), len(values)) if is_share else _interval(mean, draws)
    return Cell(key, channels, values, controls, draws, interval)


def resampled(values: Values, seed: int) -> Draws:
    """Means of bootstrap samples of the values."""
    mean = values.mean()
    return mean + _times_drawn(len(values), seed) @ (values - mean) / len(values)


@lru_cache(maxsize=4)
def _times_drawn(n: int, seed: int) -> Float64[np.ndarray, "draws n"]:
    """Kept, since to draw takes many times longer than to add up: a layer's columns come one after the other."""
    return times_drawn(n, generator=np.random.default_rng(seed), draws=DRAWS)


def _seed(purpose: str, key: tuple[str, str, int]) -> int:
    _, layer, place = key
    return seed(SEED, f"compare: {purpose}", layer, index=place)


def _interval(mean: float, draws: Draws) -> Interval:
    low, high = np.quantile(draws, _ENDS)
    return Interval(mean, float(low), float(high))


def network_mean(cells: Sequence[Cell]) -> Interval:
    """Mean of the layers' means; units are drawn again within their layers.

    Raises:
        ValueError: if there is no layer.
    """
    if not cells:
        raise ValueError("the mean over layers needs one layer or more, got none")
    draws = np.mean([cell.draws for cell in cells], axis=0)
    return _interval(float(np.mean([cell.interval.mean for cell in cells])), draws)


def difference(first: Cell, other: Cell, *, is_paired: bool) -> Difference | None:
    """The other less the first. None where pairs are asked for and no unit has the number in both.

    Pairs: units drawn again together, over those that have the number in both. Else both sides are drawn again by
    themselves. Shares that are not paired: Newcombe's interval, which is not of length 0 where no
    unit of a layer counts.

    Source: Newcombe 1998, "Interval estimation for the difference between independent proportions", method 10.
    """
    if is_paired:
        return _paired(first, other)
    a, b = first.interval, other.interval
    mean, n = b.mean - a.mean, len(other.values)
    if first.key[0] in SHARES:
        down, up = math.hypot(b.mean - b.low, a.high - a.mean), math.hypot(b.high - b.mean, a.mean - a.low)
        return Difference(Interval(mean, mean - down, mean + up), n, False)
    return Difference(_interval(mean, other.draws - first.draws), n, False)


def _paired(first: Cell, other: Cell) -> Difference | None:
    _, here, there = np.intersect1d(first.channels, other.channels, return_indices=True)
    if not len(here):
        return None
    changes = other.values[there] - first.values[here]
    draws, mean = resampled(changes, _seed("changes of", other.key)), float(changes.mean())
    # Controls are readouts of each run's own exemplars: no pairs, unless they are one and the same.
    if not np.array_equal(first.controls, other.controls):
        sides = [resampled(cell.controls, _seed("controls of", cell.key)) for cell in (first, other)]
        draws = draws - (sides[1] - sides[0])
        mean -= float(other.controls.mean() - first.controls.mean())
    return Difference(_interval(mean, draws), len(here), True)


def overall(differences: Sequence[Difference], own: Sequence[float]) -> Overall:
    """Over common layers in forward order.

    Args:
        differences: one a layer.
        own: the same of each run's own live units.

    Source of the interval: Student 1908, "The probable error of a mean". Resampling so few layers would give
    intervals that are too narrow: with 5 layers of Gaussian differences around 0, 15 % would exclude it.
    """
    means = np.array([each.interval.mean for each in differences])
    n, mean = len(means), float(means.mean()) if len(means) else math.nan
    inner = float(means[1:-1].mean()) if n >= LEAST_LAYERS else math.nan
    own_mean = float(np.mean(own)) if n else math.nan
    half = float(stdtrit(n - 1, _ENDS[1]) * means.std(ddof=1) / math.sqrt(n)) if n > 1 else math.nan
    low, high = mean - half, mean + half
    one_sign = np.sign(mean) == np.sign(inner) == np.sign(own_mean)
    return Overall(Interval(mean, low, high), n, inner, own_mean, bool((low > 0 or high < 0) and one_sign))


def pooled_sd(cells: Sequence[Cell]) -> float:
    """Standard deviation of the column over all units of all runs; 0 where all are alike or there is none."""
    values = np.concatenate([cell.values for cell in cells]) if cells else np.zeros(1)
    return float(values.std())
