"""Images as `collect` has read them: one that has changed since is an error, not another picture of the same name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property

import pandas as pd

from polyscan.errors import TableError
from polyscan.images import ImageSource, Picture, Reject
from polyscan.run import Run


class CollectedImages:
    """The images of a source, each compared with the checksum that `collect` recorded.

    Args:
        images: the source.
        run: a run in which `collect` is done.
    """

    def __init__(self, images: ImageSource, run: Run) -> None:
        self.images = images
        self.run = run

    def __len__(self) -> int:
        return len(self.images)

    def read(self, images: Sequence[int]) -> Iterator[Picture | Reject]:
        """The images of these ids; see `ImageSource.read`.

        Raises:
            TableError: if one has another content than when `collect` read it.
        """
        for entry in self.images.read(images):
            before = self._checksums.get(entry.image, entry.checksum)
            if isinstance(entry, Picture) and entry.checksum != before:
                raise TableError(
                    f"image {entry.path} has another content than when `collect` read it; restore it, or use a new "
                    "--run"
                )
            yield entry

    @cached_property
    def _checksums(self) -> pd.Series:
        rows = self.run.read("images", ["image", "checksum"])
        return rows.set_index("image")["checksum"]
