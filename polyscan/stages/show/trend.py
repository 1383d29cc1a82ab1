"""The depth trend: each layer's units, its one-concept controls, and the difference, which is the finding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float64

from polyscan.job import Job
from polyscan.maps.atlas import Column, LayerRow, Mean, TrendPoint
from polyscan.shards import seed
from polyscan.stats.significance import bootstrap_difference, bootstrap_interval, wilson_interval

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
NOWHERE = (np.nan, np.nan, np.nan, np.nan, np.nan)
DRAWS = 1000
Values = Float64[np.ndarray, " u"]


def depth_trend(
    job: Job, frame: pd.DataFrame, layers: Sequence[LayerRow], columns: Sequence[Column], calibrated: pd.DataFrame
) -> Iterator[TrendPoint]:
    """Distribution and interval of each column over each layer's live units, and over its controls.

    Args:
        job: seeds the resampling.
        frame: the map.
        layers: in forward order.
        columns: of the map.
        calibrated: main rows of `scores`, virtual units among them.
    """
    live = {str(layer): rows for layer, rows in frame[~frame["is_dead"]].groupby("layer")}
    controls = _controls(calibrated)
    for column in columns:
        for layer in layers:
            rows = live.get(layer.name)
            values = np.empty(0) if rows is None else rows[column.name].dropna().to_numpy(np.float64)
            generator = np.random.default_rng(seed(job.seed, f"interval of {column.name}", layer.name))
            yield _point(column.name, layer, values, controls.get((layer.name, column.name)), generator)


LOW_Q = 0.05
LOW_Q_SHARE = Column(
    "share_q_05", "share with q < .05", "share of the layer's units with a q that have one below .05; 95 % binomial"
)


def low_q_shares(frame: pd.DataFrame, layers: Sequence[LayerRow]) -> Iterator[TrendPoint]:
    """Of each layer's units with a q the share below .05, with Wilson's interval; none in a run without a null."""
    if "q" not in frame:
        return
    q = {str(layer): its.dropna().to_numpy(np.float64) for layer, its in frame.groupby("layer")["q"]}
    for layer in layers:
        its = q.get(layer.name, np.empty(0))
        if len(its):
            share = wilson_interval(int((its < LOW_Q).sum()), len(its))
            yield TrendPoint(LOW_Q_SHARE.name, layer.name, layer.depth, len(its), *share, NOWHERE)


def _controls(calibrated: pd.DataFrame) -> dict[tuple[str, str], Values]:
    """Values of each layer's controls by layer and column; `p` is the separation's."""
    rows = calibrated[(calibrated["prefix"] == "") & calibrated["layer"].str.endswith("@control")]
    found = {
        (str(layer).removesuffix("@control"), str(score)): values.dropna().to_numpy(np.float64)
        for (layer, score), values in rows.groupby(["layer", "score"])["value"]
    }
    for layer, p in rows[rows["score"] == "separation"].groupby("layer")["p"]:
        found[str(layer).removesuffix("@control"), "p"] = p.dropna().to_numpy(np.float64)
    return found


def _point(
    column: str, layer: LayerRow, values: Values, controls: Values | None, generator: np.random.Generator
) -> TrendPoint:
    if not len(values):
        return TrendPoint(column, layer.name, layer.depth, 0, np.nan, np.nan, np.nan, NOWHERE)
    interval = bootstrap_interval(values, generator=generator, draws=DRAWS)
    q05, q25, q50, q75, q95 = (float(np.quantile(values, share)) for share in QUANTILES)
    control = excess = None
    if controls is not None and len(controls):
        control = Mean(*bootstrap_interval(controls, generator=generator, draws=DRAWS), len(controls))
        excess = Mean(*bootstrap_difference(values, controls, generator=generator, draws=DRAWS), len(controls))
    spread = (q05, q25, q50, q75, q95)
    return TrendPoint(column, layer.name, layer.depth, len(values), *interval, spread, control, excess)
