"""What each layer's virtual units show: error rate, power, and the same numbers for random directions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool

from polyscan.maps.atlas import LEAST_POWER
from polyscan.results.at_least import AtLeast, at_least
from polyscan.stats.significance import Interval, wilson_interval

LEVEL = 0.05
CONTROL, PLANTED, RANDOM = "control", "planted", "random"
"""Roles of virtual units."""


@dataclass(frozen=True)
class Rates:
    """Shares of one layer's virtual units at p <= .05; None if it has no such units.

    Args:
        fpr: share of its controls, which have one concept, that are called several.
        n_controls: number of controls with a p.
        power: share of its planted pairs that are called several.
        n_planted: number of planted pairs with a p.
        random: share of its random directions that are called several; what channels are compared with.
        n_random: number of random directions that can be judged.
    """

    fpr: Interval | None
    n_controls: int
    power: Interval | None
    n_planted: int
    random: Interval | None = None
    n_random: int = 0

    @property
    def is_weak(self) -> bool:
        """Whether fewer than half of its planted pairs are found."""
        return self.power is not None and self.power.mean < LEAST_POWER


def layer_rates(calibrated: pd.DataFrame, prefix: str = "") -> dict[str, Rates]:
    """Rates of each layer by its name, from the rows of its virtual units; one with an artefact is not called.

    Args:
        calibrated: `calibrated_rows`.
        prefix: of the test: "" for the first, `second_` for the second.
    """
    rows = calibrated[(calibrated["prefix"] == prefix) & (calibrated["score"] == "separation")]
    rows = rows[rows["p"].notna()]
    # Random directions stand beside channels, of which only those are counted that can be judged.
    rows = rows[(rows["role"] != RANDOM) | ~rows["is_invalid"]]
    is_called = (rows["p"] <= LEVEL) & ~rows["is_artefact"]
    called: dict[tuple[str, str], Bool[np.ndarray, " u"]] = {
        (str(layer), str(role)): of_layer.to_numpy(bool)
        for (layer, role), of_layer in is_called.groupby([rows["parent"], rows["role"]])
    }

    def share(layer: str, role: str) -> tuple[Interval | None, int]:
        is_hit = called.get((layer, role), np.empty(0, dtype=bool))
        return (wilson_interval(int(is_hit.sum()), len(is_hit)), len(is_hit)) if len(is_hit) else (None, 0)

    layers = dict.fromkeys(layer for layer, _ in called)
    return {layer: Rates(*share(layer, CONTROL), *share(layer, PLANTED), *share(layer, RANDOM)) for layer in layers}


@dataclass(frozen=True)
class Bounds:
    """At least how many are several, at 95 %: of the units that can be judged, and of virtual units of the same layers.

    Args:
        units: of the run's or the layer's channels; None if they have no exact p.
        controls: of single-concept controls; None if there are none.
        random: of random directions.
    """

    units: AtLeast | None
    controls: AtLeast | None
    random: AtLeast | None


def bounds(judged: pd.DataFrame, calibrated: pd.DataFrame, prefix: str = "") -> Bounds:
    """The bounds for these units and for the virtual units of their layers.

    Args:
        judged: rows of the map of units that can be judged.
        calibrated: `calibrated_rows`.
        prefix: of the test: "" for the first, `second_` for the second.
    """
    exact = {f"{prefix}{name}": name for name in ("p_exact", "n_exact")}
    if not set(exact) <= set(judged) or judged[f"{prefix}p_exact"].isna().all():
        return Bounds(None, None, None)
    judged = judged[["layer", *exact]].rename(columns=exact)
    is_of_test = (calibrated["prefix"] == prefix) & (calibrated["score"] == "separation")
    rows = calibrated[is_of_test & ~calibrated["is_invalid"]]
    rows = rows[~(rows["is_artefact"] & (rows["p"] <= LEVEL))]  # as channels, which are not judged then
    rows = rows[rows["p_exact"].notna() & rows["parent"].isin(judged["layer"].unique())]
    rows = rows.assign(layer=rows["parent"])
    of_role = {role: rows[rows["role"] == role] for role in (CONTROL, RANDOM)}
    controls, random = (at_least(frame) if len(frame) else None for frame in of_role.values())
    return Bounds(at_least(judged), controls, random)
