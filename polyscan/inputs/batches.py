"""Images as the network's input, in batches of one shape."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
from jaxtyping import Float
from torch import Tensor

from polyscan.images import ImageSource, Picture, Reject
from polyscan.vision.networks import Network


@dataclass(frozen=True, eq=False)
class Batch:
    """Readable images and their inputs to the network; rows after those of the images are padding."""

    pictures: list[Picture]
    inputs: Float[Tensor, "b c y x"]

    def __len__(self) -> int:
        return len(self.pictures)


def batches(
    network: Network, source: ImageSource, ids: Iterable[int], size: int, rejects: list[Reject] | None = None
) -> Iterator[Batch]:
    """Images in order, `size` at a time; unreadable ones are left out.

    Args:
        network: the network, for its preprocessing.
        source: where the images come from.
        ids: image ids, ascending.
        size: images per batch.
        rejects: unreadable images are appended to it.
    """

    def readable() -> Iterator[Picture]:
        for entry in source.read(list(ids)):
            if isinstance(entry, Picture):
                yield entry
            elif rejects is not None:
                rejects.append(entry)

    preprocessing = network.preprocessing
    pictures = readable()
    while chunk := list(islice(pictures, size)):
        views = np.stack([preprocessing.view(picture.pixels) for picture in chunk])
        # The last batch is padded: rounding may depend on a batch's shape, never on how many images were left.
        padded = np.zeros((size, *views.shape[1:]), dtype=np.uint8)
        padded[: len(views)] = views
        yield Batch(chunk, preprocessing.batch(padded, network.device))
