"""scikit-learn's handwritten digits: 1797 tiny images that come with the package."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int, UInt8

from polyscan.images.content import array_content, checksum
from polyscan.images.options import PARTS, ImageOptions, list_digest
from polyscan.images.source import Picture, Reject

TEST_EVERY = 5  # rows whose number is a multiple of this are the test part
DARKEST = 16  # the data set's scale is 0..16


class DigitsImages:
    """The digits 0..9 as 8x8 images, grey in three equal channels, scaled from 0..16 to 0..255.

    Args:
        options: `part` and `limit` are used; the rows whose number is a multiple of 5 are the test part, the others
            the training part.

    Raises:
        ImagesError: if an option doesn't fit.
    """

    def __init__(self, options: ImageOptions) -> None:
        options.check_part("sklearn:digits", PARTS)
        options.check_unused("sklearn:digits", "image_column", "label_column", "root")
        self._pixels, self._labels = _digits()
        rows = np.arange(len(self._labels))
        is_test = rows % TEST_EVERY == 0
        rows_of = {"all": rows, "train": rows[~is_test], "test": rows[is_test]}
        self._rows = rows_of[options.part]
        self._options = options
        self._selection = options.selection(len(self._rows))

    def __len__(self) -> int:
        return len(self._selection)

    @property
    def digest(self) -> str:
        """Hash of the images and labels themselves."""
        data = hashlib.sha256(self._pixels.tobytes() + self._labels.tobytes()).hexdigest()
        return list_digest(["digits", self._options.part, *self._options.reading, data])

    @property
    def labels(self) -> str:
        """Where the labels come from; see `ImageSource.labels`."""
        return "the digits 0 to 9, as scikit-learn labels them"

    @property
    def left_out(self) -> str:
        """Nothing."""
        return ""

    @property
    def stamps(self) -> dict[str, str]:
        """Empty: the digest is of the data itself."""
        return {}

    def images_of_file(self, name: str) -> Sequence[int]:
        """None: there are no files."""
        del name
        return range(0)

    def contents(self, images: Sequence[int]) -> Iterator[bytes]:
        """Pixels and labels of these images; see `ImageSource.contents`."""
        for image in images:
            row = self._row(image)
            yield array_content(self._pixels[row], int(self._labels[row]))

    def _row(self, image: int) -> int:
        return int(self._rows[self._selection.place(image)])

    def read(self, images: Sequence[int]) -> Iterator[Picture | Reject]:
        """The images of these ids; see `ImageSource.read`."""
        for image in images:
            row = self._row(image)
            grey, label, path = self._pixels[row], int(self._labels[row]), f"digits#{row}"
            digits = checksum(array_content(grey, label))
            if grey.size > self._options.max_pixels:
                reason = f"huge: 8x8 is 64 pixels, allowed are {self._options.max_pixels}"
                yield Reject(int(image), path, reason, digits)
            else:
                yield Picture(int(image), path, np.repeat(grey[:, :, None], 3, axis=2), label, str(label), digits)


def _digits() -> tuple[UInt8[np.ndarray, "n y x"], Int[np.ndarray, " n"]]:
    """All images and labels, in scikit-learn's order."""
    # Slow to import, and needed by this source only.
    from sklearn.datasets import load_digits  # noqa: PLC0415

    bunch: Any = load_digits()
    # Rounded to the nearest with integer arithmetic, which is the same on all machines.
    levels = bunch.images.astype(np.int64)
    return ((levels * 255 + DARKEST // 2) // DARKEST).astype(np.uint8), bunch.target.astype(np.int64)
