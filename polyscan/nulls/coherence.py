"""How alike random items are: what a unit's evidence must exceed to be called coherent."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

SETS = 200
LEVEL = 0.95


def random_clarity(
    vectors: Float[np.ndarray, "p d"],
    n: int,
    *,
    generator: np.random.Generator,
) -> float:
    """The 95 % quantile of the mean pairwise cosine of n random vectors, over 200 sets; NaN for fewer than 2 items.

    Args:
        vectors: a sample of the space, whitened as for cosines.
        n: items per set, 2 or more; all items of a smaller sample.
        generator: seeded by the caller.

    >>> same = np.array([[1.0, 0.0]] * 4)
    >>> random_clarity(same, 3, generator=np.random.default_rng(0))
    1.0
    """
    n = min(n, len(vectors))
    if n < 2:  # a pair
        return float("nan")
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = vectors / np.where(lengths > 0, lengths, 1)
    clarity = np.empty(SETS)
    for number in range(SETS):
        drawn = unit[generator.choice(len(unit), size=n, replace=False)]
        total = drawn.sum(axis=0)
        clarity[number] = (total @ total - np.sum(drawn * drawn)) / (n * (n - 1))
    return float(np.quantile(clarity, LEVEL))
