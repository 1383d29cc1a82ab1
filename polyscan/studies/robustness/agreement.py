"""Agreement of two maps of the same units: ranks of their numbers, and verdicts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from polyscan.results.tiers import is_called, is_judged
from polyscan.stats.significance import spearman

NUMBERS = ("gap", "separation", "p", "psi", "semanticity", "clarity")
"""Columns of the map whose ranks over units are compared."""

FEWEST_UNITS = 10
"""A layer with fewer units does not count in the median of rho over layers."""

ABOUT = {
    "units": "units (layer and channel) that are live in both runs",
    "rho": "Spearman's rank correlation over live units that have the number in both runs; null if constant in one",
    "verdicts": "share with the same verdict, and Cohen's kappa, among units that have a verdict in both runs",
    "several": "the same for called several against not, among units that are judged in both runs; kappa is 0 for "
    "agreement by chance, 1 for full agreement, and null if both runs give every unit the same answer",
    "overall": "over all layers: differences between layers raise rho, whether or not units agree within them",
    "within_layers": f"median over layers of rho within the layer, over layers in which at least {FEWEST_UNITS} units "
    "have the number in both runs; null if there is no such layer",
}
"""What the numbers of a comparison mean; written into `robustness.json`."""


@dataclass(frozen=True)
class RankAgreement:
    """Spearman's rho and the number of units; None if rho is undefined."""

    rho: float | None
    units: int


@dataclass(frozen=True)
class Agreement:
    """Share of units with the same answer, Cohen's kappa (None if all have one answer), and the number of units."""

    share: float | None
    kappa: float | None
    units: int


@dataclass(frozen=True)
class MapAgreement:
    """How far two maps agree; see `ABOUT`."""

    units: int
    rho: dict[str, RankAgreement]
    verdicts: Agreement
    several: Agreement


def compared(base: pd.DataFrame, variant: pd.DataFrame) -> MapAgreement:
    """How far two maps agree, over the units that are live in both, matched by layer and channel.

    Raises:
        pandas.errors.MergeError: if a unit has two rows in a map.

    >>> one = pd.DataFrame({"layer": "a", "channel": [0, 1], "is_dead": False, "gap": [0.1, 0.2]})
    >>> compared(one, one).rho["gap"]
    RankAgreement(rho=1.0, units=2)
    """
    base_live, variant_live = (frame[~frame["is_dead"]] for frame in (base, variant))
    both = base_live.merge(variant_live, on=["layer", "channel"], suffixes=("", "_there"), validate="one_to_one")
    verdicts, several = _verdicts(both)
    return MapAgreement(len(both), {name: _rank_correlation(both, name) for name in NUMBERS}, verdicts, several)


def within_layers(layers: Mapping[str, MapAgreement]) -> dict[str, float | None]:
    """For each number, the median over layers of rho within the layer; None if no layer has enough units."""
    medians: dict[str, float | None] = {}
    for name in NUMBERS:
        by_layer = [layer.rho[name] for layer in layers.values()]
        rhos = [rank.rho for rank in by_layer if rank.rho is not None and rank.units >= FEWEST_UNITS]
        medians[name] = _rounded(float(np.median(rhos))) if rhos else None
    return medians


def _rank_correlation(both: pd.DataFrame, name: str) -> RankAgreement:
    if f"{name}_there" not in both:  # one of the runs does not have this number
        return RankAgreement(None, 0)
    pairs = both[[name, f"{name}_there"]].dropna().to_numpy(np.float64)
    return RankAgreement(_rounded(spearman(pairs[:, 0], pairs[:, 1])), len(pairs))


def _verdicts(both: pd.DataFrame) -> tuple[Agreement, Agreement]:
    """Agreement of the verdicts as they are, and of several against all other judged units."""
    if "verdict_there" not in both:  # one of the runs has no null
        return Agreement(None, None, 0), Agreement(None, None, 0)
    with_both = both[(both["verdict"] != "") & (both["verdict_there"] != "")]
    base, variant = with_both["verdict"], with_both["verdict_there"]
    in_both = (is_judged(base) & is_judged(variant)).to_numpy(np.bool_)
    base_several, variant_several = (is_called(words).to_numpy(np.bool_)[in_both] for words in (base, variant))
    return _agreement(base.to_numpy(np.str_), variant.to_numpy(np.str_)), _agreement(base_several, variant_several)


def _agreement(base: np.ndarray, variant: np.ndarray) -> Agreement:
    """Share of equal answers and kappa, after Cohen 1960, "A coefficient of agreement for nominal scales"."""
    from sklearn.metrics import cohen_kappa_score  # noqa: PLC0415  # seconds that no other command needs

    if not len(base):
        return Agreement(None, None, 0)
    answers = np.union1d(base, variant)
    # With one answer only, agreement by chance is certain, and kappa is 0 / 0.
    kappa = _rounded(float(cohen_kappa_score(base, variant))) if len(answers) > 1 else None
    return Agreement(_rounded(float((base == variant).mean())), kappa, len(base))


def _rounded(value: float) -> float | None:
    """Rounded to six digits, so that a sum in another order gives the same text; None for NaN."""
    return None if np.isnan(value) else round(float(value), 6)
