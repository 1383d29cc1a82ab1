"""Sentences made by rule from the differences over layers: what they support, and no more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from polyscan.maps.atlas import MapColumn
from polyscan.maps.comparison import Differing, OverallDifference
from polyscan.maps.numbers import MINUS
from polyscan.studies.compare.means import LEAST_LAYERS
from polyscan.studies.compare.runs import ComparedRun

FINDINGS = ("gap_excess", "gap")
"""The effect size that is spoken of: less that of controls, where all runs have them."""
SHARE = "several_share"


def spoken_of(columns: Sequence[MapColumn]) -> list[MapColumn]:
    """The columns that sentences are made of: one effect size and one share, so that few tests are made."""
    known = {column.name: column for column in columns}
    effect = next((name for name in FINDINGS if name in known), None)
    return [known[name] for name in (effect, SHARE) if name in known]


def statement(column: MapColumn, first: str, other: str, found: OverallDifference | None) -> str:
    """More, less, or that no difference is claimed, with its numbers; n is layers.

    More or less only if the interval over layers excludes 0, and the mean has the same sign without the first and the
    last layer and with each run's own live units.
    """
    what = "Share of judged units called several" if column.name == SHARE else f"Units' {column.label}"
    n = found.n if found else 0
    if not found or n < LEAST_LAYERS:
        layers = "1 layer has" if n == 1 else f"{n} layers have"
        return (
            f"{what}: no difference between {first} and {other} is claimed, for {layers} numbers and the same name in "
            f"both, and {LEAST_LAYERS} are needed."
        )
    numbers = f"{_interval(found)} over {n} layers; {_signed(found.without_ends)} without the first and the last one"
    if found.is_claimed:
        way = "more" if found.mean > 0 else "less"
        return f"{what}: {way} in {other} than in {first} by {abs(found.mean):.3g} on average ({numbers})."
    mean = f"mean difference {_signed(found.mean)}, "
    return f"{what}: no difference between {first} and {other} is claimed ({mean}{numbers}{_reason(found)})."


def _interval(found: OverallDifference) -> str:
    return f"95 % interval {_signed(found.low)} to {_signed(found.high)}"


def _signed(number: float) -> str:
    return f"{number:+.3g}".replace("-", MINUS) if number else "0"


def _reason(found: OverallDifference) -> str:
    """Why a difference whose interval excludes 0 is not claimed; empty where the interval is why."""
    if not (found.low > 0 or found.high < 0):
        return ""
    if found.without_ends * found.mean <= 0:
        return ", which is not the same sign"
    return f"; {_signed(found.own_units)} with each run's own live units, which is not the same sign"


def warnings(rows: Sequence[Differing]) -> Iterator[str]:
    """What makes numbers of the runs stand on different scales."""
    spoiled = list(dict.fromkeys(row.spoils for row in rows if row.spoils))
    if spoiled:
        words = spoiled[0] if len(spoiled) == 1 else f"{', '.join(spoiled[:-1])} and {spoiled[-1]}"
        yield f"The runs' {words} differ: their numbers are not of one scale, and differences may come from that alone."


def notes(sides: Sequence[ComparedRun], columns: Sequence[MapColumn]) -> Iterator[str]:
    """What must be known to read the page."""
    own = sum(space != "image" for side in sides for space in side.spaces.values())
    if own and any(before.digest != after.digest for before, after in pairwise(sides)):
        n = sum(len(side.spaces) for side in sides)
        yield (
            f"In {own} of {n} layers, all runs together, evidence is compared in the network's own features. These are "
            "another space in every network, so a score's size is comparable only as far as those spaces are alike; "
            "what is counted against each layer's own null (p, q, called several, less controls) suffers less."
        )
    names = {column.name for column in columns}
    left_out = {side.name: [column.label for column in side.columns if column.name not in names] for side in sides}
    only = [f"{name}: {', '.join(labels)}" for name, labels in left_out.items() if labels]
    if only:
        yield f"Left out, for not all runs have it ({'; '.join(only)})."
    if "several_share" in names:
        yield (
            "A layer in which fewer units are called several may have fewer, or less power to find them: each run's "
            "own page shows the power of its layers."
        )
    yield (
        "Intervals of layers resample their units, which share all images; where units are compared one by one, 0 to 0 "
        "means that none of them changed. Intervals over layers are Student's. Many "
        "numbers are shown: of those with no difference, one in twenty has an interval that excludes 0. Sentences are "
        "made of one effect size and one share for each run alone."
    )
