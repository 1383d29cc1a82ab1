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
    """Readable images and what the network is shown of them; rows after those of the images are padding."""

    pictures: list[Picture]
    inputs: Float[Tensor, "b c y x"]

    def __len__(self) -> int:
        return len(self.pictures)


def batches(
    network: Network, source: ImageSource, ids: Iterable[int], size: int, rejects: list[Reject] | None = None
) -> Iterator[Batch]:
    """These images in order, `size` at a time; what can't be read is left out.

    Args:
        network: whose preprocessing they go through.
        source: where they come from.
        ids: image ids, rising.
        size: images a batch.
        rejects: is given those that can't be read.
    """

    def readable() -> Iterator[Picture]:
        for entry in source.read(list(ids)):
            if isinstance(entry, Picture):
                yield entry
            elif rejects is not None:
                rejects.append(entry)

    preprocessing = network.preprocessing
    pictures = readable()
    while taken := list(islice(pictures, size)):
        views = np.stack([preprocessing.view(picture.pixels) for picture in taken])
        # The last batch is padded: rounding may depend on a batch's shape, never on how many images were left.
        padded = np.zeros((size, *views.shape[1:]), dtype=np.uint8)
        padded[: len(views)] = views
        yield Batch(taken, preprocessing.batch(padded, network.device))
