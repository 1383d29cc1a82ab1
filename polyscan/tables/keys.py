"""Columns that name units, and keys of crops, positions and visualizations.

Keys are the column `item` of `embeddings`, `features` and `thumbnails`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int32, Int64

from polyscan.stats.hashing import splitmix64
from polyscan.units import Layer


def unit_columns(layer: Layer, channels: Int32[np.ndarray, " n"]) -> dict[str, Any]:
    """The columns that say which unit of a layer each row is of."""
    n = len(channels)
    return {
        "layer": [layer.name] * n,
        "parent": [layer.parent] * n,
        "role": [layer.role] * n,
        "channel": channels,
    }


def crop_keys(image: Int64[np.ndarray, " n"], boxes: Int32[np.ndarray, "n 4"]) -> Int64[np.ndarray, " n"]:
    """A key per (image, box), the same in every run; with a million crops, two share a key in 1 of 37 million runs.

    SplitMix64 over the five numbers, one after the other.
    """
    return _mixed((image, *np.asarray(boxes).T))


def position_keys(
    image: Int64[np.ndarray, " n"], y: Int32[np.ndarray, " n"], x: Int32[np.ndarray, " n"]
) -> Int64[np.ndarray, " n"]:
    """A key per (image, row, column) of one layer's map, made like a crop's."""
    return _mixed((image, y, x))


def _mixed(numbers: Sequence[np.ndarray]) -> Int64[np.ndarray, " n"]:
    key = np.zeros(len(numbers[0]), dtype=np.uint64)
    for number in numbers:
        key = splitmix64(key ^ number.astype(np.uint64))
    return key.view(np.int64)


def visualization_keys(
    layers: Iterable[str], channels: Iterable[int], indices: Iterable[int]
) -> Int64[np.ndarray, " n"]:
    """A key per visualization (layer, channel, index)."""
    names = (
        f"{layer}\x1f{channel}\x1f{index}" for layer, channel, index in zip(layers, channels, indices, strict=True)
    )
    digests = (hashlib.blake2b(name.encode(), digest_size=8).digest() for name in names)
    return np.array([int.from_bytes(digest, "big", signed=True) for digest in digests], dtype=np.int64)
