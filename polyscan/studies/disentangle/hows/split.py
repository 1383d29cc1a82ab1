"""Exact channel splits: a channel becomes A + B - R, each a part of its own weights, after Hesse et al. 2025."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64, Int64

from polyscan.errors import JobError
from polyscan.nulls.readouts import Activations
from polyscan.studies.disentangle.gathering import Whole
from polyscan.studies.disentangle.hows.vectors import LEAST_ITEMS, clusters, halves_apart, whitened
from polyscan.studies.disentangle.parts import UnitPart, Wishes
from polyscan.vision.split_layers import BOTH, FIRST, SECOND

HOW = "split"


def split(whole: Whole, moments: Activations, wishes: Wishes) -> Sequence[UnitPart]:
    """A and B of a channel that is a linear readout w . x + b of its layer's inputs.

    The exemplars' inputs are cut into two clusters. Input i gives a cluster c_i = w_i (t_i - mu_i), t the cluster's
    mean input and mu that of the layer. An input serves one part alone if it gives its cluster more than 0 and the
    other less than `shared` of that; all others serve both. With R the inputs that serve both, A + B - R is the
    channel, exactly.

    Source: Hesse et al. 2025, "Disentangling Polysemantic Channels in Convolutional Neural Networks". Departures:
    clusters of exemplars in place of two known classes; contributions above the layer's mean in place of plain ones.
    """
    if whole.readout is None:
        raise JobError(f"{whole.unit} has no readout of its layer's inputs, so it can't be split")
    items = whole.exemplars
    if len(items) < 2 * LEAST_ITEMS:
        return []
    seen = whitened(items.vectors.astype(np.float64), moments)
    labels = clusters(seen, 2, seed=wishes.seed)
    tops = np.stack([items.vectors[labels == label].mean(axis=0, dtype=np.float64) for label in (0, 1)])
    sharing = served(whole.readout.weights * (tops - moments.mean), wishes.shared)
    height = halves_apart(seen)
    return [
        UnitPart(
            whole.unit,
            HOW,
            number,
            np.where((sharing == only) | (sharing == BOTH), whole.readout.weights, 0).astype(np.float32),
            whole.readout.bias,
            items.image[labels == number],
            height,
            sharing,
        )
        for number, only in enumerate((FIRST, SECOND))
    ]


def served(contributions: Float64[np.ndarray, "2 c"], shared: float) -> Int64[np.ndarray, " c"]:
    """Which parts each input serves: FIRST or SECOND alone, or BOTH.

    >>> served(np.array([[1.0, 0.1, 1.0, -1.0], [0.2, 2.0, 0.9, -1.0]]), 0.5).tolist()
    [1, 2, 3, 3]
    """
    first, second = contributions
    only_first = (first > 0) & (second < shared * first)
    only_second = (second > 0) & (first < shared * second)
    return np.select([only_first, only_second], [FIRST, SECOND], BOTH).astype(np.int64)
