"""Means of layers and of networks, and their differences, each with a 95 % interval.

Law: every draw is seeded by its purpose, its layer and the place of the run, so the order of rows changes nothing.
All columns of a layer use the same resampled units.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float64, Int64
from scipy.special import stdtrit

from polyscan.maps.atlas import MapColumn
from polyscan.shards import seed
from polyscan.stats.significance import Interval, times_drawn, wilson_interval
from polyscan.studies.compare.runs import EXCESS, SHARES, ComparedRun, Values

SEED = 0
DRAWS = 1000
LEAST_LAYERS = 3
"""With fewer common layers, no layer would be left without the first and the last."""
_ENDS = (0.025, 0.975)

Draws = Float64[np.ndarray, " draws"]


@dataclass(frozen=True, eq=False)
class Cell:
    """One column of one layer of one run.

    Args:
        key: column, layer and the place of the run; the last two seed the draws.
        channels: the units that have the number.
        values: their numbers.
        controls: numbers of the layer's controls, whose mean is subtracted; empty if none is.
        draws: the mean with units, and controls, resampled.
        interval: the mean and its interval.
    """

    key: tuple[str, str, int]
    channels: Int64[np.ndarray, " u"]
    values: Values
    controls: Values
    draws: Draws
    interval: Interval


class Difference(NamedTuple):
    """Mean of a run minus that of the first run, in one layer; `n` is the number of units of the run, or of pairs."""

    interval: Interval
    n: int
    is_paired: bool


class Overall(NamedTuple):
    """Mean of the layers' differences with Student's interval over layers.

    Args:
        interval: the mean and its interval; the ends are NaN for fewer than two layers.
        n: number of layers.
        inner: the mean without the first and the last layer; NaN if no layer is left.
        own: the mean with all live units of each run; it differs if only units that live in both were compared.
        is_claimed: whether the interval excludes 0 and the three means have the same sign.
    """

    interval: Interval
    n: int
    inner: float
    own: float
    is_claimed: bool


Cells = Mapping[tuple[str, str], Cell]


def cells_of(run: ComparedRun, columns: Sequence[MapColumn]) -> dict[tuple[str, str], Cell]:
    """Every column of every layer in which at least one unit has the number; by column and layer."""
    cells: dict[tuple[str, str], Cell] = {}
    rows = {str(layer): units for layer, units in run.frame.groupby("layer", sort=False)}
    for layer in run.layers:
        if layer.name in rows:
            cells |= _cells_of_layer(run, layer.name, rows[layer.name], columns)
    order = [(column.name, layer.name) for column in columns for layer in run.layers]
    return {key: cells[key] for key in order if key in cells}


def _cells_of_layer(
    run: ComparedRun, layer: str, units: pd.DataFrame, columns: Sequence[MapColumn]
) -> Iterator[tuple[tuple[str, str], Cell]]:
    """The cells of one layer, by column and layer; `dead_share` counts all units, every other column the live ones."""
    live = units[~units["is_dead"]]
    for column in columns:
        score = EXCESS.get(column.name)
        controls = run.controls.get((layer, column.name)) if score else np.empty(0)
        if controls is None:
            continue
        rows = units if column.name == "dead_share" else live
        values = rows[score or column.name].to_numpy(np.float64)
        channels = rows["channel"].to_numpy(np.int64)
        known = np.isfinite(values)
        if known.any():
            key = (column.name, layer, run.place)
            yield (column.name, layer), _cell(key, channels[known], values[known], controls)


def _cell(key: tuple[str, str, int], channels: Int64[np.ndarray, " u"], values: Values, controls: Values) -> Cell:
    draws = resampled(values, _seed("units of", key))
    mean = float(values.mean())
    if len(controls):
        draws = draws - resampled(controls, _seed("controls of", key))
        mean -= float(controls.mean())
    interval = _share_interval(values, controls) if is_of_shares(key[0]) else _interval(mean, draws)
    return Cell(key, channels, values, controls, draws, interval)


def is_of_shares(column: str) -> bool:
    """Whether a column is a share, or a share less another one."""
    return column in SHARES or EXCESS.get(column) in SHARES


def _share_interval(values: Values, controls: Values) -> Interval:
    """Wilson's interval of a share; Newcombe's of a share less that of the controls."""
    share = wilson_interval(int(values.sum()), len(values))
    return _less(share, wilson_interval(int(controls.sum()), len(controls))) if len(controls) else share


def _less(a: Interval, b: Interval) -> Interval:
    """The difference of two independent numbers from their own intervals.

    Sources: Newcombe 1998, "Interval estimation for the difference between independent proportions", method 10; Zou &
    Donner 2008, "Construction of confidence limits about effect measures: a general approach", for other numbers.
    """
    mean = a.mean - b.mean
    down, up = math.hypot(a.mean - a.low, b.high - b.mean), math.hypot(a.high - a.mean, b.mean - b.low)
    return Interval(mean, mean - down, mean + up)


def resampled(values: Values, seed: int) -> Draws:
    """The means of bootstrap samples of the values."""
    mean = values.mean()
    return mean + _times_drawn(len(values), seed) @ (values - mean) / len(values)


@lru_cache(maxsize=4)
def _times_drawn(n: int, seed: int) -> Float64[np.ndarray, "draws n"]:
    """Cached for the columns of a layer, which come one after the other: drawing takes much longer than adding up."""
    return times_drawn(n, generator=np.random.default_rng(seed), draws=DRAWS)


def _seed(purpose: str, key: tuple[str, str, int]) -> int:
    _, layer, place = key
    return seed(SEED, f"compare: {purpose}", layer, index=place)


def _interval(mean: float, draws: Draws) -> Interval:
    low, high = np.quantile(draws, _ENDS)
    return Interval(mean, float(low), float(high))


def network_mean(cells: Sequence[Cell]) -> Interval:
    """Mean of the layers' means; units are resampled within their layers.

    Raises:
        ValueError: if there is no layer.
    """
    if not cells:
        raise ValueError("the mean over layers needs one layer or more, got none")
    draws = np.mean([cell.draws for cell in cells], axis=0)
    return _interval(float(np.mean([cell.interval.mean for cell in cells])), draws)


def difference(first: Cell, other: Cell, *, is_paired: bool) -> Difference | None:
    """The other minus the first; None if pairs are asked for and no unit has the number in both.

    With pairs, the differences of units that have the number in both are resampled. Without, both runs are resampled
    independently. Shares without pairs get Newcombe's interval, which has a length above 0 even if the share is 0 in
    both; shares less controls that of Zou & Donner, from their own intervals.
    """
    if is_paired:
        return _paired(first, other)
    change, n = _less(other.interval, first.interval), len(other.values)
    if is_of_shares(first.key[0]):
        return Difference(change, n, False)
    return Difference(_interval(change.mean, other.draws - first.draws), n, False)


def _paired(first: Cell, other: Cell) -> Difference | None:
    _, in_first, in_other = np.intersect1d(first.channels, other.channels, return_indices=True)
    if not len(in_first):
        return None
    changes = other.values[in_other] - first.values[in_first]
    draws, mean = resampled(changes, _seed("changes of", other.key)), float(changes.mean())
    # Each run has controls of its own, which are not paired; equal ones cancel.
    if not np.array_equal(first.controls, other.controls):
        controls = [resampled(cell.controls, _seed("controls of", cell.key)) for cell in (first, other)]
        draws = draws - (controls[1] - controls[0])
        mean -= float(other.controls.mean() - first.controls.mean())
    return Difference(_interval(mean, draws), len(in_first), True)


def overall(differences: Sequence[Difference], own: Sequence[float]) -> Overall:
    """The mean difference over common layers, in forward order.

    Args:
        differences: one per layer.
        own: the differences with all live units of each run.

    Source of the interval: Student 1908, "The probable error of a mean". Resampling so few layers would give
    intervals that are too narrow: with 5 layers of Gaussian differences around 0, 15 % would exclude it.
    """
    means = np.array([difference.interval.mean for difference in differences])
    n, mean = len(means), float(means.mean()) if len(means) else math.nan
    inner = float(means[1:-1].mean()) if n >= LEAST_LAYERS else math.nan
    own_mean = float(np.mean(own)) if n else math.nan
    half = float(stdtrit(n - 1, _ENDS[1]) * means.std(ddof=1) / math.sqrt(n)) if n > 1 else math.nan
    low, high = mean - half, mean + half
    one_sign = np.sign(mean) == np.sign(inner) == np.sign(own_mean)
    return Overall(Interval(mean, low, high), n, inner, own_mean, bool((low > 0 or high < 0) and one_sign))


def pooled_sd(cells: Sequence[Cell]) -> float:
    """Standard deviation of a column over all units of all runs; 0 if all are equal or there is no unit."""
    values = np.concatenate([cell.values for cell in cells]) if cells else np.zeros(1)
    return float(values.std())
