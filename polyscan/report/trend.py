"""The depth trend: each layer's units, its single-concept controls, and the difference, which is the finding."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

import numpy as np
import pandas as pd
from jaxtyping import Float64

from polyscan.job import Job
from polyscan.maps.atlas import LayerRow, MapColumn, Mean, TrendPoint
from polyscan.report.associations import by_known
from polyscan.report.unit_map import SECOND
from polyscan.shards import seed
from polyscan.stats.significance import resampled_means, wilson_interval

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
Quantiles = tuple[float, float, float, float, float]
NO_QUANTILES: Quantiles = (np.nan, np.nan, np.nan, np.nan, np.nan)
DRAWS = 1000
ColumnValues = Float64[np.ndarray, " u"]


def depth_trend(
    job: Job, frame: pd.DataFrame, layers: Sequence[LayerRow], columns: Sequence[MapColumn], calibrated: pd.DataFrame
) -> Iterator[TrendPoint]:
    """Distribution and interval of each column over each layer's live units, and over its controls.

    Args:
        job: gives the seed for resampling.
        frame: the map.
        layers: in forward order.
        columns: of the map.
        calibrated: `calibrated_rows`, including virtual units.
    """
    live = {str(layer): rows for layer, rows in frame[~frame["is_dead"]].groupby("layer")}
    controls = _controls(calibrated)
    names = [column.name for column in columns]
    points: dict[tuple[str, str], TrendPoint] = {}
    for layer in layers:
        rows = live.get(layer.name)
        values = np.empty((0, len(names))) if rows is None else rows[names].to_numpy(np.float64)
        read = layer.parent or layer.name  # directions have the controls of the layer that they read
        of_layer = {name: controls[read, name] for name in names if len(controls.get((read, name), ()))}
        generator = np.random.default_rng(seed(job.seed, "intervals of means", layer.name))
        points |= {(point.column, point.layer): point for point in _points(layer, names, values, of_layer, generator)}
    yield from (points[name, layer.name] for name in names for layer in layers)


LOW_Q = 0.05
LOW_Q_SHARE = MapColumn(
    "share_q_05",
    "share with q < .05",
    "share of units with q < .05, among the layer's units that have a q; 95 % binomial",
)


def low_q_shares(frame: pd.DataFrame, layers: Sequence[LayerRow]) -> Iterator[TrendPoint]:
    """Share of q < .05 among each layer's units with a q, with Wilson's interval; empty in a run without a null."""
    if "q" not in frame:
        return
    by_layer = {str(layer): q.dropna().to_numpy(np.float64) for layer, q in frame.groupby("layer")["q"]}
    for layer in layers:
        q = by_layer.get(layer.name, np.empty(0))
        if len(q):
            share = wilson_interval(int((q < LOW_Q).sum()), len(q))
            yield TrendPoint(LOW_Q_SHARE.name, layer.name, layer.depth, len(q), *share, NO_QUANTILES)


def _controls(calibrated: pd.DataFrame) -> dict[tuple[str, str], ColumnValues]:
    """Values of each layer's controls by layer and column, of both tests; `p` is the separation's."""
    is_shown = calibrated["is_main"] | (calibrated["prefix"] == SECOND)
    rows = calibrated[is_shown & (calibrated["role"] == "control")]
    controls = {
        (str(layer), f"{prefix}{score}"): values.dropna().to_numpy(np.float64)
        for (layer, prefix, score), values in rows.groupby(["parent", "prefix", "score"])["value"]
    }
    for (layer, prefix), p in rows[rows["score"] == "separation"].groupby(["parent", "prefix"])["p"]:
        controls[str(layer), f"{prefix}p"] = p.dropna().to_numpy(np.float64)
    return controls


def _points(
    layer: LayerRow,
    names: Sequence[str],
    values: Float64[np.ndarray, "u c"],
    controls: Mapping[str, ColumnValues],
    generator: np.random.Generator,
) -> Iterator[TrendPoint]:
    """One layer's points; columns with numbers for the same units are resampled together."""
    for known, places in by_known(values):
        kept = values[known][:, places]
        if not len(kept):
            for at in places:
                yield TrendPoint(names[at], layer.name, layer.depth, 0, np.nan, np.nan, np.nan, NO_QUANTILES)
            continue
        means = kept.mean(axis=0)
        drawn = resampled_means(kept - means, generator=generator, draws=DRAWS)
        spreads = np.quantile(kept, QUANTILES, axis=0).T.tolist()
        for at, mean, draws, spread, column in zip(places, means.tolist(), drawn.T, spreads, kept.T, strict=True):
            control = excess = None
            if names[at] in controls:
                control, excess = _control_and_excess(mean, draws, controls[names[at]], generator)
            interval = _interval(mean, draws, column)
            quantiles = cast("Quantiles", tuple(spread))
            yield TrendPoint(names[at], layer.name, layer.depth, len(kept), *interval, quantiles, control, excess)


def _interval(mean: float, deviations: ColumnValues, values: ColumnValues) -> tuple[float, float, float]:
    """A mean and its interval; if all values are equal, all three are exactly this value."""
    if np.ptp(values) == 0:
        return float(values[0]), float(values[0]), float(values[0])
    return (mean, *_ends(mean, deviations))


def _control_and_excess(
    mean: float, draws: ColumnValues, controls: ColumnValues, generator: np.random.Generator
) -> tuple[Mean, Mean]:
    """The controls' mean, and the units' mean minus the controls' mean."""
    control = float(controls.mean())
    drawn = resampled_means((controls - control)[:, None], generator=generator, draws=DRAWS)[:, 0]
    n, excess = len(controls), mean - control
    return Mean(control, *_ends(control, drawn), n), Mean(excess, *_ends(excess, draws - drawn), n)


def _ends(mean: float, deviations: ColumnValues) -> tuple[float, float]:
    """Ends of the 95 % percentile interval of a mean, by the deviations of resampled means from it."""
    low, high = np.quantile(deviations, (0.025, 0.975))
    return mean + float(low), mean + float(high)
