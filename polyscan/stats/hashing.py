"""SplitMix64: a stateless hash of 64 bits that turns consecutive integers into numbers as good as random ones.

Source: Steele, Lea & Flood 2014, "Fast splittable pseudorandom number generators".
"""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt64


def splitmix64(key: UInt64[np.ndarray, ...]) -> UInt64[np.ndarray, ...]:
    """Hash of each key; arithmetic wraps around in 64 bits.

    >>> splitmix64(np.array([0], dtype=np.uint64)).tolist()
    [16294208416658607535]
    """
    key = key + np.uint64(0x9E3779B97F4A7C15)
    key = (key ^ (key >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    key = (key ^ (key >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return key ^ (key >> np.uint64(31))
