"""The protocol of image sources: a fixed list of images by id, each read as a uint8 array or refused with a reason."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8


@dataclass(frozen=True, eq=False)  # comparing pixel arrays gives no single truth value
class Picture:
    """One readable image.

    Args:
        image: its id, the position in the source's stable order.
        path: where it came from, relative to the source (`cats/001.jpg`, `part-0.parquet#17`).
        pixels: red, green, blue in 0..255, writable; a grey image has three equal channels. Only files that hold
            other channels (`.npy`, TIFF) have 2, or 4 to 32.
        label: class index, or None if there is no label.
        label_name: the class's name, or "".
    """

    image: int
    path: str
    pixels: UInt8[np.ndarray, "y x c"]
    label: int | None
    label_name: str


@dataclass(frozen=True)
class Reject:
    """One image that can't be used, and why.

    Args:
        image: its id.
        path: as for a `Picture`.
        reason: one line; its first word is the kind: `empty`, `huge`, `truncated`, `corrupt`, `unsupported`,
            `unreadable`, or `not` (an image, a file).
    """

    image: int
    path: str
    reason: str


@runtime_checkable
class ImageSource(Protocol):
    """A fixed list of images.

    Law: the ids are 0..len-1 in an order that depends on the source's content alone (sorted paths, row order), so
    they are the same on every worker. A source can be pickled.
    """

    @property
    def digest(self) -> str:
        """Hash of the list (paths and sizes, or the data itself where it is small); part of the run's fingerprint."""
        ...

    def __len__(self) -> int: ...

    def read(self, images: Sequence[int]) -> Iterator[Picture | Reject]:
        """The images of these ids, in the order asked for, one at a time.

        A corrupt, truncated, huge or non-image entry comes as a `Reject`; it never raises.

        Raises:
            IndexError: if an id is outside 0..len-1.
            OSError: if the source itself can't be reached (a lost connection or mount). A retry may succeed, so the
                shard fails; it is never a reject, which would be permanent.
        """
        ...
