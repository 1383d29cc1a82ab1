"""Alignment (Q of PSI): how well a unit's clusters match the images' labels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Int64

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
        return min(max(adjusted_mutual_information(labels, clusters), -1.0), 1.0)


def adjusted_mutual_information(labels: Int64[np.ndarray, " n"], clusters: Int64[np.ndarray, " n"]) -> float:
    """As scikit-learn's `adjusted_mutual_info_score` with `average_method="min"`, without its checks of each call.

    They take five times as long as its sums.
    """
    from sklearn.metrics.cluster import expected_mutual_information  # noqa: PLC0415  # the import takes seconds, and few runs need it

    counts = _counts(labels, clusters)
    n = len(labels)
    sides = counts.sum(axis=1), counts.sum(axis=0)
    entropies = [float(-np.sum(size / n * np.log(size / n))) for size in sides]
    label, cluster = np.nonzero(counts)
    both = counts[label, cluster]
    information = float(np.sum(both / n * np.log(both * n / (sides[0][label] * sides[1][cluster]))))
    expected = float(expected_mutual_information(counts, n))
    # Where no split could do better than chance, both differences are rounding: their quotient is 1, as scikit-learn's.
    most, above = min(entropies) - expected, information - expected
    return _off_zero(above) / _off_zero(most)


def _counts(labels: Int64[np.ndarray, " n"], clusters: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, "l c"]:
    """Number of items of each label in each cluster."""
    label, row = np.unique(labels, return_inverse=True)
    cluster, column = np.unique(clusters, return_inverse=True)
    cells = np.bincount(row * len(cluster) + column, minlength=len(label) * len(cluster))
    return cells.reshape(len(label), len(cluster)).astype(np.int64)


def _off_zero(difference: float) -> float:
    """The difference, at least a rounding error away from 0 on its side."""
    least = float(np.finfo(np.float64).eps)
    return min(difference, -least) if difference < 0 else max(difference, least)
