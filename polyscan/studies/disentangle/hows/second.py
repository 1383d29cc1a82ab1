"""The readouts of the second test: of what a unit's strongest images share, and of what that leaves unexplained."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from polyscan.nulls.deflation import main_readouts
from polyscan.nulls.readouts import Activations
from polyscan.studies.disentangle.gathering import Items, Whole
from polyscan.studies.disentangle.parts import UnitPart, Wishes

HOW = "second"


def second(whole: Whole, moments: Activations, wishes: Wishes) -> Sequence[UnitPart]:
    """The main readout, and the readout of the least explained images; none if the unit has no such images.

    w = (C + lam I)^-1 (t - mu), t the mean vector at the peaks of these images; see `nulls.deflation.main_readouts`.
    Both are estimated in the layer's own vectors, also where the second test itself works in the layer's inputs.
    """
    del wishes
    if not len(whole.second):
        return []
    n = len(whole.second)
    return list(readouts_of(whole, moments, [_first(whole.exemplars, n), whole.second], HOW))


def _first(items: Items, n: int) -> Items:
    return Items(items.image[:n], items.vectors[:n])


def readouts_of(
    whole: Whole, moments: Activations, groups: Sequence[Items], how: str, separation: float = float("nan")
) -> Sequence[UnitPart]:
    """One part for each group of items: the readout that answers to what their vectors have in common.

    A group whose mean vector is the layer's own gives none.
    """
    tops = np.stack([group.vectors.mean(axis=0, dtype=np.float64) for group in groups])
    weights = main_readouts(tops, moments.mean, moments.covariance)
    is_known = np.asarray(np.isfinite(weights).all(axis=1))
    known = [(row, group.image) for row, group, is_one in zip(weights, groups, is_known, strict=True) if is_one]
    return [
        UnitPart(whole.unit, how, number, row, -float(row.astype(np.float64) @ moments.mean), images, separation)
        for number, (row, images) in enumerate(known)
    ]
