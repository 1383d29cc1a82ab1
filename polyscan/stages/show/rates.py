"""Each layer's own proof: how often its one-concept controls are called several, and its planted pairs found."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float64

from polyscan.maps.atlas import LEAST_POWER
from polyscan.stats.significance import Interval, wilson_interval

LEVEL = 0.05


@dataclass(frozen=True)
class Rates:
    """What was measured of one layer at p <= .05; None where it has no such units.

    Args:
        fpr: share of its controls, units of one concept, that are called several.
        n_controls: how many of them have a p.
        power: share of its planted pairs that are found.
        n_planted: how many of them have a p.
    """

    fpr: Interval | None
    n_controls: int
    power: Interval | None
    n_planted: int

    @property
    def is_weak(self) -> bool:
        """Whether it is known to find less than half of what is planted."""
        return self.power is not None and self.power.mean < LEAST_POWER


def layer_rates(calibrated: pd.DataFrame, score: str = "separation") -> dict[str, Rates]:
    """Rates of each layer by its name, from the main rows of its virtual units."""
    rows = calibrated[(calibrated["prefix"] == "") & (calibrated["score"] == score) & calibrated["p"].notna()]
    by_layer: dict[str, Float64[np.ndarray, " u"]] = {
        str(layer): p.to_numpy(np.float64) for layer, p in rows.groupby("layer")["p"]
    }

    def share(layer: str) -> tuple[Interval | None, int]:
        p = by_layer.get(layer, np.empty(0))
        return (wilson_interval(int((p <= LEVEL).sum()), len(p)), len(p)) if len(p) else (None, 0)

    parents = dict.fromkeys(layer.partition("@")[0] for layer in by_layer)
    return {layer: Rates(*share(f"{layer}@control"), *share(f"{layer}@planted")) for layer in parents}
