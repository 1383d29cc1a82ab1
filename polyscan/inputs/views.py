"""What the network sees of each image; an image that it can't see becomes a reject and never ends a scan."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from jaxtyping import UInt8

from polyscan.errors import ImagesError
from polyscan.images import Picture, Reject
from polyscan.images.decode import reason
from polyscan.vision.preprocessing import Preprocessing

View = UInt8[np.ndarray, "h w c"]


def views(
    preprocessing: Preprocessing, entries: Iterable[Picture | Reject], rejects: list[Reject] | None = None
) -> Iterator[tuple[Picture, View]]:
    """Each image with what the network sees of it, in order.

    Args:
        preprocessing: the network's.
        entries: what a source gives.
        rejects: images that could not be read, or that the network can't see, are appended to it.

    Raises:
        MemoryError: if there is too little memory, since another machine may have enough.
    """
    for entry in entries:
        seen = viewed(preprocessing, entry) if isinstance(entry, Picture) else entry
        if not isinstance(seen, Reject):
            assert isinstance(entry, Picture)
            yield entry, seen
        elif rejects is not None:
            rejects.append(seen)


def viewed(preprocessing: Preprocessing, picture: Picture) -> View | Reject:
    """What the network sees of an image, or why it can't see it."""
    try:
        return preprocessing.view(picture.pixels)
    except MemoryError:
        raise
    except ImagesError as error:
        return Reject(picture.image, picture.path, str(error))
    except Exception as error:  # as in `decode`: whatever it is, it is about this image alone
        return Reject(picture.image, picture.path, reason(error))
