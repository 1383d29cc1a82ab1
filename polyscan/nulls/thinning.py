"""Which images a thinned readout reads: a seeded 1/m of them, decided image by image.

The strongest n images among a random 1/m of all are roughly a random n of the strongest m n. So a null readout that
must be as incoherent as a broad unit needs no long list of candidates: it reads fewer images, and its top n is merged
like any other.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Int

from polyscan.stats.hashing import splitmix64


def reads(
    seed: int | Int[np.ndarray, " u"],
    units: Int[np.ndarray, " u"],
    images: Int[np.ndarray, " b"],
    reach: Int[np.ndarray, " u"],
) -> Bool[np.ndarray, "u b"]:
    """Whether each unit reads each image; a unit of reach m reads each with probability 1/m, independently.

    Args:
        seed: seed of the layer, or one seed per unit.
        units: channels of the units.
        images: image ids.
        reach: m of each unit, 1 or more.

    >>> reads(0, np.array([3]), np.arange(4), np.array([1])).tolist()
    [[True, True, True, True]]
    """
    of_unit = splitmix64(splitmix64(np.atleast_1d(np.asarray(seed)).astype(np.uint64)) ^ units.astype(np.uint64))
    draws = splitmix64(of_unit[:, None] ^ images.astype(np.uint64)[None, :])
    return (draws >> np.uint64(11)).astype(np.float64) * 2.0**-53 * reach[:, None] < 1
