"""Two runs whose channels correspond, unit by unit: what changed most, verdicts, and ranks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, cast

import numpy as np
import pandas as pd
from jaxtyping import Float64

from polyscan.maps.atlas import MapColumn
from polyscan.maps.comparison import Changed, Rho, UnitTable, Verdicts
from polyscan.stats.significance import spearman
from polyscan.studies.compare.runs import EXCESS, SHARES, ComparedRun

MOST_SHOWN = 20
FEWEST = 10
"""Units of a layer whose own rho counts in the median over layers; fewest for an interval, too."""
RANKED = ("gap", "separation", "psi")
KEY = ["layer", "channel"]
_Z95 = 1.959963984540054


def unit_table(first: ComparedRun, other: ComparedRun, columns: Sequence[MapColumn]) -> UnitTable:
    """Everything that is told of single units.

    Raises:
        pandas.errors.MergeError: if a unit has two rows in a map.
    """
    every = first.frame.merge(other.frame, on=KEY, suffixes=("", "_there"), validate="one_to_one")
    both = every[~every["is_dead"] & ~every["is_dead_there"]]
    labels = {column.name: column.label for column in columns}
    names = [column.name for column in columns if column.name not in (*SHARES, *EXCESS)]
    return UnitTable(
        len(every),
        len(both),
        {labels[name]: list(_changed(both, name)) for name in RANKED if name in labels},
        _verdicts(every),
        [rho for name in names if (rho := _rho(both, name, labels[name])) is not None],
    )


def _changed(both: pd.DataFrame, name: str) -> Iterator[Changed]:
    """Units whose number changed most, ties in unit order; those that did not change are left out."""
    change = (both[f"{name}_there"] - both[name]).to_numpy(np.float64)
    sizes = np.abs(change)
    known = np.flatnonzero(np.isfinite(sizes) & (sizes > 0))
    for at in known[np.argsort(-sizes[known], kind="stable")][:MOST_SHOWN]:
        row = cast("Any", both.iloc[int(at)])

        def pair(column: str, row: Any = row) -> tuple[float, float]:
            return float(row.get(column, math.nan)), float(row.get(f"{column}_there", math.nan))

        verdict = str(row.get("verdict", "")), str(row.get("verdict_there", ""))
        unit = f"{row['layer']}:{row['channel']}"
        yield Changed(unit, pair(name), float(change[at]), pair("p"), pair("q"), verdict)


def _verdicts(every: pd.DataFrame) -> Verdicts | None:
    """How many units of each verdict have which one in the other run; None where one run has none."""
    if "verdict" not in every or "verdict_there" not in every:
        return None
    here, there = (every[name].replace("", "no null").str.replace("_", " ") for name in ("verdict", "verdict_there"))
    words = sorted(set(here) | set(there))
    counts = pd.crosstab(here, there).reindex(index=words, columns=words, fill_value=0)
    return Verdicts(words, counts.to_numpy().tolist())


def _rho(both: pd.DataFrame, name: str, label: str) -> Rho | None:
    """Over all units, and the median of the layers' own; None where no unit has the number in both."""
    pairs = both.dropna(subset=[name, f"{name}_there"])
    if pairs.empty:
        return None
    rho = _of(pairs, name)
    low, high = spearman_interval(rho, len(pairs))
    own = [_of(rows, name) for _, rows in pairs.groupby("layer", sort=False) if len(rows) >= FEWEST]
    own = [each for each in own if not math.isnan(each)]
    return Rho(name, label, rho, low, high, len(pairs), float(np.median(own)) if own else math.nan)


def _of(pairs: pd.DataFrame, name: str) -> float:
    sides: list[Float64[np.ndarray, " u"]] = [pairs[each].to_numpy(np.float64) for each in (name, f"{name}_there")]
    return spearman(sides[0], sides[1])


def spearman_interval(rho: float, n: int) -> tuple[float, float]:
    """95 % interval of Spearman's rho of n pairs; NaN where there is no rho, or fewer than 10 pairs.

    tanh(atanh(rho) -+ 1.96 sqrt((1 + rho^2 / 2) / (n - 3)))

    Source: Bonett & Wright 2000, "Sample size requirements for estimating Pearson, Kendall and Spearman correlations".

    >>> [round(end, 3) for end in spearman_interval(0.5, 103)]
    [0.329, 0.639]
    """
    if math.isnan(rho) or n < FEWEST:
        return math.nan, math.nan
    if abs(rho) >= 1 - 1e-12:
        return rho, rho
    half = _Z95 * math.sqrt((1 + rho**2 / 2) / (n - 3))
    return math.tanh(math.atanh(rho) - half), math.tanh(math.atanh(rho) + half)
