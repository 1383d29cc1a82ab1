"""Which candidates stay in a unit's top k, under one total order.

Law: activations descend, ties ascend by image id. A pair (unit, image) counts once, with its largest reported
activation. So merging parts is associative, commutative and idempotent: a part that is read twice changes nothing.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float32, Int, Int64, UInt64

_MAX_UNIT = 2**32 - 1
_SIGN = np.uint32(0x80000000)


def top_k_rows(
    unit: Int[np.ndarray, " n"],
    activation: Float32[np.ndarray, " n"],
    image: Int[np.ndarray, " n"],
    *,
    k: int,
) -> Int64[np.ndarray, " kept"]:
    """Rows of a flat list of candidates that belong to their unit's top `k`.

    Index payload columns (position, label) with the result. Rows that agree in unit, image and activation are
    interchangeable: any of them may be kept.

    Args:
        unit: number of the row's unit, 0 to 2**32 - 1.
        activation: its activation on the image; no NaN.
        image: stable image id.
        k: how many images a unit keeps.

    Returns:
        Row numbers sorted by unit (ascending), activation (descending) and image (ascending), at most `k` per unit.

    Raises:
        ValueError: if the columns differ in length, a unit's number is out of bounds, an activation is NaN or not
            float32, or `k` is below 1.

    >>> unit = np.array([0, 0, 1, 0, 0])
    >>> activation = np.array([1, 3, 2, 3, 1], dtype=np.float32)
    >>> image = np.array([7, 5, 9, 4, 7])
    >>> top_k_rows(unit, activation, image, k=3).tolist()[:2]
    [3, 1]
    >>> len(top_k_rows(unit, activation, image, k=3))
    4
    """
    _check(unit, activation, image, k)
    if not len(unit):
        return np.empty(0, dtype=np.int64)
    rows = _in_order(_keys(unit, activation), image)
    kept = rows[_rank(unit[rows]) < k]
    if len(_repeated(_hashes(unit[kept], image[kept]))):  # rare: parts that overlap
        rows = rows[_first_of_each(unit[rows], image[rows])]
        kept = rows[_rank(unit[rows]) < k]
    return kept


def _check(
    unit: Int[np.ndarray, " n"], activation: Float32[np.ndarray, " n"], image: Int[np.ndarray, " n"], k: int
) -> None:
    if k < 1:
        raise ValueError(f"`k` must be at least 1, got {k}: a unit keeps at least one image")
    if not len(unit) == len(activation) == len(image):
        lengths = f"{len(unit)}, {len(activation)} and {len(image)}"
        raise ValueError(f"unit, activation and image must be of one length, got {lengths}; pass whole columns")
    if activation.dtype != np.float32:
        raise ValueError(f"activations must be float32, got {activation.dtype}: another type orders ties differently")
    if len(unit) and not 0 <= int(unit.min()) <= int(unit.max()) <= _MAX_UNIT:
        raise ValueError(f"unit numbers must be in [0, {_MAX_UNIT}], got {unit.min()} to {unit.max()}")
    n_nan = int(np.isnan(activation).sum())
    if n_nan:
        raise ValueError(f"{n_nan} activations are NaN, which cannot be ordered. Reject their images first")


def _keys(unit: Int[np.ndarray, " n"], activation: Float32[np.ndarray, " n"]) -> UInt64[np.ndarray, " n"]:
    """One integer per row; ascending order is by unit, then by descending activation."""
    # Adding zero makes -0 and 0 equal. The bits of floats >= 0 rise with the value, those of floats below 0 fall.
    # Larger floats must get smaller integers, so the former are inverted below the sign bit.
    bits = (activation + np.float32(0)).view(np.uint32)
    falling = np.where(bits & _SIGN, bits, ~(bits | _SIGN))
    return (unit.astype(np.uint64) << np.uint64(32)) | falling


def _in_order(key: UInt64[np.ndarray, " n"], image: Int[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
    """Rows by key, then by image: one fast sort of all rows, then a slow one of tied rows only."""
    rows = np.argsort(key)
    ordered = key[rows]
    equals_next = ordered[1:] == ordered[:-1]
    if equals_next.any():
        # A row is tied if its key equals that of the row before or after it; tied rows are adjacent and stay so.
        tied = np.flatnonzero(np.concatenate([equals_next, [False]]) | np.concatenate([[False], equals_next]))
        rows[tied] = rows[tied][np.lexsort((image[rows[tied]], ordered[tied]))]
    return rows


def _rank(ordered_unit: Int[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
    """Place of each row within its unit, 0 first; the rows of a unit are adjacent."""
    places = np.arange(len(ordered_unit))
    is_first = np.concatenate([[True], ordered_unit[1:] != ordered_unit[:-1]])
    return places - np.maximum.accumulate(np.where(is_first, places, 0))


def _hashes(unit: Int[np.ndarray, " n"], image: Int[np.ndarray, " n"]) -> UInt64[np.ndarray, " n"]:
    """One integer for each (unit, image): equal for equal pairs, almost never equal for different pairs."""
    # Two large odd constants; products and their mixture wrap around in 64 bits.
    return unit.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) ^ image.astype(np.uint64) * np.uint64(
        0xC2B2AE3D27D4EB4F
    )


def _repeated(hashes: UInt64[np.ndarray, " n"]) -> UInt64[np.ndarray, " m"]:
    """Hashes that occur more than once, ascending."""
    ordered = np.sort(hashes)
    return np.unique(ordered[1:][ordered[1:] == ordered[:-1]])


def _first_of_each(unit: Int[np.ndarray, " n"], image: Int[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
    """Whether a row is the first with its (unit, image); pairs are compared only if their hashes are equal."""
    hashes = _hashes(unit, image)
    repeated = _repeated(hashes)
    if not len(repeated):
        return np.ones(len(unit), dtype=bool)
    place = np.searchsorted(repeated, hashes).clip(max=len(repeated) - 1)
    suspects = np.flatnonzero(repeated[place] == hashes)
    by_pair = suspects[np.lexsort((image[suspects], unit[suspects]))]  # stable, so the best row of a pair is first
    repeats = (np.diff(unit[by_pair]) == 0) & (np.diff(image[by_pair]) == 0)
    is_first = np.ones(len(unit), dtype=bool)
    is_first[by_pair[1:][repeats]] = False
    return is_first
