"""Which clusters of a unit's exemplars are shown, both on its page and in a notebook."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int64, Shaped


def shown_clusters(
    n_clusters: float, best: Shaped[np.ndarray, " n"], by_bic: Shaped[np.ndarray, " n"]
) -> Int64[np.ndarray, " n"]:
    """The cluster that each exemplar is shown in: the best split, whatever the verdict; it is there to be looked at.

    Args:
        n_clusters: of the map; NaN for a unit without a null and so without a verdict: then BIC decides.
        best: the best clusters by silhouette, two or more.
        by_bic: the clusters that BIC prefers, possibly one.

    >>> shown_clusters(1.0, np.array([0, 1]), np.array([0, 0]))
    array([0, 1])
    >>> shown_clusters(np.nan, np.array([0, 1]), np.array([0, 0]))
    array([0, 0])
    """
    return (by_bic if np.isnan(n_clusters) else best).astype(np.int64)
