"""Rank correlation of scores with properties of units' activations, layer by layer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float64

from polyscan.job import Job
from polyscan.maps.atlas import Association, MapColumn
from polyscan.shards import seed
from polyscan.stats.significance import resampled_means

PROPERTIES = ("kurtosis", "sparsity")
LEAST_UNITS = 8
DRAWS = 500
ROUNDING = 1e-12  # share of the largest variance of ranks; a resample's variance below it counts as 0
RhoInterval = tuple[float, float, float]
"""Rho, and the lower and upper end of its interval."""


def associations(job: Job, frame: pd.DataFrame, columns: Sequence[MapColumn]) -> Iterator[Association]:
    """Spearman's rho of each column with kurtosis and with sparsity, with an interval over the layer's live units.

    Left out if fewer than 8 units have both, or one of the two is the same for all units.
    """
    names = [column.name for column in columns]
    for layer, rows in frame[~frame["is_dead"]].groupby("layer", sort=False):
        values = rows[names].to_numpy(np.float64)
        for property_ in (name for name in PROPERTIES if name in rows):
            generator = np.random.default_rng(seed(job.seed, f"rank correlation with {property_}", str(layer)))
            others = {at for at, name in enumerate(names) if name != property_}
            correlations = _correlations(values, rows[property_].to_numpy(np.float64), others, generator)
            for at, (n, interval) in sorted(correlations.items()):
                yield Association(str(layer), names[at], property_, n, *interval)


def _correlations(
    values: Float64[np.ndarray, "u c"],
    property_: Float64[np.ndarray, " u"],
    others: Set[int],
    generator: np.random.Generator,
) -> dict[int, tuple[int, RhoInterval]]:
    """Number of units and interval of each column among `others` that varies."""
    correlations: dict[int, tuple[int, RhoInterval]] = {}
    for known, columns in by_known(np.where(np.isfinite(property_)[:, None], values, np.nan)):
        if known.sum() < LEAST_UNITS or np.ptp(property_[known]) == 0:
            continue
        varying = [at for at in columns if at in others and np.ptp(values[known, at]) > 0]
        if varying:
            intervals = _intervals(values[known][:, varying], property_[known], generator)
            correlations |= {at: (int(known.sum()), one) for at, one in zip(varying, intervals, strict=True)}
    return correlations


def by_known(values: Float64[np.ndarray, "u c"]) -> Iterator[tuple[Bool[np.ndarray, " u"], list[int]]]:
    """Groups columns by the units for which they have a number: which units these are, and the columns' indices."""
    groups: dict[bytes, list[int]] = {}
    known = np.isfinite(values)
    for at in range(values.shape[1]):
        groups.setdefault(known[:, at].tobytes(), []).append(at)
    for columns in groups.values():
        yield known[:, columns[0]], columns


def _intervals(
    columns: Float64[np.ndarray, "u c"], property_: Float64[np.ndarray, " u"], generator: np.random.Generator
) -> list[RhoInterval]:
    """Each column's rho and its 2.5 and 97.5 % quantiles over resampled units, the same resamples for all columns.

    Ranks are computed once: a resample's ranks are these ranks drawn again, except for how ties are counted.
    """
    n, count = columns.shape
    x = pd.DataFrame(columns).rank().to_numpy()
    y = pd.Series(property_).rank().to_numpy()[:, None]
    x, y = x - x.mean(axis=0), y - y.mean()
    means = resampled_means(np.hstack([x, x * x, x * y, y, y * y]), generator=generator, draws=DRAWS)
    of_x, of_xx, of_xy = (means[:, part * count : (part + 1) * count] for part in range(3))
    of_y, of_yy = means[:, -2:-1], means[:, -1:]
    spread = np.sqrt(np.maximum(of_xx - of_x**2, 0) * np.maximum(of_yy - of_y**2, 0))
    with np.errstate(divide="ignore", invalid="ignore"):
        rho = np.where(spread > ROUNDING * n * n, (of_xy - of_x * of_y) / spread, np.nan)
    low, high = np.nanquantile(rho, (0.025, 0.975), axis=0)
    whole = (x * y).sum(axis=0) / np.sqrt((x * x).sum(axis=0) * (y * y).sum())
    return list(zip(whole.tolist(), low.tolist(), high.tolist(), strict=True))
