"""Silhouette: how well a unit's exemplars fall into their best 2 to 5 clusters."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from polyscan.scores.sample import LEAST_ITEMS, Evidence, Sample
from polyscan.stats.significance import Tail


@dataclass(frozen=True)
class Silhouette:
    """Mean cosine silhouette at the best number of clusters.

        s_i = (b_i - a_i) / max(a_i, b_i)

    a_i is the mean distance (1 - cosine, taken from the space's mean) to the item's own cluster, b_i to the nearest
    other one. There are 2 to 5 clusters: 3 if their mean silhouette is above 1.02 times that of 2, then one more at a
    time while it is above 1.12 times the last. Each of two clusters has at least .1 of the items, each of three or more
    at least .15.

    Range: [-1, 1].

    High means: clear clusters. `silhouette_k` is their number, at least 2: it does not tell whether there is more than
    one.

    Blind to: whether there is more than one cluster, as `gap` is: any set has a best split.

    Source: Rousseeuw 1987; the part S of PSI (Gupta & Kumar 2025, arXiv 2508.16950) as we understand it.
    """

    label: ClassVar[str] = "silhouette"
    tail: ClassVar[Tail] = "upper"
    evidence: ClassVar[tuple[Evidence, ...]] = ("exemplars", "visualizations")
    range: ClassVar[tuple[float, float]] = (-1.0, 1.0)

    def __call__(self, sample: Sample) -> float:
        """Silhouette of one unit; NaN for fewer than 2 items."""
        return float(sample.best_split.silhouette[0]) if len(sample) >= LEAST_ITEMS else math.nan

    def parts(self, sample: Sample) -> dict[str, float]:
        """The number of clusters."""
        return {"k": float(sample.best_split.k[0]) if len(sample) >= LEAST_ITEMS else math.nan}
