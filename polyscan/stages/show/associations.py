"""How scores go with what a unit's activations look like, layer by layer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float64
from scipy.stats import rankdata

from polyscan.job import Job
from polyscan.maps.atlas import Association, Column
from polyscan.shards import seed

BESIDE = ("kurtosis", "sparsity")
LEAST_UNITS = 8
DRAWS = 500
ROUNDING = 1e-12  # share of the largest variance of ranks below which a resample's is none


def associations(job: Job, frame: pd.DataFrame, columns: Sequence[Column]) -> Iterator[Association]:
    """Spearman's rho of each column with kurtosis and with sparsity, with an interval over the layer's live units.

    None where fewer than 8 units have both, or one of the two is the same for all.
    """
    names = [column.name for column in columns]
    for layer, rows in frame[~frame["is_dead"]].groupby("layer", sort=False):
        for beside in (name for name in BESIDE if name in rows):
            generator = np.random.default_rng(seed(job.seed, f"rank correlation with {beside}", str(layer)))
            for name in names:
                if name == beside:
                    continue
                both = rows[[name, beside]].to_numpy(np.float64)
                both = both[np.isfinite(both).all(axis=1)]
                if len(both) < LEAST_UNITS or (both == both[0]).all(axis=0).any():
                    continue
                yield Association(str(layer), name, beside, len(both), *_interval(both, generator))


def _interval(both: Float64[np.ndarray, "n 2"], generator: np.random.Generator) -> tuple[float, float, float]:
    """Rho and the 2.5 and 97.5 % quantiles of it over resampled units.

    Ranks are taken once: those of a resample are the same ranks drawn again, but for how ties are counted.
    """
    n = len(both)
    ranks = rankdata(both, axis=0)
    # What a resample adds up is what its units have, times how often each was drawn.
    drawn = generator.integers(n, size=(DRAWS, n)) + n * np.arange(DRAWS)[:, None]
    times = np.bincount(drawn.reshape(-1), minlength=DRAWS * n).reshape(DRAWS, n)
    x, y = (ranks - ranks.mean(axis=0)).T
    sums = times @ np.stack([x, y, x * x, y * y, x * y], axis=1) / n
    variances = np.maximum(sums[:, 2:4] - sums[:, :2] ** 2, 0.0)
    spread = np.sqrt(variances.prod(axis=1))
    is_spread = spread > ROUNDING * n * n
    rho = (sums[:, 4] - sums[:, 0] * sums[:, 1])[is_spread] / spread[is_spread]
    low, high = np.quantile(rho, (0.025, 0.975))
    return float(np.corrcoef(ranks.T)[0, 1]), float(low), float(high)
