"""Checks of content: one checksum per image, and which files were written again since their stamps were recorded.

Names and sizes are compared always (`ImageSource.digest`). What has the same name and size, but another stamp, may hold
other bytes: then the checksums of its images tell.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import UInt8

from polyscan.images.source import ImageSource

DIGEST_BYTES = 8


def checksum(content: bytes) -> str:
    """Sixteen hexadecimal digits (BLAKE2b, 64 bits) of an image as stored; "" if there are no bytes.

    Of an image in a file of its own, it is what `b2sum -l 64 FILE` prints.

    >>> checksum(b"a"), checksum(b"")
    ('40f89e395b66422f', '')
    """
    return hashlib.blake2b(content, digest_size=DIGEST_BYTES).hexdigest() if content else ""


def array_content(pixels: UInt8[np.ndarray, "*axes"], label: int | None) -> bytes:
    """What the checksum of an image in memory is of: the pixels, their shape and the label."""
    return f"{pixels.shape} {label} ".encode() + np.ascontiguousarray(pixels).tobytes()


def checksums(source: ImageSource, images: Sequence[int]) -> dict[int, str]:
    """The checksum of each of these images, from its bytes, without decoding: that of its `Picture` or `Reject`.

    Raises:
        IndexError: if an id is not in the source.
        OSError: if the source can't be reached.
    """
    return {int(image): checksum(content) for image, content in zip(images, source.contents(images), strict=True)}


def changed_files(source: ImageSource, recorded: Mapping[str, str]) -> list[str]:
    """Sorted names of the files whose stamp is not the recorded one, and of those that are only here or only there.

    A file that was touched or copied has another stamp and the same content, so compare the checksums of
    `source.images_of_file(name)` before refusing it.

    Args:
        source: the images as they are now.
        recorded: `source.stamps` as they were.
    """
    now = source.stamps
    return sorted(name for name in {*now, *recorded} if now.get(name) != recorded.get(name))
