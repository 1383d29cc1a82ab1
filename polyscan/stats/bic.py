"""Number of clusters by the Bayesian information criterion of k-means partitions.

The criterion suits spherical clusters. On correlated embeddings it splits a single Gaussian far too often: it is used
by the published score only, and does not test whether there is more than one cluster.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

ZERO_SSE_SHARE = 1e-9
"""An SSE up to this share of the one-cluster SSE counts as 0; rounding of a float64 Gram matrix is 1e-13 of it."""


def bic(sse: float, sizes: Int[np.ndarray, " k"], *, d: int) -> float:
    """BIC of one partition under equal spherical Gaussians; larger is better.

    sigma2 = SSE / (d (n - K));  p = (K - 1) + d K + 1
    BIC = sum_k n_k ln(n_k / n) - (n d / 2) ln(2 pi sigma2) - SSE / (2 sigma2) - (p / 2) ln n

    Args:
        sse: sum of squared distances to the cluster means, above 0.
        sizes: items in each cluster, all above 0.
        d: dimensions of the vectors.

    Raises:
        ValueError: if `sse` is not above 0, a cluster is empty, there are as many clusters as items, or d < 1.

    Source: Pelleg & Moore 2000, "X-means". Departure: the variance is per dimension, SSE / (d (n - K)), as their
    likelihood requires; their text divides by n - K alone.

    >>> bic(4.0, np.array([4]), d=1) > bic(3.9, np.array([2, 2]), d=1)
    True
    """
    n, k = int(np.sum(sizes)), len(sizes)
    if not sse > 0:
        raise ValueError(f"`sse` must be above 0, got {sse}: BIC is infinite at a perfect fit; `best_k` handles that")
    if k == 0 or int(np.min(sizes)) < 1 or k >= n:
        got = np.asarray(sizes).tolist()
        raise ValueError(f"each of `sizes` must be at least 1, with fewer clusters than items, got {got}")
    if d < 1:
        raise ValueError(f"`d` must be at least 1, got {d}")
    variance = sse / (d * (n - k))
    mixing = float(np.sum(sizes * np.log(sizes / n)))
    likelihood = mixing - n * d / 2 * math.log(2 * math.pi * variance) - sse / (2 * variance)
    n_parameters = (k - 1) + d * k + 1
    return likelihood - n_parameters / 2 * math.log(n)


def best_k(partitions: Sequence[tuple[float, Int[np.ndarray, " _"]]], *, d: int) -> int:
    """Number of clusters with the largest BIC; ties go to the fewest.

    A perfect fit (an SSE that counts as 0, see `ZERO_SSE_SHARE`) has no finite BIC: the smallest K with one wins.

    Args:
        partitions: (SSE, sizes) of K = 1, 2, ... in this order, without gaps. K must not exceed the number of distinct
            vectors, and must be below the number of items (a single item may have K = 1).
        d: dimensions of the vectors.

    Raises:
        ValueError: if there is no partition, or their K are not 1, 2, ... in order.

    >>> best_k([(10.0, np.array([4])), (0.0, np.array([2, 2]))], d=2)
    2
    """
    if [len(sizes) for _, sizes in partitions] != list(range(1, len(partitions) + 1)) or not partitions:
        got = [len(sizes) for _, sizes in partitions]
        raise ValueError(f"partitions must have 1, 2, ... clusters in this order, got {got}")
    zero = ZERO_SSE_SHARE * partitions[0][0]
    for sse, sizes in partitions:
        if sse <= zero:
            return len(sizes)
    return 1 + int(np.argmax([bic(sse, sizes, d=d) for sse, sizes in partitions]))
