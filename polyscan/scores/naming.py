"""Names of clusters: which words fit, whether they beat random crops, and whether they hold for this cluster alone.

Items and words are unit vectors, each seen from the mean of its own kind, as in `word_likeness`: in a joint space of
images and text the two kinds lie apart. The likeness of an item and a word is the cosine of their vectors.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int64

Rows = Float32[np.ndarray, "n d"]

SHARPNESS = 10.0
"""Factor of likeness in the softmax over words."""
FIRST_SHARE, LAST_SHARE = 0.998, 0.97
"""Chance that the strongest item, and the one after the last, is an example of what the unit answers to."""
LEAST = 1e-7
"""Added before logarithms."""
TIE = 1e-6
"""Differences of likeness below this are rounding of float32."""
WORDS_AT_ONCE = 8192


def unit_rows(vectors: Float[np.ndarray, "n d"], centre: Float[np.ndarray, " d"]) -> Rows:
    """Vectors seen from a centre, of length 1; the centre itself stays 0.

    >>> unit_rows(np.array([[3.0, 0.0], [1.0, 0.0]]), np.array([1.0, 0.0])).tolist()
    [[1.0, 0.0], [0.0, 0.0]]
    """
    seen = vectors.astype(np.float64) - centre
    lengths = np.linalg.norm(seen, axis=1, keepdims=True)
    return (seen / np.where(lengths > 0, lengths, 1)).astype(np.float32)


def mean_direction(items: Float[np.ndarray, "*m n d"]) -> Float32[np.ndarray, "*m d"]:
    """The mean of unit vectors, itself of length 1, or 0.

    Its length is taken out, so that a name is not better because a cluster is homogeneous: a network that knows no
    words still maps like images to like vectors.
    """
    mean = items.mean(axis=-2, dtype=np.float64)
    lengths = np.linalg.norm(mean, axis=-1, keepdims=True)
    return (mean / np.where(lengths > 0, lengths, 1)).astype(np.float32)


def best_similarity(means: Float32[np.ndarray, "m d"], words: Float32[np.ndarray, "w d"]) -> Float32[np.ndarray, " m"]:
    """For each direction, its cosine with the word that fits best."""
    parts = [(means @ words[start : start + WORDS_AT_ONCE].T).max(axis=1) for start in _starts(len(words))]
    return np.max(parts, axis=0)


def _starts(n: int) -> Iterator[int]:
    return iter(range(0, n, WORDS_AT_ONCE))


def random_sets(n_pool: int, n: int, count: int, generator: np.random.Generator) -> Int64[np.ndarray, "count n"]:
    """Sets of n different items of a pool, each in random order."""
    return np.argsort(generator.random((count, n_pool)), axis=1, kind="stable")[:, :n]


def name_p(similarity: float, of_random: Float[np.ndarray, " b"]) -> float:
    """P of a name: how often the best word of as many random crops fits these at least as well.

        p = (1 + #{random >= similarity}) / (1 + b)

    Both sides are the best of the whole vocabulary, so p does not depend on its size. For a name that is not the
    cluster's best, p is too large.

    NaN if there are no sets, or no similarity.

    >>> name_p(0.5, np.array([0.1, 0.2, 0.6]))
    0.5
    """
    if not len(of_random) or np.isnan(similarity):
        return float("nan")
    return float((1 + np.count_nonzero(of_random >= similarity - TIE)) / (1 + len(of_random)))


def differences(likeness: Float[np.ndarray, "n w"], members: Bool[np.ndarray, " n"]) -> Float64[np.ndarray, " w"]:
    """For each word, its mean likeness on the cluster's items less that on the unit's other items: its contrast.

    NaN if the cluster has all the items or none.

    >>> differences(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([True, False])).tolist()
    [1.0, -1.0]
    """
    n, size = len(members), int(members.sum())
    if size in (0, n):
        return np.full(likeness.shape[1], np.nan)
    weights = np.where(members, 1 / size, -1 / (n - size))
    return weights @ likeness.astype(np.float64)


def random_differences(
    likeness: Float[np.ndarray, "n w"], size: int, count: int, generator: np.random.Generator
) -> Float32[np.ndarray, " count"]:
    """What `differences` gives for the best word of as many items, drawn from the unit's: the null of a contrast.

    The best word is chosen anew for each draw, so `name_p` counts that the word was chosen for the cluster. The
    clusters themselves were not drawn: where they were made in the same space, p is too small.

    Args:
        likeness: cosine of each of the unit's items with each word; or 1 for an item's own label, else 0.
        size: items in the cluster.
        count: number of draws; none are made if the cluster has all the items or none.
        generator: draws them.
    """
    n = len(likeness)
    if size in (0, n):
        return np.zeros(0, dtype=np.float32)
    chosen = np.zeros((count, n), dtype=np.float32)
    np.put_along_axis(chosen, random_sets(n, size, count, generator), 1, axis=1)
    return _best_differences(likeness.astype(np.float32), chosen, size)


def _best_differences(
    likeness: Float32[np.ndarray, "n w"], chosen: Float32[np.ndarray, "m n"], size: int
) -> Float32[np.ndarray, " m"]:
    """For each choice of items, the difference in mean likeness of the word that fits the chosen ones best."""
    rows, total = np.arange(len(chosen)), likeness.sum(axis=0)
    best, difference = np.full(len(chosen), -np.inf, np.float32), np.zeros(len(chosen), np.float32)
    for start in _starts(likeness.shape[1]):
        part = slice(start, start + WORDS_AT_ONCE)
        sums = chosen @ likeness[:, part]
        word = np.argmax(sums, axis=1)
        top = sums[rows, word]
        outside = (total[part][word] - top) / (chosen.shape[1] - size)
        difference = np.where(top > best, top / size - outside, difference)
        best = np.maximum(best, top)
    return difference


def log_chances(likeness: Float[np.ndarray, "n w"]) -> Float32[np.ndarray, " w"]:
    """For each word, log of the chance of these items given that the unit answers to it; strongest item first.

        sum over i of log(1 + s_i (P_i - 1)),  P = softmax over words of 10 x likeness

    s_i is the chance that item i is an example: from .998 for the strongest down to .97.

    Source: CLIP-Dissect (Oikarinen & Weng 2023, arXiv 2204.10965), soft-WPMI. We depart from it in two points: cosines
    are taken from the means of images and of words, and s falls over the items there are, not over 100.
    """
    return _sum_of_logs(word_chances(likeness))


def word_chances(likeness: Float[np.ndarray, "n w"]) -> Float32[np.ndarray, "n w"]:
    """Softmax over words of 10 x likeness, for each item."""
    scaled = SHARPNESS * likeness.astype(np.float32)
    raised = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)


def _sum_of_logs(chances: Float32[np.ndarray, "n w"]) -> Float32[np.ndarray, " w"]:
    n = len(chances)
    shares = (FIRST_SHARE - np.arange(n) / n * (FIRST_SHARE - LAST_SHARE)).astype(np.float32)
    return np.log(1 + shares[:, None] * (chances - 1) + np.float32(LEAST)).sum(axis=0)


def log_mean_chances(chances: Float32[np.ndarray, "p w"], sets: Int64[np.ndarray, "b n"]) -> Float64[np.ndarray, " w"]:
    """For each word, log of the mean chance over random sets: what soft-WPMI subtracts.

    CLIP-Dissect takes the mean over all units of the layer. We take it over random sets of crops, so that a unit's
    numbers do not depend on which units are scanned with it.

    Args:
        chances: of the pool's crops, from `word_chances`.
        sets: rows of the pool.
    """
    total = np.full(chances.shape[1], -np.inf)
    for rows in sets:
        total = np.logaddexp(total, _sum_of_logs(chances[rows]))
    return total - np.log(len(sets))


def chance_agreement(right: Int64[np.ndarray, " n"], given: Int64[np.ndarray, " n"]) -> float:
    """Share of agreement that two lists of classes have by chance: if one of them were shuffled.

    >>> chance_agreement(np.array([0, 0, 1, 1]), np.array([0, 0, 0, 0]))
    0.5
    """
    classes = np.union1d(right, given)
    return float(sum((right == c).mean() * (given == c).mean() for c in classes))
