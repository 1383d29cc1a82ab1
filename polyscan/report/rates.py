"""Error rate and power of each layer: shares of its single-concept controls and planted pairs called several."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool

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
    """Rates of each layer by its name, from the main rows of its virtual units; one with an artefact is not called."""
    rows = calibrated[calibrated["is_main"] & (calibrated["score"] == score) & calibrated["p"].notna()]
    is_called = (rows["p"] <= LEVEL) & ~rows["is_artefact"]
    called: dict[tuple[str, str], Bool[np.ndarray, " u"]] = {
        (str(layer), str(role)): of_layer.to_numpy(bool)
        for (layer, role), of_layer in is_called.groupby([rows["parent"], rows["role"]])
    }

    def share(layer: str, role: str) -> tuple[Interval | None, int]:
        is_hit = called.get((layer, role), np.empty(0, dtype=bool))
        return (wilson_interval(int(is_hit.sum()), len(is_hit)), len(is_hit)) if len(is_hit) else (None, 0)

    layers = dict.fromkeys(layer for layer, _ in called)
    return {layer: Rates(*share(layer, "control"), *share(layer, "planted")) for layer in layers}
