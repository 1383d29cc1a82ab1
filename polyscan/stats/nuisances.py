"""Nuisances that split a set of images without being concepts: a border of the map, copies of an image, a frame.

A nuisance is a mark that each item of a set has or lacks, such as "its peak lies in the top left corner of the map". It
explains a split if nearly only the items of one cluster have it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int, Int64
from scipy.stats import hypergeom

BORDER, PLACE, REPEATED, FRAME = "border", "one place", "repeated image", "letterbox"
"""Kinds of marks; what the first word of a mark says."""
LEAST_DIFFERENCE = 0.5
"""Share of a cluster's items with a mark beyond that of the others, from which the mark explains the split."""
LEVEL = 0.001
"""Chance of as many marked items in the cluster if marks fell on items at random, up to which it is no accident."""
LEAST_COPIES = 3
"""Fewer images that are equal do not make a cluster."""
HASH_BITS = 4
"""Of 64 bits in which the hashes of two copies of an image may differ, as after compression."""


class Marked(NamedTuple):
    """A mark that explains a split.

    Args:
        name: of the mark.
        share: of the items with the mark in the cluster that has it.
        elsewhere: of the items with the mark in the rest of the set.
    """

    name: str
    share: float
    elsewhere: float


def explaining(labels: Int[np.ndarray, " n"], marks: Mapping[str, Bool[np.ndarray, " n"]]) -> Marked | None:
    """The mark that explains a split best; None if none does.

    A mark explains a split if its share in a cluster is larger than that in the rest by .5 or more, and so many marked
    items fall into the cluster by chance with a probability of at most .001.

    Args:
        labels: cluster of each item.
        marks: which items have each mark, by its name.

    >>> labels = np.repeat([0, 1], [8, 8])
    >>> explaining(labels, {"corner": labels == 1, "letterbox": np.ones(16, dtype=bool)})
    Marked(name='corner', share=1.0, elsewhere=0.0)
    """
    n = len(labels)
    found: list[Marked] = []
    for cluster in np.unique(labels):
        inside = labels == cluster
        n_inside = int(inside.sum())
        if n_inside == n:
            continue
        for name, mark in marks.items():
            n_marked, n_both = int(mark.sum()), int((mark & inside).sum())
            share, elsewhere = n_both / n_inside, (n_marked - n_both) / (n - n_inside)
            if share - elsewhere >= LEAST_DIFFERENCE and hypergeom.sf(n_both - 1, n, n_marked, n_inside) <= LEVEL:
                found.append(Marked(name, share, elsewhere))
    return max(found, key=lambda mark: mark.share - mark.elsewhere, default=None)


def place_marks(
    y: Int[np.ndarray, " n"], x: Int[np.ndarray, " n"], size: tuple[int, int]
) -> Iterator[tuple[str, Bool[np.ndarray, " n"]]]:
    """For each place of a map at which several peaks lie, which ones do; named `border: ...` or `one place: ...`.

    Zero padding makes the places of a border special, above all the corners: there a unit may answer to plain images.
    A place inside may hold a caption or a watermark. A map of fewer than 3 x 3 places has no inside, so its places say
    nothing.

    Args:
        y: row of each peak.
        x: column of each peak.
        size: rows and columns of the map.
    """
    rows, columns = size
    if min(size) < 3:  # the least map with an inside
        return
    place = y * columns + x
    for number in np.flatnonzero(np.bincount(place) > 1):
        row, column = divmod(int(number), columns)
        is_border = row in (0, rows - 1) or column in (0, columns - 1)
        yield f"{BORDER if is_border else PLACE}: row {row}, column {column}", place == number


def copy_marks(copies: Int[np.ndarray, " n"]) -> Iterator[tuple[str, Bool[np.ndarray, " n"]]]:
    """For each image of which a set has three copies or more, which items they are.

    Args:
        copies: the same number for copies of one image, as `copy_groups` gives it.
    """
    numbers, counts = np.unique(copies, return_counts=True)
    for number in numbers[counts >= LEAST_COPIES]:
        yield f"{REPEATED}: exemplar {number}", copies == number


def copy_groups(checksums: np.ndarray, hashes: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
    """Groups of copies in a set of images: the position of the first copy, for each image.

    Copies have the same checksum as the first one, or a hash that differs in at most 4 of 64 bits.

    Args:
        checksums: of the images as stored; empty where there is none.
        hashes: difference hash of each image; 0: none.

    >>> copy_groups(np.array(["a", "b", "a"]), np.array([0, 9, 0])).tolist()
    [0, 1, 0]
    """
    bits = np.unpackbits(np.ascontiguousarray(hashes, dtype=np.int64).view(np.uint8).reshape(-1, 64 // 8), axis=1)
    signs = bits.astype(np.float32) * 2 - 1
    differing = (64 - signs @ signs.T) / 2
    is_near = (differing <= HASH_BITS) & (hashes[:, None] != 0) & (hashes != 0)
    is_same = (checksums[:, None] == checksums) & (checksums != "")
    return np.argmax(is_near | is_same | np.eye(len(hashes), dtype=bool), axis=1)
