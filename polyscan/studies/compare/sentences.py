"""Sentences made by rule from the differences over layers; they claim no more than the numbers support."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from polyscan.maps.atlas import MapColumn
from polyscan.maps.comparison import Differing, OverallDifference
from polyscan.maps.numbers import MINUS
from polyscan.studies.compare.means import LEAST_LAYERS
from polyscan.studies.compare.runs import ComparedRun

FINDINGS = ("gap_excess", "gap")
"""The effect size that sentences use: minus that of the controls, if all runs have controls."""
SHARE = "several_share"


def spoken_of(columns: Sequence[MapColumn]) -> list[MapColumn]:
    """The columns that sentences are made from: one effect size and one share, so that there are few tests."""
    known = {column.name: column for column in columns}
    effect = next((name for name in FINDINGS if name in known), None)
    return [known[name] for name in (effect, SHARE) if name in known]


def statement(column: MapColumn, first: str, other: str, overall: OverallDifference | None) -> str:
    """Higher, lower, or that no difference is claimed, with the numbers; n counts layers.

    Higher or lower is claimed only if the interval over layers excludes 0, and the mean keeps its sign without the
    first and the last layer and with all live units of each run.
    """
    quantity = "Share of judged units called several" if column.name == SHARE else f"Units' {column.label}"
    n = overall.n if overall else 0
    if not overall or n < LEAST_LAYERS:
        layers = "1 layer of the same name has" if n == 1 else f"{n} layers of the same name have"
        return (
            f"{quantity}: no difference between {first} and {other} is claimed, because only {layers} numbers "
            f"in both, and {LEAST_LAYERS} are needed."
        )
    numbers = (
        f"{_interval(overall)} over {n} layers; {_signed(overall.without_ends)} without the first and the last one"
    )
    if overall.is_claimed:
        direction = "higher" if overall.mean > 0 else "lower"
        return f"{quantity}: {direction} in {other} than in {first} by {abs(overall.mean):.3g} on average ({numbers})."
    mean = f"mean difference {_signed(overall.mean)}, "
    return f"{quantity}: no difference between {first} and {other} is claimed ({mean}{numbers}{_reason(overall)})."


def _interval(overall: OverallDifference) -> str:
    return f"95 % interval {_signed(overall.low)} to {_signed(overall.high)}"


def _signed(number: float) -> str:
    return f"{number:+.3g}".replace("-", MINUS) if number else "0"


def _reason(overall: OverallDifference) -> str:
    """Why a difference whose interval excludes 0 is not claimed; empty if the interval includes 0."""
    if not (overall.low > 0 or overall.high < 0):
        return ""
    if overall.without_ends * overall.mean <= 0:
        return ", which differs in sign"
    return f"; {_signed(overall.own_units)} with all live units of each run, which differs in sign"


def warnings(rows: Sequence[Differing]) -> Iterator[str]:
    """What puts the numbers of the runs on different scales."""
    spoiled = list(dict.fromkeys(row.spoils for row in rows if row.spoils))
    if spoiled:
        names = spoiled[0] if len(spoiled) == 1 else f"{', '.join(spoiled[:-1])} and {spoiled[-1]}"
        yield f"The runs' {names} differ: their numbers are not on one scale, and differences may come from that alone."


def notes(runs: Sequence[ComparedRun], columns: Sequence[MapColumn]) -> Iterator[str]:
    """What a reader of the page must know."""
    names = {column.name for column in columns}
    yield from _note_on_spaces(runs)
    yield from _note_on_missing_columns(runs, names)
    if SHARE in names:
        yield (
            "A layer with fewer units called several may hold fewer of them, or have less power to find them: the page "
            "of each run shows the power of its layers."
        )
    yield (
        "Intervals of layers resample their units, which all see the same images; where units are compared one by one, "
        "0 to 0 means that no unit changed. Intervals over layers are Student's. Many numbers are shown: without any "
        "difference, one interval in twenty excludes 0. Sentences are made only from one effect size and one share "
        "for each run."
    )


def _note_on_spaces(runs: Sequence[ComparedRun]) -> Iterator[str]:
    """If networks differ and evidence is compared in their features."""
    n_own = sum(space != "image" for run in runs for space in run.spaces.values())
    if n_own and any(before.digest != after.digest for before, after in pairwise(runs)):
        n = sum(len(run.spaces) for run in runs)
        yield (
            f"In {n_own} of {n} layers, all runs together, evidence is compared in the network's own features. Each "
            "network has another feature space, so the size of a score is comparable only as far as these spaces are "
            "alike; numbers relative to the null or the controls of a layer (p, q, called several, less controls) are "
            "affected less."
        )


def _note_on_missing_columns(runs: Sequence[ComparedRun], common: set[str]) -> Iterator[str]:
    """If some runs have columns that others lack."""
    missing = {run.name: [column.label for column in run.columns if column.name not in common] for run in runs}
    left_out = [f"{name}: {', '.join(labels)}" for name, labels in missing.items() if labels]
    if left_out:
        yield f"Left out, because not all runs have it ({'; '.join(left_out)})."
