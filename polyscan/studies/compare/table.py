"""The table that the terminal shows: one line per layer."""

from __future__ import annotations

from polyscan.maps.comparison import Comparison, LayerDifference, LayerMean
from polyscan.maps.numbers import NONE, interval_text, number_text
from polyscan.studies.compare.sentences import SHARE

SHOWN = "gap"


def table_of(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """Head and rows: the mean gap of each layer in each run, then each run minus the first with its interval.

    Without a gap, the first score that all runs have is shown.
    """
    column, label = _shown(comparison)
    means = {(row.layer, row.run): row for row in comparison.means if row.column == column}
    differences = {(row.layer, row.run): row for row in comparison.differences if row.column == column}
    layers = dict.fromkeys(row.layer for row in comparison.means)
    runs = range(len(comparison.runs))
    rows = [
        [
            layer,
            *(_mean(means.get((layer, run))) for run in runs),
            *(_difference(differences.get((layer, run))) for run in runs[1:]),
        ]
        for layer in layers
    ]
    return _head(comparison, label), rows


def _shown(comparison: Comparison) -> tuple[str, str]:
    """The name and the label of the column that is shown."""
    labels = {column.name: column.label for column in comparison.columns}
    scores = [name for name in labels if not name.endswith("_share")] or [SHARE]
    column = SHOWN if SHOWN in labels else scores[0]
    return column, labels[column]


def _head(comparison: Comparison, label: str) -> list[str]:
    first, *others = [run.name for run in comparison.runs]
    units = [", units live in both" if pairing.table else "" for pairing in comparison.pairings]
    differences = [f"{name} less {first}{which}" for name, which in zip(others, units, strict=True)]
    return ["layer", *(f"{label}, {name}" for name in (first, *others)), *differences]


def _mean(mean: LayerMean | None) -> str:
    return number_text(mean.mean) if mean else NONE


def _difference(difference: LayerDifference | None) -> str:
    return interval_text(difference.mean, difference.low, difference.high) if difference else NONE
