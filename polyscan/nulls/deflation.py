"""Deflation: what a unit's main meaning leaves unexplained.

A second concept at half the first one's strength hardly reaches a unit's top k, so no test of the top k can see it.
Therefore the unit's main readout is estimated from its top k, and the unit's expected activation given that readout is
taken away; the images on which most is left are what the main meaning does not explain.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float, Float32, Float64
from scipy.linalg import cho_factor, cho_solve

RIDGE = 1.0
"""lam of a main readout, as a multiple of the covariance's mean eigenvalue."""
LEAST_IN_BIN = 12
"""Images in a bin of a curve: with fewer, its median says little."""
SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.94, 0.97, 0.985, 0.9925, 0.996)
"""Where the bins of a curve end, as shares of the images by rank: finer at the top, where the unit's meaning is."""
MOST_SEARCHED, LEAST_SEARCHED = 0.25, 2
"""Largest share of the images that is searched, since a unit's weaker images say nothing of what it answers to; and the
smallest number that is searched, as a multiple of k."""
BINS = len(SHARES) + 1
"""Bins of a curve, if there are enough images."""
TOP = 0.1
"""Share of the images, by rank, over which the slope beyond the last bin is taken."""


def main_readouts(
    tops: Float[np.ndarray, "u c"],
    mean: Float64[np.ndarray, " c"],
    covariance: Float64[np.ndarray, "c c"],
    *,
    ridge: float = RIDGE,
) -> Float32[np.ndarray, "u c"]:
    """The readout that answers to what each unit's top vectors have in common.

    w = (C + lam I)^-1 (t - mu) / s, s so that w' C w = 1;  lam = ridge x mean eigenvalue of C

    Args:
        tops: mean activation vector t at the peaks of each unit's exemplars; NaN for a unit without any.
        mean: mean mu of the layer's vectors.
        covariance: covariance C of the layer's vectors.
        ridge: above 0.

    Returns:
        One row per unit; NaN for a unit whose t is NaN, and for one whose t equals mu: nothing is common to its tops.

    Raises:
        ValueError: if shapes disagree, the covariance has no variance, or `ridge` is not above 0.

    Source: ours; the readout of `nulls.readouts.one_exemplar` with the mean of several exemplars.
    """
    c = len(mean)
    if tops.ndim != 2 or tops.shape[1] != c or covariance.shape != (c, c):
        got = f"{tops.shape}, {mean.shape} and {covariance.shape}"
        raise ValueError(f"`tops` must be [u, c], `mean` [c] and `covariance` [c, c], got {got}")
    scale = float(np.trace(covariance)) / c
    if not (scale > 0 and np.isfinite(covariance).all() and ridge > 0):
        raise ValueError(
            "the covariance must be finite with variance above 0 and `ridge` above 0, got a mean eigenvalue of "
            f"{scale} and {ridge}"
        )
    centred = np.asarray(tops, dtype=np.float64) - mean
    is_known = np.isfinite(centred).all(axis=1)
    weights = np.full(centred.shape, np.nan)
    weights[is_known] = cho_solve(cho_factor(covariance + ridge * scale * np.eye(c)), centred[is_known].T).T
    variance = np.einsum("uc,uc->u", weights @ covariance, weights)
    sd = np.sqrt(np.where(variance > 0, variance, np.nan))
    return (weights / sd[:, None]).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Curves:
    """What each unit is expected to do, given the value of its main readout: the median of the unit in bins of it.

    Between the bins' middles the curve is linear; below the first it is flat; beyond the last it goes on with its
    slope over the top tenth of the images, which is never negative.

    Args:
        x: median of the main readout in each bin, ascending.
        y: median of the unit in each bin.
        slope: of the curve beyond the last bin.
    """

    x: Float32[np.ndarray, "u bins"]
    y: Float32[np.ndarray, "u bins"]
    slope: Float32[np.ndarray, " u"]

    @classmethod
    def fit(cls, mains: Float[np.ndarray, "images u"], units: Float[np.ndarray, "images u"]) -> Curves:
        """The curve of each unit, from the peaks of its main readout and its own on a sample of images.

        Raises:
            ValueError: if shapes disagree, or there are fewer than 24 images.
        """
        n = len(mains)
        if mains.shape != units.shape or mains.ndim != 2 or n < 2 * LEAST_IN_BIN:  # two bins
            raise ValueError(
                f"`mains` and `units` must be [images, u] with {2 * LEAST_IN_BIN} images or more, got {mains.shape} "
                f"and {units.shape}"
            )
        order = np.argsort(mains, axis=0, kind="stable")
        mains, units = np.take_along_axis(mains, order, axis=0), np.take_along_axis(units, order, axis=0)
        edges = bin_edges(n)
        bins = list(pairwise(edges))
        x = np.stack([np.median(mains[start:stop], axis=0) for start, stop in bins], axis=1).astype(np.float32)
        y = np.stack([np.median(units[start:stop], axis=0) for start, stop in bins], axis=1).astype(np.float32)
        for i in range(1, len(bins)):  # equal middles would make the slope between them infinite
            x[:, i] = np.maximum(x[:, i], np.nextafter(x[:, i - 1], np.float32(np.inf)))
        at = next(i for i, (_, stop) in enumerate(bins) if stop > (1 - TOP) * n or i == len(bins) - 2)
        run, rise = x[:, -1] - x[:, at], y[:, -1] - y[:, at]
        slope = np.divide(rise, run, out=np.zeros_like(rise), where=run > 0).clip(min=0)
        return cls(x, y, slope.astype(np.float32))

    def expected(self, mains: Float32[np.ndarray, "images u"]) -> Float32[np.ndarray, "images u"]:
        """What each unit is expected to do at these values of its main readout."""
        slopes = np.diff(self.y, axis=1) / np.diff(self.x, axis=1)
        expected = self.y[:, 0] + self.slope * (mains - self.x[:, -1]).clip(min=0)
        for i in range(slopes.shape[1]):
            low, high = self.x[:, i], self.x[:, i + 1]
            expected += slopes[:, i] * (np.clip(mains, low, high) - low)
        return expected


def bin_edges(n: int) -> list[int]:
    """Where the bins of n ranked images end, 0 first and n last; each bin has at least 12 images.

    >>> bin_edges(60)
    [0, 12, 24, 36, 48, 60]
    """
    edges = [0]
    for share in SHARES:
        edge = round(share * n)
        if edge - edges[-1] >= LEAST_IN_BIN and n - edge >= LEAST_IN_BIN:
            edges.append(edge)
    return [*edges, n]


def floors(
    units: Float[np.ndarray, "images u"],
    *,
    share: Float64[np.ndarray, " u"],
    mean: Float64[np.ndarray, " u"],
    top: Float64[np.ndarray, " u"],
    least_strength: float = 0.0,
) -> Float32[np.ndarray, " u"]:
    """The activation above which a unit's unexplained images are searched.

    floor = max(quantile of the unit at 1 - share, mean + least_strength x (top - mean))

    Args:
        units: peaks of each unit on a sample of images.
        share: share of all images that is searched for each unit. A readout that reads a seeded 1/m of the images needs
            m times the share of others: then its search goes as deep beyond its exemplars as theirs does.
        mean: mean peak of each unit over all images.
        top: mean peak of each unit's exemplars.
        least_strength: strength of the weakest image that is searched, as a share of the exemplars' strength.
    """
    by_rank = np.empty(len(share))
    for value in np.unique(share):
        by_rank[share == value] = np.quantile(units[:, share == value], 1 - value, axis=0)
    return np.maximum(by_rank, mean + least_strength * (top - mean)).astype(np.float32)


def searched_share(k: int, n_images: int, *, reach: float) -> float | None:
    """Share of the images that is searched for what is unexplained: a unit's strongest reach x k, at most a quarter.

    None if a quarter of the images is fewer than 2 k: too few would be left to choose from.

    >>> searched_share(100, 10_000, reach=5), searched_share(100, 1000, reach=5), searched_share(100, 700, reach=5)
    (0.05, 0.25, None)
    """
    if MOST_SEARCHED * n_images < LEAST_SEARCHED * k:
        return None
    return min(reach * k / n_images, MOST_SEARCHED)
