"""The share of units with p <= .05 beside that of single-concept controls: what a run finds beyond its error rate."""

from __future__ import annotations

from collections.abc import Iterator

from polyscan.maps.comparison import Comparison
from polyscan.maps.numbers import MINUS, NONE, share_text

SHARE, EXCESS, OVER_RANDOM = "p05_share", "p05_excess", "p05_over_random"


def found_beyond_controls(comparison: Comparison) -> Iterator[str]:
    """A sentence for each run: the mean over layers of both shares, and the difference with its interval."""
    means = {(row.run, row.column): row for row in comparison.network}
    for place, run in enumerate(comparison.runs):
        share, excess = means.get((place, SHARE)), means.get((place, EXCESS))
        if share is None:
            yield f"{run.name}: no unit has a p."
            continue
        text = f"{run.name}: {share_text(share.mean)} of units have p <= .05 (mean of {share.n} layers"
        if excess is None:
            yield f"{text}); there are no controls to compare with."
            continue
        controls = share_text(share.mean - excess.mean)
        yield (
            f"{text}), against {controls} of single-concept controls: {_signed(excess.mean)} beyond them (95 % "
            f"interval {_signed(excess.low)} to {_signed(excess.high)}); {run.n_dead:,} of {run.n_units:,} "
            "units are dead."
        )


def _signed(share: float) -> str:
    return f"{share:+.2f}".replace("-", MINUS)


def beyond_controls_table(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """Head and rows: of each layer both shares in each run, and the change of their difference from the first run."""
    means = {(row.layer, row.run, row.column): row for row in comparison.means}
    changes = {(row.layer, row.run): row for row in comparison.differences if row.column == EXCESS}
    runs = range(len(comparison.runs))
    first, *others = [run.name for run in comparison.runs]
    columns = [column for column in (SHARE, EXCESS, OVER_RANDOM) if any(key[2] == column for key in means)]
    labels = {SHARE: "p <= .05", EXCESS: "controls", OVER_RANDOM: "random directions"}

    def cell(layer: str, run: int, column: str) -> str:
        share, row = means.get((layer, run, SHARE)), means.get((layer, run, column))
        if share is None or row is None:
            return NONE
        return share_text(share.mean if column == SHARE else share.mean - row.mean)

    def change(layer: str, run: int) -> str:
        row = changes.get((layer, run))
        return f"{_signed(row.mean)} [{_signed(row.low)}, {_signed(row.high)}]" if row else NONE

    head = ["layer", *(f"{labels[column]}, {run.name}" for run in comparison.runs for column in columns)]
    head += [f"less controls, {name} less {first}" for name in others]
    rows = [
        [
            layer,
            *(cell(layer, run, column) for run in runs for column in columns),
            *(change(layer, run) for run in runs[1:]),
        ]
        for layer in dict.fromkeys(row.layer for row in comparison.means)
    ]
    return head, rows
