"""Images stored as bytes in the rows of Parquet files."""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, cast

import pyarrow.parquet as pq

from polyscan.errors import ImagesError
from polyscan.images.columns import ImageColumns
from polyscan.images.content import checksum
from polyscan.images.decode import decode
from polyscan.images.listing import FileState
from polyscan.images.options import ImageOptions, list_digest
from polyscan.images.parquet_files import ParquetFile, RowGroup, one_line, parquet_file, row_groups
from polyscan.images.parquet_labels import ParquetLabels
from polyscan.images.source import Picture, Reject
from polyscan.storage import Storage, is_damage

CACHED_GROUPS = 2  # neighbouring ids may be in two row groups
CACHED_BYTES = 512 * 2**20  # of two big row groups, only the last one is kept
WINDOW = 64  # images asked for out of order are fetched this many at a time, each row group once

RowCells = dict[str, Any]


class ParquetImages:
    """The rows of one or several Parquet files, file by file in the order given.

    Labels are told by `ParquetLabels`. One or two row groups are in memory at a time, with images still encoded.

    Args:
        storage: where the files are; if it is itself a single file, that file's name is "".
        files: the files, in order.
        options: columns, limit and the largest size allowed.
        left_out: see `ImageSource.left_out`.

    Raises:
        ImagesError: if a file is not Parquet or has no image column, there are no rows, the labels can't be understood,
            or an option doesn't fit.
    """

    def __init__(
        self, storage: Storage, files: Mapping[str, FileState], options: ImageOptions, left_out: str = ""
    ) -> None:
        options.check_part("a Parquet source", ("all",))
        options.check_unused("a Parquet source", "root")
        self._storage = storage
        self._options = options
        self.left_out = left_out
        self._files = [parquet_file(storage, name, state.stamp, options) for name, state in files.items()]
        self._groups = [group for file in self._files for group in row_groups(file)]
        self._starts = list(accumulate((group.n_rows for group in self._groups), initial=0))
        if not self._starts[-1]:
            raise ImagesError(f"{storage.address} holds no images: its Parquet files have no rows. Check the address.")
        self._selection = options.selection(self._starts[-1])
        self._labels = ParquetLabels(storage, self._files, options)
        self._cache: OrderedDict[int, Any] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        """Pickled without the cached row groups; a worker reads them itself."""
        return {**self.__dict__, "_cache": OrderedDict()}

    def __len__(self) -> int:
        return len(self._selection)

    @property
    def digest(self) -> str:
        """Hash of the files' names, sizes and footers, and of the columns and folders read.

        A footer holds every column chunk's position, sizes and, with most writers, value ranges.
        """
        header = ["parquet", *self._options.reading]
        files = [[file.shown, file.n_bytes, file.footer_sha256, file.columns.read_from] for file in self._files]
        return list_digest([header, *files])

    @property
    def labels(self) -> str:
        """Where the labels come from; see `ImageSource.labels`."""
        return str(self._labels)

    @property
    def stamps(self) -> dict[str, str]:
        """Stamp of each file, by its name in paths; see `ImageSource.stamps`."""
        return {file.shown: file.stamp for file in self._files}

    def images_of_file(self, name: str) -> Sequence[int]:
        """Ids of the images in a file; see `ImageSource.images_of_file`."""
        groups = [number for number, group in enumerate(self._groups) if group.file.shown == name]
        return self._selection.images(self._starts[groups[0]], self._starts[groups[-1] + 1]) if groups else range(0)

    def contents(self, images: Sequence[int]) -> Iterator[bytes]:
        """Image bytes and other columns in use of these rows; see `ImageSource.contents`."""
        for _, row in self._in_windows(images):
            yield b"" if isinstance(row[1], str) else row[1]["stored"]

    def read(self, images: Sequence[int]) -> Iterator[Picture | Reject]:
        """The images of these ids; see `ImageSource.read`. Ids in rising order read every row group once."""
        for image, row in self._in_windows(images):
            yield self._entry(image, *row)

    def _in_windows(self, images: Sequence[int]) -> Iterator[tuple[int, tuple[str, RowCells | str]]]:
        """Each image's id, path and row, or as text the reason why the row could not be read."""
        for start in range(0, len(images), WINDOW):
            window = images[start : start + WINDOW]
            rows = self._rows(window)
            for image in window:
                yield int(image), rows[image]

    def _entry(self, image: int, path: str, row: RowCells | str) -> Picture | Reject:
        """The picture of one row; if `row` is text, it is the reason why the row could not be read."""
        if isinstance(row, str):
            return Reject(image, path, row)
        content = row["content"]
        pixels = "empty: the row holds no image bytes"
        if content:
            pixels = decode(content, self._options.max_pixels, self._options.decoding)
        if isinstance(pixels, str):
            return Reject(image, path, pixels, checksum(row["stored"]))
        return Picture(image, path, pixels, row["label"], row["label_name"], checksum(row["stored"]))

    def _rows(self, images: Sequence[int]) -> dict[int, tuple[str, RowCells | str]]:
        """Path and row of each image, fetched row group by row group."""
        rows: dict[int, tuple[str, RowCells | str]] = {}
        for image in sorted(set(images)):
            place = self._selection.place(image)
            number = bisect_right(self._starts, place) - 1
            group, row = self._groups[number], place - self._starts[number]
            table = self._table(number)
            path = f"{group.file.shown}#{group.first_row + row}"
            try:
                rows[image] = (path, table) if isinstance(table, str) else self._row(group.file, path, table, row)
            except UnicodeDecodeError as error:
                rows[image] = path, f"corrupt: a text column is no valid text ({error.reason})"
        return rows

    def _row(self, file: ParquetFile, path: str, table: Any, row: int) -> tuple[str, RowCells]:
        """Path, image bytes, label and its name in one row of a row group."""
        columns = file.columns
        cell: RowCells = {name: table.column(name)[row].as_py() for name in columns.names}
        content = cell[columns.image]
        if isinstance(content, dict):
            struct = cast("RowCells", content)
            content, path = struct["bytes"], str(struct.get("path") or path)
        label, label_name = self._labels.of(file, cell)
        path = str(cell.get(columns.path or "") or path)
        stored = content + _beside(columns, cell) if content else b""
        return path, {"content": content, "stored": stored, "label": label, "label_name": label_name}

    def _table(self, number: int) -> Any:
        """The columns in use of one row group, or as text the reason why it can't be read."""
        if number not in self._cache:
            self._cache[number] = self._read_group(self._groups[number])
            while len(self._cache) > 1 and (len(self._cache) > CACHED_GROUPS or self._cached_bytes() > CACHED_BYTES):
                self._cache.popitem(last=False)
        self._cache.move_to_end(number)
        return self._cache[number]

    def _cached_bytes(self) -> int:
        return sum(0 if isinstance(table, str) else table.nbytes for table in self._cache.values())

    def _read_group(self, group: RowGroup) -> Any:
        try:
            with self._storage.open(group.file.name) as stream:
                file = pq.ParquetFile(stream, metadata=group.file.metadata, pre_buffer=not self._storage.is_local)
                return file.read_row_group(group.index, columns=group.file.columns.names, use_threads=False)
        except Exception as error:
            if isinstance(error, MemoryError) or not is_damage(error):
                raise
            return f"corrupt: row group {group.index} of {group.file.shown}: {one_line(error)}"


def _beside(columns: ImageColumns, cell: Mapping[str, Any]) -> bytes:
    """What a row holds beside its image in the columns in use; empty if there are none."""
    others = [cell[name] for name in columns.names if name != columns.image]
    return repr(others).encode("utf-8", "backslashreplace") if others else b""
