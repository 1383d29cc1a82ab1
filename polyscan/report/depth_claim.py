"""Whether a number rises or falls with depth; the observations are layers, never units.

A claim needs all of: eight layers; a permutation p of Spearman's rho over layers below .05; an interval of (mean of the
last third of the layers - mean of the first third), over resampled layers, that excludes 0; and the same sign of rho,
of this difference, and of rho without the first and the last layer. Dead units are in no layer's mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64

from polyscan.report.verdicts import LEVEL
from polyscan.stats.significance import spearman_test

LEAST_LAYERS = 8
DRAWS = 2000
LayerNumbers = Float64[np.ndarray, " l"]


@dataclass(frozen=True)
class DepthClaim:
    """How the numbers of layers depend on depth.

    Args:
        rho: Spearman's rho with the layers' order.
        p: of rho, two-sided, over random orders.
        rise: mean of the last third of the layers minus mean of the first third.
        low: lower end of its 95 % interval over resampled layers.
        high: upper end.
        inner_rho: rho without the first and the last layer.
        n: number of layers.
    """

    rho: float
    p: float
    rise: float
    low: float
    high: float
    inner_rho: float
    n: int

    @property
    def sign(self) -> int:
        """1 if the number rises, -1 if it falls, 0 if neither can be claimed."""
        excludes_zero = self.low > 0 or self.high < 0
        agree = np.sign(self.rho) == np.sign(self.rise) == np.sign(self.inner_rho)
        return int(np.sign(self.rho)) if self.p < LEVEL and excludes_zero and agree else 0

    @property
    def why_not(self) -> str:
        """Why nothing can be claimed, in words; empty if a claim can be made."""
        if not self.p < LEVEL:
            return "does not follow depth"
        if not (self.low > 0 or self.high < 0):
            return "does not clearly differ between the first and the last third of the layers"
        return "" if self.sign else "does not keep its direction without the first and the last layer"

    def numbers(self) -> str:
        """The numbers that the claim is based on, in words."""
        return (
            f"Spearman's rho {self.rho:.2f}, permutation p {self.p:.2g}; last third minus first third {self.rise:.3g}, "
            f"95 % interval {self.low:.3g} to {self.high:.3g} over resampled layers; {self.n} layers"
        )

    def inputs(self, layers: Sequence[str], values: LayerNumbers) -> dict[str, Any]:
        """Everything that the claim was computed from."""
        return {
            **{name: float(getattr(self, name)) for name in ("rho", "p", "rise", "low", "high", "inner_rho")},
            "layers": list(layers),
            "values": [float(value) for value in values],
        }


def depth_claim(values: LayerNumbers, *, generator: np.random.Generator) -> DepthClaim:
    """How the numbers of layers, in forward order, depend on depth.

    Raises:
        ValueError: if there are fewer than 8 layers.
    """
    n = len(values)
    if n < LEAST_LAYERS:
        raise ValueError(f"a depth trend needs at least {LEAST_LAYERS} layers, got {n}; with fewer none is claimed")
    depth = np.arange(n, dtype=np.float64)
    whole = spearman_test(depth, values, generator=generator)
    inner = spearman_test(depth[1:-1], values[1:-1], generator=generator, draws=1)
    third = n // 3
    first, last = values[:third], values[-third:]
    drawn = _means(last, generator) - _means(first, generator)
    low, high = np.quantile(drawn, (0.025, 0.975))
    return DepthClaim(whole.rho, whole.p, float(last.mean() - first.mean()), float(low), float(high), inner.rho, n)


def _means(values: LayerNumbers, generator: np.random.Generator) -> Float64[np.ndarray, " draws"]:
    return values[generator.integers(len(values), size=(DRAWS, len(values)))].mean(axis=1)
