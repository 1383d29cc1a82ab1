"""Options of an image source, and which of its images get ids."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass

from polyscan.errors import ImagesError
from polyscan.images.decoding import Decoding

PARTS = ("all", "train", "test")


@dataclass(frozen=True)
class ImageOptions:
    """Everything about a source that its address doesn't say.

    Args:
        image_column: the Parquet column that holds the images; None finds it.
        label_column: the Parquet column that holds the labels; None takes the column `label` if there is one.
        part: "train" or "test" of `sklearn:digits` (test is every fifth image) and of torchvision's data sets; other
            sources have only "all".
        root: the folder that holds a torchvision data set's files.
        limit: at most this many images, spread evenly over the order so that all classes keep their share even if
            they are sorted; None takes all.
        max_pixels: images with more pixels are rejects. Pillow's own limit (about 179 million) also applies, and the
            limits of `decode.MOST_PIXELS` for coders that take much more memory or time than others. With the
            default, no image takes more than 1 GiB.
        exif, alpha, value_range, npy_axes, tiff_pages: as in `Decoding`.

    Raises:
        ValueError: if `limit` or `max_pixels` is below 1.
    """

    image_column: str | None = None
    label_column: str | None = None
    part: str = "all"
    root: str | None = None
    limit: int | None = None
    max_pixels: int = 64_000_000
    exif: str = "turn"
    alpha: str = "white"
    value_range: str | tuple[float, float] = "format"
    npy_axes: str = "auto"
    tiff_pages: str = "first"

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"`limit` must be at least 1, got {self.limit}; leave it out to take all images")
        if self.max_pixels < 1:
            raise ValueError(f"`max_pixels` must be at least 1, got {self.max_pixels}")

    @property
    def decoding(self) -> Decoding:
        """The choices that decoding leaves open."""
        return Decoding(self.exif, self.alpha, self.value_range, self.npy_axes, self.tiff_pages)

    @property
    def reading(self) -> list[object]:
        """What of the options changes which images are read and how, for digests."""
        changes = self.decoding.changes
        return [self.limit, self.max_pixels, *([changes] if changes else [])]

    def check_part(self, source: str, allowed: tuple[str, ...]) -> None:
        """Refuses a part that `source` doesn't have.

        Raises:
            ImagesError: if `part` is not among `allowed`.
        """
        if self.part not in allowed:
            raise ImagesError(
                f'{source} has no part "{self.part}"; allowed: {", ".join(allowed)}. Set `part` to one of these.'
            )

    def check_unused(self, source: str, *names: str) -> None:
        """Refuses options that would have no effect on `source`.

        Raises:
            ImagesError: if one of the options called `names` is set.
        """
        for name in names:
            if (value := getattr(self, name)) is not None:
                raise ImagesError(f'`{name}` = "{value}" has no effect on {source}. Leave `{name}` out.')


@dataclass(frozen=True)
class Selection:
    """The ids of a source: all positions of its full order, or an evenly spread part of them.

    >>> chosen = Selection(n_places=10, limit=4)
    >>> [chosen.place(image) for image in range(len(chosen))]
    [0, 2, 5, 7]
    """

    n_places: int
    limit: int | None

    def __len__(self) -> int:
        return self.n_places if self.limit is None else min(self.limit, self.n_places)

    def place(self, image: int) -> int:
        """Position of the image with this id in the full order.

        Raises:
            IndexError: if there is no such id.
        """
        if not 0 <= image < len(self):
            raise IndexError(f"image {image} is not in this source; its ids are 0..{len(self) - 1}")
        return int(image) * self.n_places // len(self)

    def images(self, start: int, stop: int) -> range:
        """Ids of the images whose positions in the full order are in start..stop-1.

        >>> list(Selection(n_places=10, limit=4).images(2, 7))
        [1, 2]
        """
        # `place(image) >= start` as `image >= start * len / n_places`, rounded up.
        first, end = (-(-place * len(self) // self.n_places) for place in (start, stop))
        return range(first, end)


def list_digest(items: Iterable[object]) -> str:
    """Sha256 in hexadecimal of plain values (text, numbers, None, lists), one after the other."""
    digest = hashlib.sha256()
    for item in items:
        # JSON distinguishes ["a", "b"] from ["ab"], and writes file names that are not valid text as escapes.
        digest.update(json.dumps(item).encode() + b"\n")
    return digest.hexdigest()
