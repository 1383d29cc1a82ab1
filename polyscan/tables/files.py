"""Writes columns as Parquet and reads them.

Law: the same columns give the same bytes (no time, no host name, fixed row groups and compression), so the sha256
of a part depends on its content alone.
"""

from __future__ import annotations

import functools
import io
import json
import operator
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias, cast

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.fs as pafs
import pyarrow.parquet as pq
from jaxtyping import Float32, Int64

from polyscan.errors import TableError
from polyscan.storage import Storage, is_damage
from polyscan.tables.schemas import TYPES, Column, ColumnType, Table

Columns = Mapping[str, Any]
"""Column name to a numpy array or list, all of one length; vectors as one array [rows, d], or a list of arrays."""

Condition: TypeAlias = str | int | range | Sequence[str] | Sequence[int]
"""What a column must be: equal to a value, within a range of whole numbers, or one of several values."""
Filter: TypeAlias = Mapping[str, Condition]
"""Conditions by column; a row is read if all of them hold."""

REPAIR = (
    "`polyscan status --verify` lists what is damaged; repeat the same `polyscan scan` to make it again, or "
    "`polyscan show` if only the map is damaged"
)
PLAIN = frozenset(("binary", "vector"))
"""Types stored uncompressed: their values neither repeat nor shrink, and reading would take ten times as long."""
ROW_GROUP = 65_536


def encode(table: Table, columns: Columns, *, metadata: Mapping[str, Any]) -> tuple[bytes, int]:
    """Parquet bytes of these columns, and the number of rows.

    Raises:
        TableError: if the columns are not the table's own, or of different lengths.
    """
    about = {"table": table.name, "schema_version": table.version, **metadata}
    schema = table.schema.with_metadata({b"polyscan": json.dumps(about, sort_keys=True).encode()})
    data = pa.Table.from_arrays(_arrays(table, columns), schema=schema)
    sink = io.BytesIO()
    with_dictionary: Any = [c.name for c in table.columns if c.type not in PLAIN]
    compression: Any = {name: "NONE" if kind in PLAIN else "ZSTD" for name, kind in _leaves(table)}
    pq.write_table(data, sink, row_group_size=ROW_GROUP, use_dictionary=with_dictionary, compression=compression)
    return sink.getvalue(), data.num_rows


def _arrays(table: Table, columns: Columns) -> list[pa.Array]:
    """The columns in the table's order and types."""
    missing = [c.name for c in table.columns if c.name not in columns]
    unknown = sorted(set(columns) - {c.name for c in table.columns})
    if missing or unknown:
        raise TableError(
            f"wrong columns for `{table.name}`: missing {missing}, unknown {unknown}; see its schema in "
            "tables/schemas.py"
        )
    arrays = [_array(column, columns[column.name]) for column in table.columns]
    if len({len(array) for array in arrays}) > 1:
        raise TableError(f"columns of `{table.name}` differ in length: {[len(array) for array in arrays]}")
    return arrays


def _leaves(table: Table) -> list[tuple[str, ColumnType]]:
    """Physical columns of the file: a vector's numbers are one level below its name."""
    return [(f"{c.name}.list.element" if c.type == "vector" else c.name, c.type) for c in table.columns]


def _array(column: Column, values: Any) -> pa.Array:
    if column.type == "vector":
        # One array with rows of one length, or a list of vectors whose lengths may differ.
        if isinstance(values, np.ndarray):
            flat, lengths = values.reshape(-1), [values.shape[1]] * len(values)
        else:
            flat, lengths = np.concatenate([*values, np.empty(0)]), [len(vector) for vector in values]
        flat = np.ascontiguousarray(flat, dtype=np.float32)
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        return pa.ListArray.from_arrays(pa.array(offsets), pa.array(flat), type=TYPES["vector"])
    # NaN becomes null in nullable columns, and stays NaN in all others.
    return pa.array(values, type=TYPES[column.type], from_pandas=column.nullable)


def read(
    storage: Storage,
    files: Sequence[str],
    table: Table,
    *,
    columns: Sequence[str] | None = None,
    where: Filter | None = None,
) -> pd.DataFrame:
    """Rows of these files, in the files' order.

    Args:
        storage: where the files are.
        files: their names.
        table: the table that they are parts of.
        columns: which columns, all if None.
        where: which rows, all if None.

    Raises:
        TableError: naming the first file that is missing, damaged or of another table.
    """
    names = list(columns) if columns is not None else [c.name for c in table.columns]
    if not files:
        return table.schema.empty_table().select(names).to_pandas()
    return _scanned(storage, files, table, names, where).to_pandas()


class _WithoutCheck(pafs.FSSpecHandler):
    """Opens files without Arrow's check that they exist, which fails if a store is busy."""

    def open_input_file(self, path: str) -> pa.PythonFile:
        """The object, opened for reading at any position."""
        return pa.PythonFile(self.fs.open(path, "rb"), mode="r")


def _scanned(
    storage: Storage, files: Sequence[str], table: Table, columns: Sequence[str], where: Filter | None
) -> pa.Table:
    """These columns of the rows that fit; from an object store, only the bytes that hold them are fetched."""
    try:
        return _rows(storage, files, table, columns, where)
    except Exception as error:
        if not (is_damage(error) or isinstance(error, FileNotFoundError)):
            raise
        for file in files:  # Arrow's message doesn't always name the file, so each is read by itself
            with _damage_named(storage, file):
                _rows(storage, [file], table, columns, where)
        raise  # each of them can be read, so the cause was something else


def _rows(
    storage: Storage, files: Sequence[str], table: Table, columns: Sequence[str], where: Filter | None
) -> pa.Table:
    paths = [storage.path(name) for name in files]
    filesystem = storage.fs if storage.is_local else pafs.PyFileSystem(_WithoutCheck(storage.fs))
    with storage.asking():
        dataset = pads.dataset(paths, schema=table.schema, format="parquet", filesystem=filesystem)
        rows = dataset.to_table(columns=list(columns), filter=_filter(where, table.schema))
        # Arrow gives nulls for columns that a foreign file lacks. At this point it has read all footers.
        for fragment in dataset.get_fragments():
            _check_schema(fragment.physical_schema, table)
    rows.validate(full=True)  # else invalid text would raise later, where it is used
    return rows


def _check_schema(schema: pa.Schema, table: Table) -> None:
    """Refuses a file of another table.

    Raises:
        TableError: if it is this table, written by another version of polyscan.
        ValueError: if it is another table; the message names it.
    """
    about = _about(schema)
    if about is not None and about[0] == table.name and about[1] != table.version:
        raise TableError(
            f"the table `{table.name}` of this run has version {about[1]}, this polyscan reads version "
            f"{table.version}; the run was made by another version of polyscan, which its run.json names. Read it with "
            f"that version, or make the table again with --redo {table.stage}"
        )
    if about is not None and about[0] != table.name:
        raise ValueError(f"it holds the table `{about[0]}` of version {about[1]}")
    if not schema.remove_metadata().equals(table.schema):
        raise ValueError(f"its columns are not those of `{table.name}` of version {table.version}")


def _about(schema: pa.Schema) -> tuple[str, int] | None:
    """Name and version of the table in a file's metadata; None if it has none."""
    metadata = (schema.metadata or {}).get(b"polyscan")
    if metadata is None:
        return None
    about: Any = json.loads(metadata)
    return (str(about.get("table")), int(about.get("schema_version", 0))) if isinstance(about, dict) else ("?", 0)


@contextmanager
def _part(storage: Storage, file: str) -> Generator[pq.ParquetFile]:
    """Opens a file; if it is damaged, a TableError names it."""
    with _damage_named(storage, file), storage.open(file) as stream:
        yield pq.ParquetFile(stream)


@contextmanager
def _damage_named(storage: Storage, file: str) -> Generator[None]:
    """Context for reading a file: if it is damaged, a TableError names it; errors of a lost connection pass."""
    try:
        yield
    except FileNotFoundError as error:
        raise TableError(f"{storage.path(file)} is gone; {REPAIR}") from error
    except Exception as error:
        if not is_damage(error):
            raise
        text = " ".join(str(error).split())[:200]
        raise TableError(f"{storage.path(file)} can't be read as its table ({text}); {REPAIR}") from error


def _filter(where: Filter | None, schema: pa.Schema) -> Any:
    if not where:
        return None
    conditions = (_fits(pads.field(name), condition, schema.field(name).type) for name, condition in where.items())
    return functools.reduce(operator.and_, conditions)


def _fits(field: Any, condition: Condition, type_: Any) -> Any:
    if isinstance(condition, range):
        return (field >= condition.start) & (field < condition.stop)
    if isinstance(condition, str | int | np.integer):
        return field == condition
    return field.isin(pa.array(condition, type=type_))  # Arrow can't infer the type of an empty list


def read_keys(storage: Storage, file: str, column: str, table: Table | None = None) -> Int64[np.ndarray, " n"]:
    """One whole-number column of one part; checks that it belongs to `table`, if that is given.

    Raises:
        TableError: if the part is missing, damaged or of another table.
    """
    return _column(storage, file, column, table, lambda values: values.to_numpy())


def read_vectors(storage: Storage, file: str, column: str, table: Table | None = None) -> Float32[np.ndarray, "n d"]:
    """One vector column of one part; all its vectors must have one length.

    Raises:
        TableError: if the part is missing, damaged or of another table.
    """
    return _column(storage, file, column, table, _matrix)


def _column(storage: Storage, file: str, column: str, table: Table | None, convert: Callable[[Any], np.ndarray]) -> Any:
    with _part(storage, file) as part:
        if table is not None:
            _check_schema(part.schema_arrow, table)
        return convert(part.read(columns=[column])[column])


def read_matrix(
    storage: Storage, files: Sequence[str], table: Table, *, key: str, column: str, where: Filter
) -> tuple[Int64[np.ndarray, " n"], Float32[np.ndarray, "n d"]]:
    """Keys and vectors of the rows that fit `where`, in the files' order; all vectors must have one length.

    Raises:
        TableError: naming the first file that is missing, damaged or of another table.
    """
    rows = _scanned(storage, files, table, (key, column), where)
    try:
        return rows[key].to_numpy(), _matrix(rows[column])
    except ValueError as error:
        raise TableError(f"`{table.name}` of {storage.address} is damaged ({error}); {REPAIR}") from error


def _matrix(column: pa.ChunkedArray) -> Float32[np.ndarray, "n d"]:
    """Vectors of one length, one per row; shape (0, 0) without rows."""
    vectors = column.combine_chunks()
    flat = vectors.flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(len(vectors), len(flat) // max(1, len(vectors)))


def read_single(storage: Storage, name: str) -> pd.DataFrame:
    """Reads a file that is a table by itself, such as `map.parquet`.

    Raises:
        TableError: if it is missing or damaged.
    """
    with _part(storage, name) as part:
        return cast("pd.DataFrame", part.read().to_pandas())


def write_single(storage: Storage, name: str, table: Table, columns: Columns) -> None:
    """Writes a file that is a table by itself, such as `map.parquet`."""
    storage.put(name, encode(table, columns, metadata={})[0])
