"""The table that the terminal shows: a line a layer."""

from __future__ import annotations

from polyscan.maps.comparison import Comparison, LayerDifference, LayerMean
from polyscan.maps.numbers import NONE, interval_text, number_text
from polyscan.studies.compare.sentences import SHARE

SHOWN = "gap"


def table_of(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """Head and rows: each layer's mean gap, run by run, then each run less the first one with its interval.

    Without a gap it is the first score that all runs have.
    """
    names = [column.name for column in comparison.columns]
    scores = [name for name in names if not name.endswith("_share")] or [SHARE]
    column = SHOWN if SHOWN in names else scores[0]
    label = next(each.label for each in comparison.columns if each.name == column)
    first, *others = [run.name for run in comparison.runs]
    means = {(row.layer, row.run): row for row in comparison.means if row.column == column}
    differences = {(row.layer, row.run): row for row in comparison.differences if row.column == column}
    layers = dict.fromkeys(row.layer for row in comparison.means)
    runs = range(len(comparison.runs))
    over = [", units live in both" if pairing.table else "" for pairing in comparison.pairings]
    less = [f"{name} less {first}{which}" for name, which in zip(others, over, strict=True)]
    head = ["layer", *(f"{label}, {name}" for name in (first, *others)), *less]
    rows = [
        [
            layer,
            *(_mean(means.get((layer, run))) for run in runs),
            *(_difference(differences.get((layer, run))) for run in runs[1:]),
        ]
        for layer in layers
    ]
    return head, rows


def _mean(found: LayerMean | None) -> str:
    return number_text(found.mean) if found else NONE


def _difference(found: LayerDifference | None) -> str:
    return interval_text(found.mean, found.low, found.high) if found else NONE
