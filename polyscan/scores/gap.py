"""Gap: how much closer a unit's exemplars are within two clusters than across them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from polyscan.scores.sample import LEAST_ITEMS, Evidence, Sample
from polyscan.stats import splits
from polyscan.stats.significance import Tail


@dataclass(frozen=True)
class Gap:
    """How much more alike items are within their two clusters than across them.

        gap = a_0 w_0 + a_1 w_1 - b

    a_c is the share of items in cluster c, w_c the mean pairwise cosine within it, b that across the two. The
    clusters are those of 2-means on the unit vectors, each with at least a tenth of the items; cosines are taken from
    the space's mean.

    Range: [-1, 2].

    High means: the items fall into two groups that have little to do with each other.

    Blind to: whether there are two groups at all: every set is cut in two, and a loose set has a larger gap than a
    tight one. Its p compares it with single-concept sets of the same clarity.

    Source: ours. Departure from our first version, (w_0 + w_1) / 2 - b: without weights, a split with fewer poor optima
    finds small clumps whose w is large by chance (docs/methods).
    """

    label: ClassVar[str] = "gap"
    tail: ClassVar[Tail] = "upper"
    evidence: ClassVar[tuple[Evidence, ...]] = ("exemplars", "deflated", "visualizations")
    range: ClassVar[tuple[float, float]] = (-1.0, 2.0)

    def __call__(self, sample: Sample) -> float:
        """Gap of one unit; NaN if a cluster has no pair."""
        if len(sample) < LEAST_ITEMS:
            return math.nan
        return float(splits.gap(sample.cosines[None], sample.halves.labels)[0])
