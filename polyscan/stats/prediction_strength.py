"""Prediction strength: does one half of a set predict the clusters of the other?"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64, Int

from polyscan.stats.clustering import kmeans
from polyscan.stats.splits.cosines import centred, size_of_one

_LEAST_ITEMS = 4
"""Fewer items have no two halves with a pair each."""


class _Halves(NamedTuple):
    """Items of the two halves of each repeat, and each half's clusters."""

    items: Int[np.ndarray, "2 t h"]
    labels: Int[np.ndarray, "2 t h"]


def prediction_strength(
    cosines: Float[np.ndarray, "n n"], *, seed: int, repeats: int = 10, restarts: int = 10
) -> float:
    """How well two clusters of one half of a set foretell those of the other half.

        strength = min over clusters c of the second half of
                   the share of pairs in c that the first half's nearest mean puts together

    Each repeat halves the set at random and lets each half foretell the other; the answer is the mean over all.

    Args:
        cosines: cosines of the items, or their inner products.
        seed: the unit's own seed.
        repeats: random halvings. Of an odd number of items each leaves out one.
        restarts: runs of k-means a half.

    Returns:
        The strength of K = 2, in [0, 1]; NaN for under 4 items. The authors take 2 clusters for real above .8 or .9,
        since one cluster always has strength 1.

    Raises:
        ValueError: if `cosines` is not square or not finite, or a setting is out of bounds.

    Source: Tibshirani & Walther 2005, "Cluster validation by prediction strength", section 2. Departure: the
    two halves swap their parts in each repeat, and a cluster of one item, where their formula is 0/0, has strength 0.
    """
    n = size_of_one(cosines)
    for name, value in (("repeats", repeats), ("restarts", restarts)):
        if value < 1:
            raise ValueError(f"`{name}` must be at least 1, got {value}")
    if n < _LEAST_ITEMS:
        return np.nan
    generator = np.random.default_rng(seed)
    order = generator.permuted(np.tile(np.arange(n), (repeats, 1)), axis=1)
    items = np.stack([order[:, : n // 2], order[:, n // 2 : 2 * (n // 2)]])  # [2, t, h]
    uniforms = generator.random((2 * repeats, restarts, 2))
    within = cosines[items[..., :, None], items[..., None, :]].reshape(2 * repeats, n // 2, n // 2)
    labels = kmeans(centred(within), 2, uniforms=uniforms).labels.reshape(items.shape)
    halves = _Halves(items, labels)
    return float(np.mean([_strengths(cosines, halves, told_by) for told_by in (0, 1)]))


def _strengths(cosines: Float[np.ndarray, "n n"], halves: _Halves, told_by: int) -> Float64[np.ndarray, " t"]:
    """Strength of each repeat, where half `told_by` foretells the other."""
    theirs, ours = halves.items[told_by], halves.items[1 - told_by]
    members = _one_hot(halves.labels[told_by])
    weights = members / members.sum(axis=-1, keepdims=True)  # [t, 2, h]: the two means
    to_means = weights @ cosines[theirs[:, :, None], ours[:, None, :]]  # [t, 2, h]
    lengths = ((weights @ cosines[theirs[:, :, None], theirs[:, None, :]]) * weights).sum(axis=-1)
    foretold = (to_means - lengths[:, :, None] / 2).argmax(axis=1)  # the nearest mean, ties to the first
    both = _one_hot(halves.labels[1 - told_by]) @ _one_hot(foretold).swapaxes(1, 2)  # [t, 2, 2] items
    sizes = both.sum(axis=-1)
    pairs = sizes * (sizes - 1)
    together = (both * (both - 1)).sum(axis=-1)
    return np.where(pairs > 0, together / np.where(pairs > 0, pairs, 1), 0.0).min(axis=-1)


def _one_hot(labels: Int[np.ndarray, "t h"]) -> Float64[np.ndarray, "t 2 h"]:
    return (labels[:, None, :] == np.arange(2)[:, None]).astype(np.float64)
