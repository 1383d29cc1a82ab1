"""Runs side by side: what the pages are drawn from, and the same numbers as JSON and CSV."""

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
    """One run in words. The first one is what the others are compared with."""

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
    """An input or a setting that is not the same in all runs: its value in each; `spoils` is what differs by it."""

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
    """Mean of `n` layers' means; units were drawn again within their layers."""

    run: int
    column: str
    n: int
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class LayerDifference:
    """A run less the first one in a layer of both; `in_sd` in standard deviations of all runs' units, NaN for none."""

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
    """Mean of `n` layers' differences with its interval over layers, and what a claim hangs on beside it."""

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
    """One unit before and after."""

    unit: str
    values: tuple[float, float]
    change: float
    p: tuple[float, float]
    q: tuple[float, float]
    verdicts: tuple[str, str]


@dataclass(frozen=True)
class Verdicts:
    """How many units of each word (row, first run) have which one (column) in the other run."""

    words: Sequence[str]
    counts: Sequence[Sequence[int]]


@dataclass(frozen=True)
class Rho:
    """Spearman's rho of a column, unit by unit, of `n`; `within` is the median of the layers' own."""

    column: str
    label: str
    rho: float
    low: float
    high: float
    n: int
    within: float


@dataclass(frozen=True)
class UnitTable:
    """Units of both runs, by channel; `n_live` are live in both. `changed` by the label of a column."""

    n: int
    n_live: int
    changed: Mapping[str, Sequence[Changed]]
    verdicts: Verdicts | None
    rhos: Sequence[Rho]


@dataclass(frozen=True)
class Pairing:
    """Whether a run's units are compared with the first one's one by one, why, and what came of it."""

    run: int
    why: str
    table: UnitTable | None


@dataclass(frozen=True)
class Comparison:
    """Everything that a comparison folder shows.

    Args:
        title: of the page.
        runs: in the order in which they were given.
        statements: made by rule from the numbers.
        warnings: what makes the numbers stand on different scales; empty where nothing does.
        differing: every input and setting that is not the same in all runs.
        columns: what is compared.
        layers: names of the layers of all runs in forward order, where they are the same in all; else empty.
        means: by layer.
        network: over layers.
        differences: by layer.
        overall: over layers.
        pairings: one for each run but the first.
        metrics: what the user knows of the runs: one number a run, by name; the first one is shown first.
        notes: what must be known to read the page.
        seed: of all draws.
        draws: bootstrap samples of each interval.
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
    """All numbers in full, null where there is none; runs by their place in `runs`, 0 for the first."""
    return (json.dumps(known(asdict(comparison)), indent=1, allow_nan=False) + "\n").encode()


def comparison_csv(comparison: Comparison) -> bytes:
    """All means and differences, one line each; `kind` says which, runs are named."""
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
            values = asdict(row)
            words = {name: _field(value) for name, value in values.items() if name in FIELDS}
            writer.writerow({**words, "kind": kind, "run": as_text(comparison.runs[row.run].name)})
    return text.getvalue().encode()


def _field(value: Any) -> str:
    """A number in full, an empty field for none, and no formula."""
    if isinstance(value, str):
        return as_text(value)
    return repr(value) if not isinstance(value, float) or math.isfinite(value) else ""
