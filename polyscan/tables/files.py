"""How columns become Parquet bytes and come back.

Law: the same columns give the same bytes (no time, no host name, fixed row groups and compression), so the sha256
of a part is a fact about its content.
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
"""Conditions by column; a row is read where all hold."""

MENDED = (
    "`polyscan status --verify` tells what is damaged, the same `polyscan scan` makes that again, and of the map alone "
    "`polyscan show`"
)
PLAIN = frozenset(("binary", "vector"))
ROW_GROUP = 65_536


def encode(table: Table, columns: Columns, *, metadata: Mapping[str, Any]) -> tuple[bytes, int]:
    """Parquet bytes of these columns and how many rows they are.

    Raises:
        TableError: if the columns are not the table's own, or of different lengths.
    """
    missing = [c.name for c in table.columns if c.name not in columns]
    unknown = sorted(set(columns) - {c.name for c in table.columns})
    if missing or unknown:
        raise TableError(
            f"`{table.name}` lacks columns {missing} and knows no {unknown}; see its schema in tables/schemas.py"
        )
    arrays = [_array(column, columns[column.name]) for column in table.columns]
    if len({len(array) for array in arrays}) > 1:
        raise TableError(f"columns of `{table.name}` differ in length: {[len(array) for array in arrays]}")
    about = {"table": table.name, "schema_version": table.version, **metadata}
    schema = table.schema.with_metadata({b"polyscan": json.dumps(about, sort_keys=True).encode()})
    data = pa.Table.from_arrays(arrays, schema=schema)
    sink = io.BytesIO()
    # Vectors and pictures don't repeat and don't shrink: packing them costs ten times the reading.
    packed: Any = [c.name for c in table.columns if c.type not in PLAIN]
    compression: Any = {name: "NONE" if kind in PLAIN else "ZSTD" for name, kind in _leaves(table)}
    pq.write_table(data, sink, row_group_size=ROW_GROUP, use_dictionary=packed, compression=compression)
    return sink.getvalue(), data.num_rows


def _leaves(table: Table) -> list[tuple[str, ColumnType]]:
    """Physical columns of the file: a vector's numbers lie one level deeper than its name."""
    return [(f"{c.name}.list.element" if c.type == "vector" else c.name, c.type) for c in table.columns]


def _array(column: Column, values: Any) -> pa.Array:
    if column.type == "vector":
        # One array of rows of one length, or a list of vectors that may differ in theirs.
        if isinstance(values, np.ndarray):
            flat, lengths = values.reshape(-1), [values.shape[1]] * len(values)
        else:
            flat, lengths = np.concatenate([*values, np.empty(0)]), [len(vector) for vector in values]
        flat = np.ascontiguousarray(flat, dtype=np.float32)
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        return pa.ListArray.from_arrays(pa.array(offsets), pa.array(flat), type=TYPES["vector"])
    # NaN stands for "there is none" where a column may be null, and for itself elsewhere.
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
        storage: where they lie.
        files: their names.
        table: whose parts they are.
        columns: which columns, all if None.
        where: which rows, all if None.

    Raises:
        TableError: naming the first file that is gone, damaged or another table's.
    """
    names = list(columns) if columns is not None else [c.name for c in table.columns]
    if not files:
        return table.schema.empty_table().select(names).to_pandas()
    return _scanned(storage, files, table, names, where).to_pandas()


class _Trusting(pafs.FSSpecHandler):
    """Opens a file without asking whether it is one: Arrow's own question takes a store that is busy for a no."""

    def open_input_file(self, path: str) -> pa.PythonFile:
        """The object, to be read at any place."""
        return pa.PythonFile(self.fs.open(path, "rb"), mode="r")


def _scanned(
    storage: Storage, files: Sequence[str], table: Table, columns: Sequence[str], where: Filter | None
) -> pa.Table:
    """These columns of the rows that fit; of an object store, no more is fetched than what holds them."""
    try:
        return _rows(storage, files, table, columns, where)
    except Exception as error:
        if not (is_damage(error) or isinstance(error, FileNotFoundError)):
            raise
        for file in files:  # Arrow's own words name no file, or a path in a store; so each is read by itself
            with _naming(storage, file):
                _rows(storage, [file], table, columns, where)
        raise  # by now each of them can be read, so something else was the matter


def _rows(
    storage: Storage, files: Sequence[str], table: Table, columns: Sequence[str], where: Filter | None
) -> pa.Table:
    paths = [storage.path(name) for name in files]
    filesystem = storage.fs if storage.is_local else pafs.PyFileSystem(_Trusting(storage.fs))
    with storage.asking():
        dataset = pads.dataset(paths, schema=table.schema, format="parquet", filesystem=filesystem)
        rows = dataset.to_table(columns=list(columns), filter=_filter(where, table.schema))
        # Of a foreign file, Arrow would give nulls for columns that it lacks. By now it has read all footers.
        for fragment in dataset.get_fragments():
            _check_schema(fragment.physical_schema, table)
    rows.validate(full=True)  # text that is none would be found by whoever looks at it
    return rows


def _check_schema(schema: pa.Schema, table: Table) -> None:
    """Refuses a file of another table.

    Raises:
        TableError: if it is this table as another version of polyscan wrote it.
        ValueError: if it is another table, saying which.
    """
    about = _about(schema)
    if about is not None and about[0] == table.name and about[1] != table.version:
        raise TableError(
            f"the table `{table.name}` of this run has version {about[1]}, this polyscan reads version "
            f"{table.version}; the run was made by another version of polyscan, which its run.json names. Read it with "
            f"that version, or make the table anew with --redo {table.stage}"
        )
    if about is not None and about[0] != table.name:
        raise ValueError(f"it holds the table `{about[0]}` of version {about[1]}")
    if not schema.remove_metadata().equals(table.schema):
        raise ValueError(f"its columns are not those of `{table.name}` of version {table.version}")


def _about(schema: pa.Schema) -> tuple[str, int] | None:
    """Name and version of the table that a file says it holds; None where it says nothing."""
    words = (schema.metadata or {}).get(b"polyscan")
    if words is None:
        return None
    about: Any = json.loads(words)
    return (str(about.get("table")), int(about.get("schema_version", 0))) if isinstance(about, dict) else ("?", 0)


@contextmanager
def _part(storage: Storage, file: str) -> Generator[pq.ParquetFile]:
    """A file whose damage is a TableError."""
    with _naming(storage, file), storage.open(file) as handle:
        yield pq.ParquetFile(handle)


@contextmanager
def _naming(storage: Storage, file: str) -> Generator[None]:
    """Around the reading of a file: its damage is a TableError that names it; what a lost connection raises goes on."""
    try:
        yield
    except FileNotFoundError as error:
        raise TableError(f"{storage.path(file)} is gone; {MENDED}") from error
    except Exception as error:
        if not is_damage(error):
            raise
        words = " ".join(str(error).split())[:200]
        raise TableError(f"{storage.path(file)} can't be read as its table ({words}); {MENDED}") from error


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
    return field.isin(pa.array(condition, type=type_))  # of an empty list Arrow could not tell the type


def read_keys(storage: Storage, file: str, column: str, table: Table | None = None) -> Int64[np.ndarray, " n"]:
    """One whole-number column of one part, which must be of this table where it is given.

    Raises:
        TableError: if it is gone, damaged or another table's.
    """
    return _column(storage, file, column, table, lambda values: values.to_numpy())


def read_vectors(storage: Storage, file: str, column: str, table: Table | None = None) -> Float32[np.ndarray, "n d"]:
    """One vector column of one part, all of whose vectors have one length.

    Raises:
        TableError: if it is gone, damaged or another table's.
    """
    return _column(storage, file, column, table, _matrix)


def _column(storage: Storage, file: str, column: str, table: Table | None, put: Callable[[Any], np.ndarray]) -> Any:
    with _part(storage, file) as part:
        if table is not None:
            _check_schema(part.schema_arrow, table)
        return put(part.read(columns=[column])[column])


def read_matrix(
    storage: Storage, files: Sequence[str], table: Table, *, key: str, column: str, where: Filter
) -> tuple[Int64[np.ndarray, " n"], Float32[np.ndarray, "n d"]]:
    """Keys and vectors of the rows that fit `where`, all of whose vectors have one length; in the files' order.

    Raises:
        TableError: naming the first file that is gone, damaged or another table's.
    """
    rows = _scanned(storage, files, table, (key, column), where)
    try:
        return rows[key].to_numpy(), _matrix(rows[column])
    except ValueError as error:
        raise TableError(f"`{table.name}` of {storage.address} is damaged ({error}); {MENDED}") from error


def _matrix(column: pa.ChunkedArray) -> Float32[np.ndarray, "n d"]:
    """Vectors of one length, one a row; of no row, none of length 0."""
    vectors = column.combine_chunks()
    flat = vectors.flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(len(vectors), len(flat) // max(1, len(vectors)))


def read_single(storage: Storage, name: str) -> pd.DataFrame:
    """One file that is a table by itself, such as `map.parquet`.

    Raises:
        TableError: if it is gone or damaged.
    """
    with _part(storage, name) as part:
        return cast("pd.DataFrame", part.read().to_pandas())


def write_single(storage: Storage, name: str, table: Table, columns: Columns) -> None:
    """One file that is a table by itself, such as `map.parquet`."""
    storage.put(name, encode(table, columns, metadata={})[0])
