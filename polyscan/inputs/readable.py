"""Tries a few images in the driver, so that a folder of which none can be read is told before anything runs."""

from __future__ import annotations

from polyscan.errors import ImagesError
from polyscan.images import ImageSource, Reject
from polyscan.inputs.checking import TRIED


def check_readable(images: ImageSource, source: str) -> None:
    """Reads up to 16 images from all over the source.

    Args:
        images: the source.
        source: its address, for the message.

    Raises:
        ImagesError: if none of them can be read; it gives the first one's reason.
    """
    count = min(TRIED, len(images))
    first: Reject | None = None
    for entry in images.read([number * len(images) // count for number in range(count)]):
        if not isinstance(entry, Reject):
            return
        first = first or entry
    if first is not None:
        raise ImagesError(
            f"none of the {count} images of {source} that were tried can be read (first {first.path}: {first.reason}). "
            "Check how the files came here, or give other images."
        )
