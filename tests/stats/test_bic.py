"""BIC against its formula written as a loop, and the choice of K."""

import math

import numpy as np
import pytest

from polyscan.stats.bic import ZERO_SSE_SHARE, best_k, bic


def literal_bic(points, labels):
    """Log likelihood point by point under its cluster's spherical Gaussian, less the penalty."""
    n, d = points.shape
    clusters = sorted(set(labels.tolist()))
    centres = {c: points[labels == c].mean(axis=0) for c in clusters}
    sse = sum(float(((x - centres[c]) ** 2).sum()) for x, c in zip(points, labels.tolist(), strict=True))
    variance = sse / (d * (n - len(clusters)))
    likelihood = 0.0
    for x, c in zip(points, labels.tolist(), strict=True):
        squared = float(((x - centres[c]) ** 2).sum())
        density = -d / 2 * math.log(2 * math.pi * variance) - squared / (2 * variance)
        likelihood += math.log((labels == c).sum() / n) + density
    n_parameters = (len(clusters) - 1) + d * len(clusters) + 1
    return likelihood - n_parameters / 2 * math.log(n), sse


@pytest.mark.parametrize("k", [1, 2, 5])
def test_bic_equals_the_loop(k):
    generator = np.random.default_rng(k)
    points, labels = generator.standard_normal((30, 4)), np.arange(30) % k
    expected, sse = literal_bic(points, labels)
    assert bic(sse, np.bincount(labels), d=4) == pytest.approx(expected, rel=1e-12)


def blobs(n_blobs, generator):
    labels = np.arange(60) % n_blobs
    return generator.standard_normal((60, 3)) + 12 * np.eye(4, 3)[labels], labels


@pytest.mark.parametrize("n_blobs", [1, 2, 3])
def test_planted_blobs_are_counted(n_blobs):
    points, labels = blobs(n_blobs, np.random.default_rng(7))
    partitions = []
    for k in (1, 2, 3, 4):
        # Blobs merged where k is below their number, the first of them cut where it is above.
        parted = np.minimum(labels, k - 1)
        if k > n_blobs:
            parted = np.where(labels == 0, n_blobs + np.arange(60) // n_blobs % (k - n_blobs + 1) - 1, labels - 1)
            parted = np.unique(parted % k, return_inverse=True)[1]
        partitions.append((literal_bic(points, parted)[1], np.bincount(parted)))
    assert best_k(partitions, d=3) == n_blobs


def test_a_perfect_fit_takes_the_smallest_k_that_has_one():
    sizes = [np.array([4]), np.array([2, 2]), np.array([2, 1, 1])]
    assert best_k(list(zip([8.0, 8.0 * ZERO_SSE_SHARE, 0.0], sizes, strict=True)), d=2) == 2
    assert best_k(list(zip([0.0, 0.0, 0.0], sizes, strict=True)), d=2) == 1
    assert best_k([(0.0, np.array([1]))], d=2) == 1


def test_wrong_partitions_are_refused():
    with pytest.raises(ValueError, match=r"got 0\.0: BIC is infinite"):
        bic(0.0, np.array([2, 1]), d=1)
    with pytest.raises(ValueError, match=r"got \[1, 1\]"):
        bic(1.0, np.array([1, 1]), d=1)
    with pytest.raises(ValueError, match="`d` must be at least 1, got 0"):
        bic(1.0, np.array([2, 1]), d=0)
    with pytest.raises(ValueError, match=r"got \[2\]"):
        best_k([(1.0, np.array([2, 1]))], d=1)
    with pytest.raises(ValueError, match=r"got \[\]"):
        best_k([], d=1)
