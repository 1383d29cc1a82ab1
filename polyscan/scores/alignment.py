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

    Range: (-1, 1]; 0 is chance level. Also 0 if all items share one label or cluster, or no two items do.

    High means: the clusters separate the labels, though one cluster may hold several labels.

    Blind to: differences that the labels do not name.

    Source: Vinh, Epps & Bailey 2010 (scikit-learn's `adjusted_mutual_info_score`, normalised by the smaller entropy, so
    that two clusters that separate twenty classes perfectly get 1); the part Q of PSI as we define it, after Gupta &
    Kumar 2025, arXiv 2508.16950.
    """

    label: ClassVar[str] = "label alignment"
    tail: ClassVar[Tail] = "upper"
    evidence: ClassVar[tuple[Evidence, ...]] = ("exemplars",)
    range: ClassVar[tuple[float, float]] = (-1.0, 1.0)

    def __call__(self, sample: Sample) -> float:
        """Q of one unit; NaN if the data have no labels."""
        if sample.evidence not in self.evidence or sample.labels is None or len(sample) < LEAST_ITEMS:
            return math.nan
        is_known = sample.labels >= 0
        if is_known.sum() < LEAST_ITEMS:
            return math.nan
        labels, clusters = sample.labels[is_known], sample.best_split.labels[0][is_known]
        # With a single group, or every item its own group, all splits have the same mutual information: chance level.
        if not all(1 < len(np.unique(side)) < len(labels) for side in (labels, clusters)):
            return 0.0
        from sklearn.metrics import adjusted_mutual_info_score  # noqa: PLC0415  # the import takes seconds, and few runs need it

        return float(np.clip(adjusted_mutual_info_score(labels, clusters, average_method="min"), -1, 1))
