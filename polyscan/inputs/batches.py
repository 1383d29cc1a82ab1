"""Images as the network's input, in batches of one shape."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
from jaxtyping import Float
from torch import Tensor

from polyscan.images import Picture, PictureReader, Reject
from polyscan.inputs.views import views
from polyscan.vision.networks import Network


@dataclass(frozen=True, eq=False)
class Batch:
    """Readable images and their inputs to the network; rows after those of the images are padding."""

    pictures: list[Picture]
    inputs: Float[Tensor, "b c y x"]

    def __len__(self) -> int:
        return len(self.pictures)


def batches(
    network: Network, source: PictureReader, ids: Iterable[int], size: int, rejects: list[Reject] | None = None
) -> Iterator[Batch]:
    """Images in order, `size` at a time; those that can't be read or seen are left out.

    Args:
        network: the network, for its preprocessing.
        source: where the images come from.
        ids: image ids, ascending.
        size: images per batch.
        rejects: images that are left out are appended to it.
    """
    preprocessing = network.preprocessing
    seen = views(preprocessing, source.read(list(ids)), rejects)
    while chunk := list(islice(seen, size)):
        # The last batch is padded: rounding may depend on a batch's shape, never on how many images were left.
        padded = np.zeros((size, *chunk[0][1].shape), dtype=np.uint8)
        padded[: len(chunk)] = np.stack([view for _, view in chunk])
        yield Batch([picture for picture, _ in chunk], preprocessing.batch(padded, network.device))
