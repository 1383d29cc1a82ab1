"""Cut: how many edges between nearest exemplars cross between the two clusters."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from polyscan.scores.sample import Evidence, Sample
from polyscan.stats import splits
from polyscan.stats.significance import Tail

MOST_NEIGHBORS = 1000
"""Upper bound of the setting."""


@dataclass(frozen=True)
class Cut:
    """Share of nearest-neighbour edges that cross between the two clusters, as a multiple of chance.

        cut = crossing / (n k) / (2 a (1 - a))

    Edges go from each item to its k nearest by cosine; a is the share of one cluster. Clusters are those of `gap`.

    Range: [0, 1 / (2 a (1 - a))], so at most 5.6 if a cluster has a tenth of the items.

    High means: neighbours ignore the clusters. A low value means a valley between them.

    Blind to: how far apart the clusters lie.

    Source: ours, after the conductance of a cut.

    Args:
        neighbors: k, the number of neighbours of each item.
    """

    label: ClassVar[str] = "cut"
    tail: ClassVar[Tail] = "lower"
    evidence: ClassVar[tuple[Evidence, ...]] = ("exemplars", "deflated", "visualizations")
    range: ClassVar[tuple[float, float]] = (0.0, 6.0)

    neighbors: int = 8

    def __post_init__(self) -> None:
        """Refuses a number of neighbours out of bounds."""
        if not 1 <= self.neighbors <= MOST_NEIGHBORS:
            raise ValueError(f"`neighbors` must lie in 1..{MOST_NEIGHBORS}, got {self.neighbors}")

    def __call__(self, sample: Sample) -> float:
        """Cut of one unit; NaN unless there are more items than neighbours."""
        if len(sample) <= self.neighbors:
            return math.nan
        return float(splits.cut(sample.cosines[None], sample.halves.labels, self.neighbors)[0])
