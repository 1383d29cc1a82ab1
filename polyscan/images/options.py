"""Options of an image source, and which of its images get ids."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass

from polyscan.errors import ImagesError
from polyscan.images.decoding import Decoding

PARTS = ("all", "train", "test")
HALVES = ("first", "second")
_MIXER = 0x9E3779B97F4A7C15
"""2^64 over the golden ratio: the highest bit of its multiples is 0 or 1 about equally often, in no simple pattern."""


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
        half: "first" or "second" of two disjoint halves of the images (see `Selection`); None takes all.
        max_pixels: images with more pixels are rejects. Pillow's own limit (about 179 million) also applies, and the
            limits of `decode.MOST_PIXELS` for coders that take much more memory or time than others. With the
            default, no image takes more than 1 GiB.
        exif, alpha, value_range, npy_axes, tiff_pages: as in `Decoding`.

    Raises:
        ValueError: if `limit` or `max_pixels` is below 1, or there is no such half.
    """

    image_column: str | None = None
    label_column: str | None = None
    part: str = "all"
    root: str | None = None
    limit: int | None = None
    half: str | None = None
    max_pixels: int = 64_000_000
    exif: str = "turn"
    alpha: str = "white"
    value_range: str | tuple[float, float] = "format"
    npy_axes: str = "auto"
    tiff_pages: str = "first"

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"`limit` must be at least 1, got {self.limit}; leave it out to take all images")
        if self.half not in (None, *HALVES):
            raise ValueError(f"`half` must be one of {', '.join(HALVES)}, or left out, got {self.half!r}")
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
        half = [self.half] if self.half else []
        return [self.limit, self.max_pixels, *([changes] if changes else []), *half]

    def selection(self, n_places: int) -> Selection:
        """The images of a source of this many that get ids."""
        return Selection(n_places, self.limit, self.half)

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

    A half holds one of each two neighbours in that order, now this one, now that one: so classes keep their share even
    if they are sorted, and no image is in both halves.

    >>> chosen = Selection(n_places=10, limit=4)
    >>> [chosen.place(image) for image in range(len(chosen))]
    [0, 2, 5, 7]
    >>> halves = [Selection(8, None, half) for half in ("first", "second")]
    >>> [[half.place(image) for image in range(4)] for half in halves]
    [[0, 3, 4, 7], [1, 2, 5, 6]]
    """

    n_places: int
    limit: int | None
    half: str | None = None

    def __len__(self) -> int:
        return self._n if self.limit is None else min(self.limit, self._n)

    @property
    def _n(self) -> int:
        """Number of images that the limit chooses from."""
        return self.n_places // 2 if self.half else self.n_places

    def _of_half(self, number: int) -> int:
        """Position in the full order of an image of the half, by its number in the half."""
        if self.half is None:
            return number
        return 2 * number + (((number * _MIXER) >> 63 & 1) ^ HALVES.index(self.half))

    def place(self, image: int) -> int:
        """Position of the image with this id in the full order.

        Raises:
            IndexError: if there is no such id.
        """
        if not 0 <= image < len(self):
            raise IndexError(f"image {image} is not in this source; its ids are 0..{len(self) - 1}")
        return self._of_half(int(image) * self._n // len(self))

    def images(self, start: int, stop: int) -> range:
        """Ids of the images whose positions in the full order are in start..stop-1.

        >>> list(Selection(n_places=10, limit=4).images(2, 7))
        [1, 2]
        """
        if not len(self):
            return range(0)
        # `place(image) >= start` as `image >= start * len / n`, rounded up.
        first, end = (-(-self._first_from(place) * len(self) // self._n) for place in (start, stop))
        return range(first, end)

    def _first_from(self, place: int) -> int:
        """Number of the first image of the half whose position in the full order is not below this one."""
        if self.half is None:
            return place
        number = min(place // 2, self._n)
        return number + (number < self._n and self._of_half(number) < place)


def list_digest(items: Iterable[object]) -> str:
    """Sha256 in hexadecimal of plain values (text, numbers, None, lists), one after the other."""
    digest = hashlib.sha256()
    for item in items:
        # JSON distinguishes ["a", "b"] from ["ab"], and writes file names that are not valid text as escapes.
        digest.update(json.dumps(item).encode() + b"\n")
    return digest.hexdigest()
