"""Circuits: exemplars clustered by which inputs drive the unit on them, and the unit with those inputs alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from polyscan.errors import JobError
from polyscan.nulls.readouts import Activations
from polyscan.stats.circuit_parts import carriers, pure_parts
from polyscan.studies.disentangle.gathering import Whole
from polyscan.studies.disentangle.hows.vectors import LEAST_ITEMS
from polyscan.studies.disentangle.parts import UnitPart, Wishes

HOW = "circuit"


def circuit(whole: Whole, moments: Activations, wishes: Wishes) -> Sequence[UnitPart]:
    """A channel that is a linear readout w . x + b of its layer's inputs, purified by the circuits that drive it.

    On each exemplar, input i gives the channel w_i x_i: gradient x activation, which for one linear layer is what
    layer-wise relevance propagation gives, too. Exemplars are clustered by these vectors, each divided by its L1 norm.
    A part keeps the fewest inputs that carry the share `carried` of its cluster, and the whole's bias.

    A cluster of fewer than `LEAST_ITEMS` exemplars gives no part; a unit with one such cluster or none stays whole.

    Source: Dreyer et al. 2024, "PURE: Turning polysemantic neurons into pure features by identifying relevant
    circuits". Departure: the number of clusters is the best of 2 to 5 by silhouette.
    """
    del moments
    if whole.readout is None:
        raise JobError(f"{whole.unit} has no readout of its layer's inputs, so no circuit of it can be cut out")
    items, weights = whole.exemplars, whole.readout.weights
    driven = weights * items.vectors.astype(np.float64)
    if int((np.abs(driven).sum(axis=1) > 0).sum()) < 2 * LEAST_ITEMS:
        return []
    clusters = pure_parts(driven, generator=np.random.default_rng(wishes.seed))
    large = [
        (keep, items.image[clusters == cluster])
        for cluster, keep in carriers(driven, clusters, share=wishes.carried).items()
        if int((clusters == cluster).sum()) >= LEAST_ITEMS
    ]
    if len(large) < 2:
        return []
    return [
        UnitPart(whole.unit, HOW, number, np.where(keep, weights, 0).astype(np.float32), whole.readout.bias, images)
        for number, (keep, images) in enumerate(large)
    ]
