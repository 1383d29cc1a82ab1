"""Parquet files before any image is read: footers, columns, row groups, and errors of damaged files."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

import pyarrow.parquet as pq

from polyscan.errors import ImagesError
from polyscan.images.columns import ImageColumns, find_columns
from polyscan.images.names import shown
from polyscan.images.options import ImageOptions
from polyscan.images.partitions import partitions
from polyscan.storage import Storage, is_damage


@dataclass(frozen=True)
class ParquetFile:
    """One file: its name in the storage, its name in messages (`shown`), its stamp, and its footer."""

    name: str
    shown: str
    stamp: str
    n_bytes: int
    metadata: Any
    footer_sha256: str
    columns: ImageColumns


@dataclass(frozen=True)
class RowGroup:
    """One row group: its file, and its index and first row in that file."""

    file: ParquetFile
    index: int
    first_row: int
    n_rows: int


def read_columns(storage: Storage, file: ParquetFile, names: Sequence[str]) -> Any:
    """An Arrow table of whole columns of a file.

    Raises:
        ImagesError: if the file is damaged.
    """
    with _open(storage, file.name, file.shown) as stream:
        parquet = pq.ParquetFile(stream, metadata=file.metadata, pre_buffer=not storage.is_local)
        return parquet.read(columns=list(names), use_threads=False).select(list(names))


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


def parquet_file(storage: Storage, name: str, stamp: str, options: ImageOptions) -> ParquetFile:
    """One file, with its footer read and its columns chosen.

    Raises:
        ImagesError: if it is not a complete Parquet file, or has no column of images.
    """
    path = shown(name or storage.root.rpartition("/")[2])
    with _open(storage, name, path) as stream:
        n_bytes = stream.seek(0, 2)
        stream.seek(max(0, n_bytes - 8))
        # A Parquet file ends with the footer, its length in 4 bytes, and the mark PAR1.
        n_footer = int.from_bytes(stream.read(4), "little")
        stream.seek(max(0, n_bytes - 8 - n_footer))
        footer = hashlib.sha256(stream.read()).hexdigest()
        stream.seek(0)
        metadata: Any = pq.read_metadata(stream)
        schema: Any = metadata.schema.to_arrow_schema()
    columns = find_columns(schema, options, path, partitions(name))
    return ParquetFile(name, path, stamp, n_bytes, metadata, footer, columns)


def row_groups(file: ParquetFile) -> Iterator[RowGroup]:
    """The file's row groups, in order."""
    first_row = 0
    for index in range(file.metadata.num_row_groups):
        n_rows = int(file.metadata.row_group(index).num_rows)
        yield RowGroup(file, index, first_row, n_rows)
        first_row += n_rows
