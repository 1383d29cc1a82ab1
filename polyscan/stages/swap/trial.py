"""One unit's swaps: its recipients, the places in them, and the unit under each condition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Int64, UInt8

from polyscan.stages.swap.effects import ALIGNED
from polyscan.vision.swapping import PatchGrid, PlaceReader, Spot, pasted

MIDDLE = (0.25, 0.75)
"""Recipients are images between these quantiles of a unit's peaks."""
Key = tuple[str, int]
"""A kind of evidence and a cluster."""
Patch = UInt8[np.ndarray, "h w c"]


def middle_images(
    peaks: Float[np.ndarray, " n"], is_free: Bool[np.ndarray, " n"], n: int, generator: np.random.Generator
) -> Int64[np.ndarray, " m"]:
    """At most n images from the middle of a unit's peaks, drawn at random.

    Args:
        peaks: of a sample of images.
        is_free: whether an image may be taken; quantiles are of all.
        n: how many are wanted.
        generator: seeded by the caller.

    Returns:
        Their positions in the sample; fewer than n if the middle holds fewer.
    """
    low, high = np.quantile(peaks, MIDDLE)
    middle = np.flatnonzero(is_free & (peaks >= low) & (peaks <= high))
    return generator.permutation(middle)[:n]


@dataclass(frozen=True, eq=False)
class Trial:
    """What is pasted for one unit whatever the cluster: every list has one entry per recipient.

    Args:
        channel: of the unit.
        recipients: pictures that patches are pasted into.
        spots: where.
        shared: patches that are the same for all clusters, and whether they go elsewhere, by condition.
    """

    channel: int
    recipients: Sequence[Patch]
    spots: Sequence[Spot]
    shared: Mapping[str, tuple[Sequence[Patch], bool]]

    def __len__(self) -> int:
        """Number of recipients."""
        return len(self.recipients)

    @property
    def has_places(self) -> bool:
        """Whether a patch can lie apart from what is read: not if every position of the map is read."""
        return not all(bool(spot.read.all()) for spot in self.spots)

    def read(self, reader: PlaceReader, clusters: Mapping[Key, Sequence[Patch]]) -> Answers:
        """The unit in every condition, in as few batches as hold all pictures.

        Args:
            reader: of the unit's layer.
            clusters: the donors' patches of each cluster; recipients take them in turn.
        """
        pictures: list[Patch] = list(self.recipients)
        for patches, is_elsewhere in self.shared.values():
            pictures += self._pasted(patches, is_elsewhere=is_elsewhere)
        for patches in clusters.values():
            pictures += self._pasted(patches, is_elsewhere=False)
            pictures += self._pasted(patches, is_elsewhere=True)
        n = len(self)
        read = np.stack([spot.read for spot in self.spots])
        values = reader(np.stack(pictures), np.tile(read, (len(pictures) // n, 1, 1)), self.channel).reshape(-1, n)
        before, rest = values[0], iter(values[1:])
        shared = {name: next(rest) for name in self.shared}
        own = {key: {ALIGNED: next(rest), "elsewhere": next(rest)} for key in clusters}
        return Answers(before, {key: {**shared, **of_cluster} for key, of_cluster in own.items()})

    def _pasted(self, patches: Sequence[Patch], *, is_elsewhere: bool) -> list[Patch]:
        return [
            pasted(picture, patches[at % len(patches)], spot.elsewhere if is_elsewhere else spot.here)
            for at, (picture, spot) in enumerate(zip(self.recipients, self.spots, strict=True))
        ]

    def example(self, patches: Sequence[Patch], recipient: int) -> tuple[Patch, Patch]:
        """A recipient as it was, and with its patch of a cluster."""
        picture = self.recipients[recipient]
        return picture, pasted(picture, patches[recipient % len(patches)], self.spots[recipient].here)


@dataclass(frozen=True, eq=False)
class Answers:
    """A unit's values, one per recipient.

    Args:
        before: on the unchanged pictures, at the places where patches will be.
        after: by cluster and condition.
    """

    before: Float32[np.ndarray, " r"]
    after: Mapping[Key, Mapping[str, Float32[np.ndarray, " r"]]]


def spots_of(grid: PatchGrid, n: int, generator: np.random.Generator) -> list[Spot]:
    """A random place for each of n recipients."""
    return [grid.spot(generator) for _ in range(n)]
