"""The protocol of image sources: a fixed list of images by id, each read as a uint8 array or refused with a reason."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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
        checksum: as `content.checksum` gives it, of the image as stored; changes with any byte of it.
    """

    image: int
    path: str
    pixels: UInt8[np.ndarray, "y x c"]
    label: int | None
    label_name: str
    checksum: str = ""


@dataclass(frozen=True)
class Reject:
    """One image that can't be used, and why.

    Args:
        image: its id.
        path: as for a `Picture`.
        reason: one line; its first word is the kind: `empty`, `huge`, `truncated`, `corrupt`, `unsupported`,
            `unreadable`, or `not` (an image, a file).
        checksum: as for a `Picture`; "" where there are no bytes.
    """

    image: int
    path: str
    reason: str
    checksum: str = ""


class PictureReader(Protocol):
    """What reads images by their ids; an `ImageSource` does."""

    def read(self, images: Sequence[int]) -> Iterator[Picture | Reject]:
        """The images of these ids; see `ImageSource.read`."""
        ...


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

    @property
    def labels(self) -> str:
        """Where the labels come from, or why there are none, in one line (`column "label", 10 classes, named`)."""
        ...

    @property
    def left_out(self) -> str:
        """What lies beside the images and is not counted, in one line; "" if there is nothing."""
        ...

    @property
    def stamps(self) -> Mapping[str, str]:
        """Each file's stamp, by path, from the listing alone: what changes when the file is written again.

        Size, time of the last change and of the last change of the file's record on a disk; size and ETag, checksum or
        time on an object store. Files that may each change any image have one stamp together, under a name of their
        own. Empty where the digest already covers the data. Compare stamps for equality only.
        """
        ...

    def images_of_file(self, name: str) -> Sequence[int]:
        """Ids of the images in a file of `stamps`, ascending; none for a file that is not in this source."""
        ...

    def contents(self, images: Sequence[int]) -> Iterator[bytes]:
        """What is stored of each image, not decoded, in the order asked for; empty where there are no bytes.

        A file's bytes; of a Parquet row the image's bytes and its other columns in use; of arrays pixels and label.

        Raises:
            IndexError, OSError: as `read`.
        """
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
