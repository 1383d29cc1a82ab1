"""Two runs whose channels correspond, unit by unit: largest changes, verdicts and ranks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, cast

import numpy as np
import pandas as pd

from polyscan.maps.atlas import MapColumn
from polyscan.maps.comparison import Changed, Rho, UnitTable, Verdicts
from polyscan.stats.significance import spearman
from polyscan.studies.compare.runs import EXCESS, SHARES, ComparedRun

MOST_SHOWN = 20
FEWEST = 10
"""Fewest units of a layer whose rho counts in the median over layers, and fewest units for an interval."""
RANKED = ("gap", "separation", "psi")
KEY = ["layer", "channel"]
_Z95 = 1.959963984540054


def unit_table(first: ComparedRun, other: ComparedRun, columns: Sequence[MapColumn]) -> UnitTable:
    """All that the page shows about single units.

    Raises:
        pandas.errors.MergeError: if a unit has two rows in a map.
    """
    all_units = first.frame.merge(other.frame, on=KEY, suffixes=("", "_there"), validate="one_to_one")
    both = all_units[~all_units["is_dead"] & ~all_units["is_dead_there"]]
    labels = {column.name: column.label for column in columns}
    names = [column.name for column in columns if column.name not in (*SHARES, *EXCESS)]
    return UnitTable(
        len(all_units),
        len(both),
        {labels[name]: list(_changed(both, name)) for name in RANKED if name in labels},
        _verdicts(all_units),
        [rho for name in names if (rho := _rho(both, name, labels[name])) is not None],
    )


def _changed(both: pd.DataFrame, name: str) -> Iterator[Changed]:
    """The units whose number changed most, ties in unit order; units that did not change are left out."""
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


def _verdicts(all_units: pd.DataFrame) -> Verdicts | None:
    """How many units of each verdict have which verdict in the other run; None if a run has no verdicts."""
    if "verdict" not in all_units or "verdict_there" not in all_units:
        return None
    first, other = (
        all_units[name].replace("", "no null").str.replace("_", " ") for name in ("verdict", "verdict_there")
    )
    verdicts = sorted(set(first) | set(other))
    counts = pd.crosstab(first, other).reindex(index=verdicts, columns=verdicts, fill_value=0)
    return Verdicts(verdicts, counts.to_numpy().tolist())


def _rho(both: pd.DataFrame, name: str, label: str) -> Rho | None:
    """Rho over all units, and its median over layers; None if no unit has the number in both runs."""
    pairs = both.dropna(subset=[name, f"{name}_there"])
    if pairs.empty:
        return None
    rho = _spearman(pairs, name)
    low, high = spearman_interval(rho, len(pairs))
    by_layer = [_spearman(rows, name) for _, rows in pairs.groupby("layer", sort=False) if len(rows) >= FEWEST]
    defined = [value for value in by_layer if not math.isnan(value)]
    return Rho(name, label, rho, low, high, len(pairs), float(np.median(defined)) if defined else math.nan)


def _spearman(pairs: pd.DataFrame, name: str) -> float:
    return spearman(pairs[name].to_numpy(np.float64), pairs[f"{name}_there"].to_numpy(np.float64))


def spearman_interval(rho: float, n: int) -> tuple[float, float]:
    """95 % interval of Spearman's rho of n pairs; NaN if rho is NaN or there are fewer than 10 pairs.

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
