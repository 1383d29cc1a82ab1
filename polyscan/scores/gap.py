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
    """Effect size of the cut into two, and the number that the test of "one or several" rests on.

        gap = a_0 w_0 + a_1 w_1 - b

    a_c is the share of items in cluster c, w_c the mean pairwise cosine within it, b that across; two clusters by
    2-means on the unit vectors, each of a tenth of the items or more; cosines are seen from the space's mean.

    Range: [-1, 2].

    High means: the items fall into two groups that have little to do with each other.

    Blind to: by itself, whether there are two groups: every set is cut in two, and a loose set is cut deeper than a
    tight one. Its p compares it with one-exemplar sets of the same clarity.

    Source: ours. Departure: at first it was (w_0 + w_1) / 2 - b, unweighted. A split with fewer poor optima broke that:
    it finds the small clumps whose w is large by chance (docs/methods).
    """

    label: ClassVar[str] = "gap"
    tail: ClassVar[Tail] = "upper"
    evidence: ClassVar[tuple[Evidence, ...]] = ("exemplars", "visualizations")
    range: ClassVar[tuple[float, float]] = (-1.0, 2.0)

    def __call__(self, sample: Sample) -> float:
        """Gap of one unit; NaN where a cluster has no pair."""
        if len(sample) < LEAST_ITEMS:
            return math.nan
        return float(splits.gap(sample.cosines[None], sample.halves.labels)[0])
