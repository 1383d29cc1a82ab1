"""How scores go with what a unit's activations look like, layer by layer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float64

from polyscan.job import Job
from polyscan.maps.atlas import Association, MapColumn
from polyscan.shards import seed
from polyscan.stats.significance import resampled_means

BESIDE = ("kurtosis", "sparsity")
LEAST_UNITS = 8
DRAWS = 500
ROUNDING = 1e-12  # share of the largest variance of ranks below which a resample's is none


def associations(job: Job, frame: pd.DataFrame, columns: Sequence[MapColumn]) -> Iterator[Association]:
    """Spearman's rho of each column with kurtosis and with sparsity, with an interval over the layer's live units.

    None where fewer than 8 units have both, or one of the two is the same for all.
    """
    names = [column.name for column in columns]
    for layer, rows in frame[~frame["is_dead"]].groupby("layer", sort=False):
        values = rows[names].to_numpy(np.float64)
        for beside in (name for name in BESIDE if name in rows):
            generator = np.random.default_rng(seed(job.seed, f"rank correlation with {beside}", str(layer)))
            its = rows[beside].to_numpy(np.float64)
            found: dict[int, tuple[int, tuple[float, float, float]]] = {}
            for known, columns_ in by_known(np.where(np.isfinite(its)[:, None], values, np.nan)):
                if known.sum() < LEAST_UNITS or np.ptp(its[known]) == 0:
                    continue
                spread = [at for at in columns_ if names[at] != beside and np.ptp(values[known, at]) > 0]
                if spread:
                    intervals = _intervals(values[known][:, spread], its[known], generator)
                    found |= {at: (int(known.sum()), one) for at, one in zip(spread, intervals, strict=True)}
            for at in sorted(found):
                n, interval = found[at]
                yield Association(str(layer), names[at], beside, n, *interval)


def by_known(values: Float64[np.ndarray, "u c"]) -> Iterator[tuple[Bool[np.ndarray, " u"], list[int]]]:
    """Columns that have a number for the same units, together: which units these are, and the columns' places."""
    groups: dict[bytes, list[int]] = {}
    known = np.isfinite(values)
    for at in range(values.shape[1]):
        groups.setdefault(known[:, at].tobytes(), []).append(at)
    for columns in groups.values():
        yield known[:, columns[0]], columns


def _intervals(
    columns: Float64[np.ndarray, "u c"], beside: Float64[np.ndarray, " u"], generator: np.random.Generator
) -> list[tuple[float, float, float]]:
    """Each column's rho and the 2.5 and 97.5 % quantiles of it over resampled units, the same ones for all columns.

    Ranks are taken once: those of a resample are the same ranks drawn again, but for how ties are counted.
    """
    n, count = columns.shape
    x = pd.DataFrame(columns).rank().to_numpy()
    y = pd.Series(beside).rank().to_numpy()[:, None]
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
