"""Parquet files before any image is read: footers, columns, row groups, and errors of damaged files."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any, cast

import pyarrow.parquet as pq

from polyscan.errors import ImagesError
from polyscan.images.columns import ImageColumns, find_columns, is_label_text
from polyscan.images.listing import printable
from polyscan.images.options import ImageOptions
from polyscan.storage import Storage, is_damage


@dataclass(frozen=True)
class ParquetFile:
    """One file: its name in the storage, its name in messages (`shown`), and its footer."""

    name: str
    shown: str
    n_bytes: int
    metadata: Any
    footer_sha256: str
    columns: ImageColumns
    is_label_text: bool


@dataclass(frozen=True)
class RowGroup:
    """One row group: its file, and its index and first row in that file."""

    file: ParquetFile
    index: int
    first_row: int
    n_rows: int


def label_words(storage: Storage, files: Sequence[ParquetFile]) -> list[str]:
    """The different labels that are text, sorted, read from their column alone; empty if the labels are numbers.

    Raises:
        ImagesError: if labels are text in some files and numbers in others, or a file is damaged.
    """
    labelled = [file for file in files if file.columns.label]
    with_text = [file for file in labelled if file.is_label_text]
    if with_text and len(with_text) < len(labelled):
        numbers = next(file for file in labelled if not file.is_label_text)
        raise ImagesError(
            f"the labels are text in {with_text[0].shown} and numbers in {numbers.shown}; they must be of one "
            "kind in all files. Give a folder of one kind, or set `label_column`."
        )
    words: set[str] = set()
    for file in with_text:
        with _open(storage, file.name, file.shown) as stream:
            parquet = pq.ParquetFile(stream, metadata=file.metadata)
            column = parquet.read(columns=[cast("str", file.columns.label)], use_threads=False).column(0)
            words |= set(column.unique().to_pylist()) - {None}
    return sorted(words)


def one_line(error: Exception) -> str:
    """The error's text without line ends."""
    return " ".join(str(error).split())


@contextmanager
def _open(storage: Storage, name: str, shown: str) -> Generator[IO[bytes]]:
    """Opens a file; damage that shows while it is read becomes an ImagesError."""
    try:
        with storage.open(name) as stream:
            yield stream
    except Exception as error:
        if isinstance(error, MemoryError) or not is_damage(error):  # another machine may have room
            raise
        raise ImagesError(
            f"{shown} in {storage.address} can't be read as Parquet ({one_line(error)}): the file is damaged or not "
            "complete. Fetch or write it again, or remove it."
        ) from error


def parquet_file(storage: Storage, name: str, options: ImageOptions) -> ParquetFile:
    """One file, with its footer read and its columns chosen.

    Raises:
        ImagesError: if it is not a complete Parquet file, or has no column of images.
    """
    shown = printable(name or storage.root.rpartition("/")[2])
    with _open(storage, name, shown) as stream:
        n_bytes = stream.seek(0, 2)
        stream.seek(max(0, n_bytes - 8))
        # A Parquet file ends with the footer, its length in 4 bytes, and the mark PAR1.
        n_footer = int.from_bytes(stream.read(4), "little")
        stream.seek(max(0, n_bytes - 8 - n_footer))
        footer = hashlib.sha256(stream.read()).hexdigest()
        stream.seek(0)
        metadata: Any = pq.read_metadata(stream)
        schema: Any = metadata.schema.to_arrow_schema()
    columns = find_columns(schema, options, shown)
    return ParquetFile(name, shown, n_bytes, metadata, footer, columns, is_label_text(schema, columns))


def row_groups(file: ParquetFile) -> Iterator[RowGroup]:
    """The file's row groups, in order."""
    first_row = 0
    for index in range(file.metadata.num_row_groups):
        n_rows = int(file.metadata.row_group(index).num_rows)
        yield RowGroup(file, index, first_row, n_rows)
        first_row += n_rows
