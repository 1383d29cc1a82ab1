"""Two maps of the same units, number by number and verdict by verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool

from polyscan.stats.significance import spearman

NUMBERS = ("gap", "separation", "p", "psi", "semanticity", "clarity")
"""Columns of the map whose ranks over units are compared."""

FEWEST_UNITS = 10
"""Units of a layer whose own rho counts in the median over layers."""

ABOUT = {
    "units": "units (layer and channel) that are live in both runs",
    "rho": "Spearman's rank correlation over those of them that have the number in both; null where a side is constant",
    "verdicts": "share with the same verdict, and Cohen's kappa, among those that have a verdict in both",
    "several": "the same for one or several alone, among those judged in both; kappa is 0 for what chance gives, 1 for "
    "agreement throughout, and null where both runs give all of them the same answer",
    "overall": "over all layers: whatever layers differ in raises rho, whether or not units agree within them",
    "within_layers": f"median of the layers' own rho, over layers in which at least {FEWEST_UNITS} units have the "
    "number in both; null where there is none",
}
"""What the numbers of a comparison are, as `robustness.json` says it."""


@dataclass(frozen=True)
class RankAgreement:
    """Spearman's rho, None where there is none, and over how many units."""

    rho: float | None
    units: int


@dataclass(frozen=True)
class Agreement:
    """Share of units that are told the same, of how many; Cohen's kappa, None where all have one answer."""

    share: float | None
    kappa: float | None
    units: int


@dataclass(frozen=True)
class MapAgreement:
    """Two maps, unit by unit: see `ABOUT`."""

    units: int
    rho: dict[str, RankAgreement]
    verdicts: Agreement
    several: Agreement


def compared(base: pd.DataFrame, variant: pd.DataFrame) -> MapAgreement:
    """Two maps, matched by layer and channel, over the units that are live in both.

    Raises:
        pandas.errors.MergeError: if a unit has two rows in a map.

    >>> one = pd.DataFrame({"layer": "a", "channel": [0, 1], "is_dead": False, "gap": [0.1, 0.2]})
    >>> compared(one, one).rho["gap"]
    RankAgreement(rho=1.0, units=2)
    """
    here, there = (frame[~frame["is_dead"]] for frame in (base, variant))
    both = here.merge(there, on=["layer", "channel"], suffixes=("", "_there"), validate="one_to_one")
    verdicts, several = _verdicts(both)
    return MapAgreement(len(both), {name: _rank_correlation(both, name) for name in NUMBERS}, verdicts, several)


def within_layers(layers: Mapping[str, MapAgreement]) -> dict[str, float | None]:
    """Median over layers of their own rho, by number; None where no layer has enough units."""
    medians: dict[str, float | None] = {}
    for name in NUMBERS:
        own = (layer.rho[name] for layer in layers.values())
        rhos = [each.rho for each in own if each.rho is not None and each.units >= FEWEST_UNITS]
        medians[name] = _rounded(float(np.median(rhos))) if rhos else None
    return medians


def _rank_correlation(both: pd.DataFrame, name: str) -> RankAgreement:
    if f"{name}_there" not in both:  # one of the runs has no such number
        return RankAgreement(None, 0)
    pairs = both[[name, f"{name}_there"]].dropna().to_numpy(np.float64)
    return RankAgreement(_rounded(spearman(pairs[:, 0], pairs[:, 1])), len(pairs))


def _verdicts(both: pd.DataFrame) -> tuple[Agreement, Agreement]:
    """Of the verdicts as they are, and of one or several."""
    if "verdict_there" not in both:  # one of the runs has no null
        return Agreement(None, None, 0), Agreement(None, None, 0)
    told = both[(both["verdict"] != "") & (both["verdict_there"] != "")]
    sides = [told["verdict"], told["verdict_there"]]
    several = [_is_several(side) for side in sides]
    is_judged = np.logical_and(*(is_ | (side == "one").to_numpy() for is_, side in zip(several, sides, strict=True)))
    return (
        _agreement(*(side.to_numpy(np.str_) for side in sides)),
        _agreement(*(is_[is_judged] for is_ in several)),
    )


def _is_several(verdicts: pd.Series) -> Bool[np.ndarray, " u"]:
    return verdicts.str.startswith("several").to_numpy(np.bool_)


def _agreement(here: np.ndarray, there: np.ndarray) -> Agreement:
    """Kappa after Cohen 1960, "A coefficient of agreement for nominal scales"."""
    from sklearn.metrics import cohen_kappa_score  # noqa: PLC0415  # seconds that no other command needs

    if not len(here):
        return Agreement(None, None, 0)
    answers = np.union1d(here, there)
    # With one answer only, chance alone agrees always, and kappa is 0 / 0.
    kappa = _rounded(float(cohen_kappa_score(here, there))) if len(answers) > 1 else None
    return Agreement(_rounded(float((here == there).mean())), kappa, len(here))


def _rounded(value: float) -> float | None:
    """Six digits, so that a sum in another order is the same text; None for NaN."""
    return None if np.isnan(value) else round(float(value), 6)
