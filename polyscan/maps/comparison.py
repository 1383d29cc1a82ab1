"""The contents of a comparison of runs, as the page shows them, and the same numbers as JSON and CSV."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from polyscan.maps.atlas import MapColumn
from polyscan.maps.depth_trend import as_text
from polyscan.maps.templating import known

FIELDS = (
    *("kind", "run", "column", "layer", "place", "n", "mean", "low", "high"),
    *("is_paired", "in_sd", "without_ends", "own_units", "is_claimed"),
)


@dataclass(frozen=True)
class RunFacts:
    """Texts and numbers that describe one run. All other runs are compared with the first one."""

    name: str
    address: str
    network: str
    weights: str
    digest: str
    images: str
    embedder: str
    n_layers: int
    n_units: int
    n_dead: int


@dataclass(frozen=True)
class Differing:
    """An input or setting that differs between runs, with its values; `spoils` names what it makes incomparable."""

    name: str
    values: Sequence[str]
    spoils: str


@dataclass(frozen=True)
class LayerMean:
    """A column's mean over one layer of one run, with its 95 % interval; `place` is 0 at the input, 1 at the output."""

    run: int
    column: str
    layer: str
    depth: int
    place: float
    n: int
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class NetworkMean:
    """Mean of the means of `n` layers; its interval resamples units within their layers."""

    run: int
    column: str
    n: int
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class LayerDifference:
    """A run minus the first one in a layer of both; `in_sd` is in standard deviations of all runs' units, or NaN."""

    run: int
    column: str
    layer: str
    n: int
    mean: float
    low: float
    high: float
    is_paired: bool
    in_sd: float


@dataclass(frozen=True)
class OverallDifference:
    """Mean of the differences of `n` layers with its interval over layers, and what else a claim requires."""

    run: int
    column: str
    n: int
    mean: float
    low: float
    high: float
    without_ends: float
    own_units: float
    is_claimed: bool


@dataclass(frozen=True)
class Changed:
    """One unit in the first and in the other run."""

    unit: str
    values: tuple[float, float]
    change: float
    p: tuple[float, float]
    q: tuple[float, float]
    verdicts: tuple[str, str]


@dataclass(frozen=True)
class Verdicts:
    """Number of units by verdict in the first run (row) and in the other run (column)."""

    words: Sequence[str]
    counts: Sequence[Sequence[int]]


@dataclass(frozen=True)
class Rho:
    """Spearman's rho of a column over `n` units of both runs; `within` is the median of the rhos of single layers."""

    column: str
    label: str
    rho: float
    low: float
    high: float
    n: int
    within: float


@dataclass(frozen=True)
class UnitTable:
    """Units of both runs, matched by channel; `n_live` are live in both. `changed` is by label of a column."""

    n: int
    n_live: int
    changed: Mapping[str, Sequence[Changed]]
    verdicts: Verdicts | None
    rhos: Sequence[Rho]


@dataclass(frozen=True)
class Pairing:
    """Whether a run's units are compared one by one with those of the first run, why, and the result."""

    run: int
    why: str
    table: UnitTable | None


@dataclass(frozen=True)
class Comparison:
    """Everything that a comparison folder shows.

    Args:
        title: title of the page.
        runs: the runs in the order in which the user named them.
        statements: sentences made from the numbers by fixed rules.
        warnings: what puts the numbers of the runs on different scales; empty if nothing does.
        differing: every input and setting that is not the same in all runs.
        columns: the columns that are compared.
        layers: names of the layers in forward order, if they are the same in all runs; else empty.
        means: means by layer.
        network: means over layers.
        differences: differences by layer.
        overall: differences over layers.
        pairings: one for each run but the first.
        metrics: numbers that the user gives, one per run, by name; the first one is shown first.
        notes: what readers of the page must know.
        seed: seed of all draws.
        draws: number of bootstrap samples of each interval.
    """

    title: str
    runs: Sequence[RunFacts]
    statements: Sequence[str]
    warnings: Sequence[str]
    differing: Sequence[Differing]
    columns: Sequence[MapColumn]
    layers: Sequence[str]
    means: Sequence[LayerMean]
    network: Sequence[NetworkMean]
    differences: Sequence[LayerDifference]
    overall: Sequence[OverallDifference]
    pairings: Sequence[Pairing]
    metrics: Mapping[str, Sequence[float]]
    notes: Sequence[str]
    seed: int
    draws: int


def comparison_json(comparison: Comparison) -> bytes:
    """All numbers in full, null for missing ones; a run is given as its index in `runs`, 0 for the first."""
    return (json.dumps(known(asdict(comparison)), indent=1, allow_nan=False) + "\n").encode()


def comparison_csv(comparison: Comparison) -> bytes:
    """All means and differences, one line each, with the name of the run; `kind` says what the line holds."""
    text = io.StringIO()
    writer = csv.DictWriter(text, FIELDS, lineterminator="\n")
    writer.writeheader()
    for kind, rows in (
        ("layer mean", comparison.means),
        ("network mean", comparison.network),
        ("layer difference", comparison.differences),
        ("overall difference", comparison.overall),
    ):
        for row in rows:
            fields = {name: _field(value) for name, value in asdict(row).items() if name in FIELDS}
            writer.writerow({**fields, "kind": kind, "run": as_text(comparison.runs[row.run].name)})
    return text.getvalue().encode()


def _field(value: Any) -> str:
    """A number in full, an empty field for NaN, or a text that is no formula."""
    if isinstance(value, str):
        return as_text(value)
    return repr(value) if not isinstance(value, float) or math.isfinite(value) else ""
