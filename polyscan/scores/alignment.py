"""Alignment (Q of PSI): how well a unit's clusters match the images' labels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from polyscan.scores.sample import LEAST_ITEMS, Evidence, Sample
from polyscan.stats.significance import Tail


@dataclass(frozen=True)
class Alignment:
    """Mutual information of clusters and labels, adjusted for chance.

        Q = (MI - E[MI]) / (min(H(clusters), H(labels)) - E[MI])

    The clusters are those of `silhouette`; items without a label are left out.

    Range: (-1, 1]; 0 is what chance gives. 0 as well where one label is all there is, or no two items share one.

    High means: the clusters part the labels, though they may join several in one cluster.

    Blind to: what the labels have no name for.

    Source: Vinh, Epps & Bailey 2010 (scikit-learn's `adjusted_mutual_info_score`, normalised by the smaller entropy, so
    that two clusters that part twenty classes perfectly get 1); the part Q of PSI as we define it, after Gupta & Kumar
    2025, arXiv 2508.16950.
    """

    label: ClassVar[str] = "label alignment"
    tail: ClassVar[Tail] = "upper"
    evidence: ClassVar[tuple[Evidence, ...]] = ("exemplars",)
    range: ClassVar[tuple[float, float]] = (-1.0, 1.0)

    def __call__(self, sample: Sample) -> float:
        """Q of one unit; NaN where the data have no labels."""
        if sample.evidence not in self.evidence or sample.labels is None or len(sample) < LEAST_ITEMS:
            return math.nan
        is_known = sample.labels >= 0
        if is_known.sum() < LEAST_ITEMS:
            return math.nan
        labels, clusters = sample.labels[is_known], sample.best_split.labels[0][is_known]
        # Nothing to part, or every item by itself: then every cut has the same mutual information, and chance is all.
        if not all(1 < len(np.unique(side)) < len(labels) for side in (labels, clusters)):
            return 0.0
        from sklearn.metrics import adjusted_mutual_info_score  # noqa: PLC0415  # seconds that few runs need

        return float(np.clip(adjusted_mutual_info_score(labels, clusters, average_method="min"), -1, 1))
