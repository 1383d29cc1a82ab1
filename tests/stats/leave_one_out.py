"""A calibration judged by its own null sets: the p of each against a fit that is blind to its readout."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, Shaped

from polyscan.nulls.calibration import Calibration
from polyscan.stats.significance import Tail


@dataclass(frozen=True, eq=False)
class Null:
    """A score on null sets.

    Args:
        values: the score of each set; NaN where it is not defined.
        clarity: mean pairwise cosine of each set; finite.
        groups: which readout each set is of; sets of one readout share images.
    """

    values: Float[np.ndarray, " b"]
    clarity: Float[np.ndarray, " b"]
    groups: Shaped[np.ndarray, " b"]

    def __post_init__(self) -> None:
        lengths = f"{len(self.values)}, {len(self.clarity)} and {len(self.groups)}"
        if not len(self.values) == len(self.clarity) == len(self.groups):
            raise ValueError(f"values, clarity and groups must be of one length, got {lengths}")


def leave_one_out_p(null: Null, *, tail: Tail, folds: int = 10) -> Float64[np.ndarray, " b"]:
    """The p of each null set against a calibration blind to its readout: uniform where the fit holds.

    Readouts are dealt out to `folds` in turn, or to as many as there are readouts; each fold is judged by a fit to
    the others. Sets of one readout are dependent: a test for uniformity should take one set of each.

    Raises:
        ValueError: as `Calibration.fit`, of the sets that a fold leaves; or with fewer than 2 readouts or folds.
    """
    names, group = np.unique(null.groups, return_inverse=True)
    if len(names) < 2 or folds < 2:
        raise ValueError(f"leaving readouts out needs 2 of them and 2 folds or more, got {len(names)} and {folds}")
    fold = group % folds
    p = np.full(len(group), np.nan)
    for left_out in np.unique(fold):
        is_out = fold == left_out
        calibration = Calibration.fit(null.values[~is_out], null.clarity[~is_out], tail=tail)
        p[is_out] = calibration.p(null.values[is_out], null.clarity[is_out])
    return p
