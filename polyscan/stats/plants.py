"""Which units to plant together: triples that hardly go together, and pairs that nearly always do.

Pairs that hardly go together are `read_outs.plantable_pairs`.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float64, Int64

_TRIES = 50
"""Random thirds that are looked at for each pair."""


def plantable_triples(
    peaks: Float[np.ndarray, "images units"],
    *,
    count: int,
    generator: np.random.Generator,
    most_r: float = 0.2,
    least_share: float = 0.15,
    top: int = 100,
) -> Int64[np.ndarray, "m 3"]:
    """Triples with |r| <= most_r between each two, each giving `least_share` of the top images of their maximum.

    Args:
        peaks: each unit's peak on each image of a sample; constant units join none.
        count: most triples to give; fewer where no more are found.
        generator: seeded by the caller.
        most_r: bound of the correlations.
        least_share: bound of the shares, at most a third.
        top: images that stand for the planted unit, at most as many as there are.

    Raises:
        ValueError: if there are fewer than 2 images or a peak is not finite.
    """
    z, r, alive = _standardised(peaks)
    is_low = np.abs(r) <= most_r
    found: list[tuple[int, int, int]] = []
    for _ in range(_TRIES * count):
        if len(alive) < 3 or len(found) == count:  # a triple
            break
        a, b, c = sorted(generator.choice(alive, size=3, replace=False).tolist())
        if (a, b, c) in found or not (is_low[a, b] and is_low[a, c] and is_low[b, c]):
            continue
        if shares(z[:, [a, b, c]], top).min() >= least_share:
            found.append((a, b, c))
    return np.array(found, dtype=np.int64).reshape(-1, 3)


def alike_pairs(
    peaks: Float[np.ndarray, "images units"], *, count: int, least_r: float = 0.6
) -> Int64[np.ndarray, "m 2"]:
    """The `count` pairs of units with the largest correlation, above `least_r`; no unit comes twice.

    Raises:
        ValueError: if there are fewer than 2 images or a peak is not finite.
    """
    _, r, alive = _standardised(peaks)
    a, b = np.triu_indices(peaks.shape[1], k=1)
    is_alive = np.zeros(peaks.shape[1], dtype=bool)
    is_alive[alive] = True
    fits = (r[a, b] >= least_r) & is_alive[a] & is_alive[b]
    a, b = a[fits], b[fits]
    used: set[int] = set()
    found: list[tuple[int, int]] = []
    for row in np.argsort(-r[a, b], kind="stable"):
        pair = (int(a[row]), int(b[row]))
        if len(found) < count and not used & set(pair):
            found.append(pair)
            used |= set(pair)
    return np.array(found, dtype=np.int64).reshape(-1, 2)


def shares(z: Float64[np.ndarray, "images m"], top: int) -> Float64[np.ndarray, " m"]:
    """Share of the top images of the largest column that each column gives; equal ones count for the first.

    >>> shares(np.array([[3.0, 0.0], [0.0, 2.0], [1.0, 0.0]]), 2).tolist()
    [0.5, 0.5]
    """
    first = np.argsort(-z.max(axis=1), kind="stable")[:top]
    return np.bincount(z[first].argmax(axis=1), minlength=z.shape[1]) / len(first)


def _standardised(
    peaks: Float[np.ndarray, "images units"],
) -> tuple[Float64[np.ndarray, "images units"], Float64[np.ndarray, "units units"], Int64[np.ndarray, " alive"]]:
    """z-scores, their correlations, and the units that are not constant."""
    if peaks.ndim != 2 or len(peaks) < 2 or not np.isfinite(peaks).all():
        raise ValueError(f"`peaks` must be finite, [images, units] with 2 images or more, got {peaks.shape}")
    peaks = peaks.astype(np.float64)
    sd = peaks.std(axis=0)
    z = (peaks - peaks.mean(axis=0)) / np.where(sd > 0, sd, 1)
    return z, z.T @ z / len(z), np.flatnonzero(sd > 0)
