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
    ranks = rankdata(both, axis=0)
    drawn = ranks[generator.integers(len(both), size=(DRAWS, len(both)))]
    drawn = drawn - drawn.mean(axis=1, keepdims=True)
    x, y = drawn[..., 0], drawn[..., 1]
    spread = np.sqrt((x * x).sum(axis=1) * (y * y).sum(axis=1))
    rho = (x * y).sum(axis=1)[spread > 0] / spread[spread > 0]
    low, high = np.quantile(rho, (0.025, 0.975))
    return float(np.corrcoef(ranks.T)[0, 1]), float(low), float(high)
