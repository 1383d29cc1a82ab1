"""Hartigan's dip test of unimodality, and a test of two clusters against one that is built on it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise

import numpy as np
from jaxtyping import Float, Float64, Int

from polyscan.stats.clustering import kmeans
from polyscan.stats.significance import empirical_p
from polyscan.stats.splits.cosines import centred, size_of_one

_NULL_SEED = 1985
"""The null depends on n alone, so that every unit is compared with the same draws on every machine."""

_LEAST_ITEMS = 10
"""With fewer items, folds have one item and clusters three."""
_ZERO_LENGTH = 1e-12
"""A squared distance of up to this share of the largest product counts as 0; rounding is about 1e-16 of it."""

Vertices = list[int]
"""Items at which a minorant or majorant bends. Heights count items: the distribution function steps from i to i + 1 at
x[i]; minorants lie below its steps, majorants above. A majorant is the minorant of the values mirrored."""


def dip(values: Float[np.ndarray, " n"]) -> float:
    """Largest distance between the empirical distribution function and the nearest unimodal one.

    The modal interval is narrowed from the outside in, to where the least concave majorant and the greatest convex
    minorant on it are farthest apart; the dip is the largest distance of either from the data outside the interval.
    O(n) after sorting.

    Args:
        values: finite numbers in any order. Equal values are treated as the limit of close ones.

    Returns:
        The dip, in [1 / (2 n), 1/4].

    Raises:
        ValueError: if there are no values, or one is not finite.

    Source: Hartigan & Hartigan 1985, "The dip test of unimodality", section 5. Own code, because the maintained
    library with the same results (`diptest`) is under the GPL, which is not compatible with this package's licence.

    >>> dip(np.array([0.0, 0.0, 1.0, 1.0]))
    0.25
    """
    x = _sorted(values)
    n = len(x)
    mirrored = [-value for value in reversed(x)]
    previous, previous_mirrored = _previous_vertices(x), _previous_vertices(mirrored)
    low, high, deepest = 0, n - 1, 1.0
    while low < high:
        minorant = _chain(previous, high, low)[::-1]
        majorant = [n - 1 - i for i in _chain(previous_mirrored, n - 1 - low, n - 1 - high)]
        width, new_low, new_high = _widest(x, minorant, majorant)
        if width <= deepest:
            break
        left = _distance(x, [i for i in minorant if i <= new_low])
        right = _distance(mirrored, [n - 1 - i for i in majorant if i >= new_high][::-1])
        low, high, deepest = new_low, new_high, max(deepest, left, right)
    return deepest / (2 * n)


def dip_p(values: Float[np.ndarray, " n"], *, draws: int = 2000) -> float:
    """Probability of a dip as large as that of `values` in a uniform sample of the same size.

    The uniform distribution is the least favourable unimodal one; for peaked distributions the test is conservative.

    Args:
        values: as in `dip`.
        draws: number of simulated samples; made once for each n.

    Returns:
        p in [1 / (draws + 1), 1].

    Raises:
        ValueError: as `dip` does, or if `draws` is below 1.

    Source: Hartigan & Hartigan 1985, "The dip test of unimodality"; p counts the value itself (Phipson & Smyth 2010).
    """
    if draws < 1:
        raise ValueError(f"`draws` must be at least 1, got {draws}")
    return empirical_p(dip(values), _uniform_dips(len(values), draws))


def dip_test(
    cosines: Float[np.ndarray, "n n"], *, seed: int, folds: int = 5, restarts: int = 10, draws: int = 2000
) -> float:
    """p-value of two clusters against one; needs no null sets.

    For each fold, 2-means splits the other items, and the held-out items are projected on the line through the two
    means. To pool the folds, a projection is measured from the mean of the other items, in units of the distance
    between the two means, and oriented like the first fold's line. p is that of the dip of all projections.

    Held-out items form two modes along the line only if there are two clusters: the test keeps its level, but has less
    power. Blind to clusters that overlap, and to a small cluster next to a large one.

    Args:
        cosines: cosines of the items, or their inner products. Vectors spread around the origin in few directions have
            cosines near 1 and -1: their unit vectors *are* two clusters, whatever the vectors were.
        seed: the unit's seed.
        folds: number of parts of the items, 2 to n.
        restarts: runs of k-means per fold.
        draws: as in `dip_p`.

    Returns:
        p in [1 / (draws + 1), 1]; NaN for under 10 items.

    Raises:
        ValueError: if `cosines` is not square or not finite, or a setting is out of bounds.
    """
    n = size_of_one(cosines)
    if n < _LEAST_ITEMS:
        return math.nan
    if not 2 <= folds <= n:
        raise ValueError(f"`folds` must be in [2, {n}], the number of items, got {folds}")
    generator = np.random.default_rng(seed)
    order = generator.permutation(n)
    held_out = [order[fold::folds] for fold in range(folds)]
    n_others = n - len(held_out[0])  # a smaller fold leaves out one other item, so that all folds have one shape
    others = np.stack([np.setdiff1d(order, items, assume_unique=True)[:n_others] for items in held_out])
    uniforms = generator.random((folds, restarts, 2))
    # Not `two_means`: here the split may differ from seed to seed, and k-means is cheaper for one set at a time.
    products = centred(cosines[others[:, :, None], others[:, None, :]])
    labels = kmeans(products, 2, uniforms=uniforms, least=max(1, n_others // 10)).labels
    return dip_p(_positions(cosines, held_out, others, labels), draws=draws)


def _positions(
    cosines: Float[np.ndarray, "n n"],
    held_out: list[Int[np.ndarray, " _"]],
    others: Int[np.ndarray, "f m"],
    labels: Int[np.ndarray, "f m"],
) -> Float64[np.ndarray, " n"]:
    """Position of each item on the line of its fold, which is drawn without it."""
    # The line of a fold is a weighted sum of its other items: one mean minus the other.
    in_second = labels == 1
    shares = in_second / in_second.sum(axis=1, keepdims=True) - ~in_second / (~in_second).sum(axis=1, keepdims=True)
    weights = np.zeros((len(others), len(cosines)))
    np.put_along_axis(weights, others, shares, axis=1)
    projections = weights @ cosines  # [f, n]
    agreement = projections @ weights[0]
    direction = np.where(agreement < 0, -1.0, 1.0)
    origins = np.take_along_axis(projections, others, axis=1).mean(axis=1)
    lengths = (projections * weights).sum(axis=1)  # squared distance of the two means: their distance in projections
    is_apart = lengths > _ZERO_LENGTH * np.abs(cosines).max()
    positions = np.zeros(len(cosines))
    for fold, items in enumerate(held_out):
        if is_apart[fold]:
            positions[items] = direction[fold] * (projections[fold, items] - origins[fold]) / lengths[fold]
    return positions


def _sorted(values: Float[np.ndarray, " n"]) -> list[float]:
    values = np.asarray(values, dtype=np.float64)
    n_bad = int((~np.isfinite(values)).sum())
    if not len(values) or n_bad:
        raise ValueError(f"the dip needs at least one value, all finite, got {len(values)} with {n_bad} not finite")
    return np.sort(values).tolist()


@lru_cache(maxsize=64)
def _uniform_dips(n: int, draws: int) -> Float64[np.ndarray, " draws"]:
    generator = np.random.default_rng((_NULL_SEED, n))
    return np.array([dip(generator.random(n)) for _ in range(draws)])


def _previous_vertices(x: list[float]) -> list[int]:
    """For each j, the vertex before j on the greatest convex minorant of points 0 to j, at heights 0 to j."""
    vertices = [0] * len(x)
    for j in range(1, len(x)):
        vertex = j - 1
        while vertex:
            previous = vertices[vertex]
            # The vertex stays if the line gets steeper there.
            if (x[j] - x[vertex]) * (vertex - previous) < (x[vertex] - x[previous]) * (j - vertex):
                break
            vertex = previous
        vertices[j] = vertex
    return vertices


def _chain(previous: list[int], start: int, stop: int) -> Vertices:
    """Vertices from `start` back to `stop`."""
    vertices = [start]
    while vertices[-1] > stop:
        vertices.append(previous[vertices[-1]])
    return vertices


def _widest(x: list[float], minorant: Vertices, majorant: Vertices) -> tuple[float, int, int]:
    """Largest distance between the two at an inner vertex of either, and the modal interval that belongs to it."""
    widest, low, high = 0.0, minorant[0], minorant[-1]
    for i, start, stop in _with_segments(minorant[1:-1], majorant):
        width = 1 + start + _rise(x, start, i, stop) - i
        if width > widest:
            widest, low, high = width, i, stop
    for i, start, stop in _with_segments(majorant[1:-1], minorant):
        width = 1 + i - start - _rise(x, start, i, stop)
        if width > widest:
            widest, low, high = width, start, i
    return widest, low, high


def _with_segments(items: Vertices, vertices: Vertices) -> Iterator[tuple[int, int, int]]:
    """Each item with the two vertices that it lies between."""
    segments = pairwise(vertices)
    start, stop = next(segments)
    for i in items:
        while i > stop:
            start, stop = next(segments)
        yield i, start, stop


def _rise(x: list[float], start: int, i: int, stop: int) -> float:
    """How far a line from (x[start], start) to (x[stop], stop) has risen at item i."""
    # Never a division by 0: equal values form one segment at the end of a chain, and no item lies inside it.
    return (x[i] - x[start]) / (x[stop] - x[start]) * (stop - start)


def _distance(x: list[float], vertices: Vertices) -> float:
    """Largest distance of the empirical distribution from its minorant."""
    return max(
        (
            1 + i - start - _rise(x, start, i, stop)
            for start, stop in pairwise(vertices)
            for i in range(start + 1, stop)
        ),
        default=0.0,
    )
