"""Concept vectors: a direction for each cluster of the vectors at a unit's peaks, after O'Mahony et al. 2023."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float64, Int64
from scipy.cluster.hierarchy import fcluster, linkage

from polyscan.nulls.readouts import Activations
from polyscan.stats.clustering import gram, kmeans
from polyscan.studies.disentangle.gathering import Items, Whole
from polyscan.studies.disentangle.hows.second import readouts_of
from polyscan.studies.disentangle.parts import UnitPart, Wishes

HOW = "vectors"
MOST_PARTS = 5
LEAST_ITEMS = 5
"""Smaller clusters are dropped, as in the published code."""
RIDGE, RESTARTS = 1.0, 10
NEAR = 0.5
"""An item whose cosine with its cluster's mean is below this share of the cluster's median is dropped as far."""
Whitened = Float64[np.ndarray, "n r"]


def vectors(whole: Whole, moments: Activations, wishes: Wishes) -> Sequence[UnitPart]:
    """A unit's concept vectors, largest cluster first.

    The vectors at the peaks of the exemplars are centred, whitened, (C + lam I)^-1/2 (v - mu) with lam the mean
    eigenvalue of C, and put to length 1. Ward's linkage gives the number of clusters, k-means the clusters; far items
    and clusters of fewer than 5 are dropped. A part is the readout (C + lam I)^-1 (t - mu) of its cluster's mean t.

    The threshold is relative: Ward's height over sqrt(n / 2) is the distance of the means of two halves of equal size,
    so it depends neither on n nor, because of the whitening, on the layer's scale.

    Source: O'Mahony et al. 2023, "Disentangling Neuron Representations with Concept Vectors", section 3. Departures:
    the vector at the peak in place of the mean over space; whitened cosines in place of raw distances with an absolute
    threshold; a readout in place of the mean itself, which answers to what all of the layer's vectors share.
    """
    items = whole.exemplars
    if len(items) < 2 * LEAST_ITEMS:
        return []
    seen = whitened(items.vectors.astype(np.float64), moments)
    labels = _labels(seen, wishes)
    groups = [_near(items, seen, labels == label) for label in _by_size(labels)]
    groups = [group for group in groups if len(group) >= LEAST_ITEMS]
    return list(readouts_of(whole, moments, groups, HOW, halves_apart(seen))) if groups else []


def whitened(vectors: Float64[np.ndarray, "n c"], moments: Activations) -> Whitened:
    """The vectors, centred and whitened, of length 1; one that is the layer's mean stays 0."""
    values, axes = np.linalg.eigh(moments.covariance)
    lam = RIDGE * max(float(values.mean()), np.finfo(np.float64).tiny)
    white = (vectors - moments.mean) @ axes / np.sqrt(values.clip(min=0) + lam)
    length = np.linalg.norm(white, axis=1, keepdims=True)
    return np.divide(white, length, out=np.zeros_like(white), where=length > 0)


def halves_apart(seen: Whitened) -> float:
    """How far the two clusters of Ward's last step lie apart: the distance of the means, were they of equal size."""
    return float(linkage(seen, "ward")[-1, 2]) / math.sqrt(len(seen) / 2)


def _labels(seen: Whitened, wishes: Wishes) -> Int64[np.ndarray, " n"]:
    limit = wishes.separation * math.sqrt(len(seen) / 2)
    n_clusters = min(MOST_PARTS, int(fcluster(linkage(seen, "ward"), limit, "distance").max()))
    if n_clusters == 1:
        return np.zeros(len(seen), dtype=np.int64)
    return clusters(seen, n_clusters, seed=wishes.seed)


def clusters(seen: Whitened, k: int, *, seed: int) -> Int64[np.ndarray, " n"]:
    """The best of ten runs of k-means."""
    uniforms = np.random.default_rng(seed).random((1, RESTARTS, k))
    return np.asarray(kmeans(gram(seen[None]), k, uniforms=uniforms).labels[0], dtype=np.int64)


def _by_size(labels: Int64[np.ndarray, " n"]) -> list[int]:
    known, counts = np.unique(labels, return_counts=True)
    return known[np.argsort(-counts, kind="stable")].tolist()


def _near(items: Items, seen: Whitened, members: Bool[np.ndarray, " n"]) -> Items:
    """The members of a cluster that are not far from its mean."""
    cosines = seen @ seen[members].mean(axis=0)
    kept = members & (cosines >= NEAR * np.median(cosines[members]))
    return Items(items.image[kept], items.vectors[kept])
