"""Error rate and power of each layer: shares of its single-concept controls and planted pairs called several."""

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
    """Error rate and power of one layer at p <= .05; None if it has no such units.

    Args:
        fpr: share of its controls, which have one concept, that are called several.
        n_controls: number of controls with a p.
        power: share of its planted pairs that are called several.
        n_planted: number of planted pairs with a p.
    """

    fpr: Interval | None
    n_controls: int
    power: Interval | None
    n_planted: int

    @property
    def is_weak(self) -> bool:
        """Whether fewer than half of its planted pairs are found."""
        return self.power is not None and self.power.mean < LEAST_POWER


def layer_rates(calibrated: pd.DataFrame, score: str = "separation") -> dict[str, Rates]:
    """Rates of each layer by its name, from the main rows of its virtual units."""
    rows = calibrated[calibrated["is_main"] & (calibrated["score"] == score) & calibrated["p"].notna()]
    p_values: dict[tuple[str, str], Float64[np.ndarray, " u"]] = {
        (str(layer), str(role)): p.to_numpy(np.float64) for (layer, role), p in rows.groupby(["parent", "role"])["p"]
    }

    def share(layer: str, role: str) -> tuple[Interval | None, int]:
        p = p_values.get((layer, role), np.empty(0))
        return (wilson_interval(int((p <= LEVEL).sum()), len(p)), len(p)) if len(p) else (None, 0)

    layers = dict.fromkeys(layer for layer, _ in p_values)
    return {layer: Rates(*share(layer, "control"), *share(layer, "planted")) for layer in layers}
