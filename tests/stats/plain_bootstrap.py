"""Bootstrap means written down as the books have them: draw units, take the mean, again and again."""

from __future__ import annotations

import numpy as np


def plain_means(values: np.ndarray, generator: np.random.Generator, draws: int) -> np.ndarray:
    """Means of so many resamples of the values."""
    places = generator.integers(len(values), size=(draws, len(values)))
    return np.array([np.mean([values[place] for place in row]) for row in places])


def ends(means: np.ndarray) -> tuple[float, float]:
    """The 95 % percentile interval. Source: Efron & Tibshirani 1993, chapter 13."""
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)
