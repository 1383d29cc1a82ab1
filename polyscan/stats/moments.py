"""Moments of a unit's peaks over the whole image set, as power sums that can be merged across parts.

Limits: the sums are of raw values in float64, so central moments lose digits to cancellation. With r = |mean| / sd the
variance is good to about 2e-16 r^2 and the kurtosis to about 2e-16 r^4, in relative terms: harmless up to r = 1,000
(1e-10 and 2e-4). Where the kurtosis would be off by more than 1 % it is NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import array_api_compat
import numpy as np
from jaxtyping import Float, Float64, Int64

_ROUNDING = float(np.finfo(np.float64).eps)
_WORST_KURTOSIS_ERROR = 0.01


@dataclass(frozen=True, eq=False)
class Moments:
    """Power sums of the peaks of `u` units.

    Args:
        n: number of images.
        s1: sum of peaks.
        s2: sum of their squares.
        s3: sum of their cubes.
        s4: sum of their fourth powers.
        min: smallest peak; inf if there are no images.
        max: largest peak; -inf if there are no images.
        n_at_max: images whose peak equals `max` (many at a clip, as after a ReLU6).
        n_nonpositive: images whose peak is <= 0.
    """

    n: Int64[np.ndarray, " u"]
    s1: Float64[np.ndarray, " u"]
    s2: Float64[np.ndarray, " u"]
    s3: Float64[np.ndarray, " u"]
    s4: Float64[np.ndarray, " u"]
    min: Float64[np.ndarray, " u"]
    max: Float64[np.ndarray, " u"]
    n_at_max: Int64[np.ndarray, " u"]
    n_nonpositive: Int64[np.ndarray, " u"]

    @classmethod
    def of(cls, peaks: Float[Any, "b u"]) -> Moments:
        """Moments of a batch of images, in numpy or another library; sums are taken on the array's own device.

        Raises:
            ValueError: if a peak is not finite.

        >>> moments = Moments.of(np.array([[0.0], [2.0], [2.0]]))
        >>> moments.max.tolist(), moments.n_at_max.tolist(), moments.n_nonpositive.tolist()
        ([2.0], [2], [1])
        """
        xp = array_api_compat.array_namespace(peaks)
        peaks = xp.astype(peaks, xp.float64)
        n_bad = int(xp.sum(xp.astype(~xp.isfinite(peaks), xp.int64)))
        if n_bad:
            raise ValueError(f"{n_bad} peaks are NaN or infinite; moments need finite ones. Reject their images first")
        b, u = (int(size) for size in peaks.shape)
        if b == 0:
            return cls.none(u)
        squares = peaks * peaks
        largest = xp.max(peaks, axis=0)
        sums = [xp.sum(power, axis=0) for power in (peaks, squares, squares * peaks, squares * squares)]
        counts = [xp.sum(xp.astype(mask, xp.int64), axis=0) for mask in (peaks == largest, peaks <= 0)]
        arrays = [*sums, xp.min(peaks, axis=0), largest, *counts]
        return cls(np.full(u, b, dtype=np.int64), *(np.asarray(array_api_compat.to_device(a, "cpu")) for a in arrays))

    @classmethod
    def none(cls, u: int) -> Moments:
        """Moments of no images, which change nothing in a merge."""
        zeros, counts = np.zeros(u), np.zeros(u, dtype=np.int64)
        return cls(
            counts, zeros, zeros, zeros, zeros, np.full(u, np.inf), np.full(u, -np.inf), counts.copy(), counts.copy()
        )

    @classmethod
    def merged(cls, parts: Sequence[Moments]) -> Moments:
        """Moments of all parts together.

        Sums are added in the given order: the same order gives the same bits, another agrees up to rounding (1e-12).

        Raises:
            ValueError: if there is no part, or parts are of different units.
        """
        if not parts:
            raise ValueError("no parts to merge; use `Moments.none(u)` for no images")
        n_units = {len(part.n) for part in parts}
        if len(n_units) > 1:
            raise ValueError(f"parts must be of the same units, got parts of {sorted(n_units)} units")
        largest = np.maximum.reduce([part.max for part in parts])
        total = {field.name: _added([getattr(part, field.name) for part in parts]) for field in fields(cls)}
        total["min"] = np.minimum.reduce([part.min for part in parts])
        total["max"] = largest
        total["n_at_max"] = _added([np.where(part.max == largest, part.n_at_max, 0) for part in parts])
        return cls(**total)

    @property
    def mean(self) -> Float64[np.ndarray, " u"]:
        """Mean peak; NaN if there are no images."""
        return _ratio(self.s1, self.n)

    @property
    def sd(self) -> Float64[np.ndarray, " u"]:
        """Standard deviation of the peaks as a population (divided by n); exactly 0 where all peaks are equal."""
        return np.sqrt(self._variance)

    @property
    def excess_kurtosis(self) -> Float64[np.ndarray, " u"]:
        """E[(x - mean)^4] / sd^4 - 3; 0 for a Gaussian. NaN where sd is 0 or rounding would exceed 1 %.

        High values go with superposition: Scherlis et al. 2022, "Polysemanticity and capacity in neural networks".

        >>> round(float(Moments.of(np.array([[1.0], [1.0], [1.0], [5.0]])).excess_kurtosis[0]), 3)
        -0.667
        """
        mean, variance = self.mean, self._variance
        m2, m3, m4 = (_ratio(s, self.n) for s in (self.s2, self.s3, self.s4))
        fourth = m4 - 4 * mean * m3 + 6 * mean**2 * m2 - 3 * mean**4
        is_resolved = _ROUNDING * m4 < _WORST_KURTOSIS_ERROR * variance**2
        return np.where(is_resolved, _ratio(fourth, variance**2) - 3, np.nan)

    @property
    def sparsity(self) -> Float64[np.ndarray, " u"]:
        """Share of images whose peak is <= 0; NaN if there are no images."""
        return _ratio(self.n_nonpositive, self.n)

    @property
    def _variance(self) -> Float64[np.ndarray, " u"]:
        variance = np.maximum(_ratio(self.s2, self.n) - self.mean**2, 0)
        return np.where(self.min == self.max, 0, variance)


def _added(arrays: list[np.ndarray]) -> np.ndarray:
    total = arrays[0]
    for array in arrays[1:]:
        total = total + array
    return total


def _ratio(above: np.ndarray, below: np.ndarray) -> Float64[np.ndarray, " u"]:
    """Their ratio, NaN where `below` is 0."""
    return np.divide(above, below, out=np.full(len(above), np.nan), where=below != 0)
