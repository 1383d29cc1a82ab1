"""How columns become Parquet bytes and come back.

Law: the same columns give the same bytes (no time, no host name, fixed row groups and compression), so the sha256
of a part is a fact about its content.
"""

from __future__ import annotations

import functools
import io
import json
import operator
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
from jaxtyping import Float32, Int64

from polyscan.errors import TableError
from polyscan.storage import Storage
from polyscan.tables.schemas import TYPES, Column, ColumnType, Table

Columns = Mapping[str, Any]
"""Column name to a numpy array or list, all of one length; vectors as one array [rows, d], or a list of arrays."""

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
    storage: Storage, files: Sequence[str], table: Table, *, columns: Sequence[str] | None = None, where: Any = None
) -> pd.DataFrame:
    """Rows of these files, in the files' order.

    Args:
        storage: where they lie.
        files: their names.
        table: whose parts they are.
        columns: which columns, all if None.
        where: `(column, low, high)`: only rows with low <= column < high, `(column, value)`: only equal ones,
            `(column, list)`: only those in it, or a dictionary of columns to values: only rows equal in all.
    """
    names = list(columns) if columns is not None else [c.name for c in table.columns]
    if not files:
        return table.schema.empty_table().select(names).to_pandas()
    dataset = pads.dataset(
        [storage.path(name) for name in files], schema=table.schema, format="parquet", filesystem=storage.fs
    )
    return dataset.to_table(columns=names, filter=_filter(where, table.schema)).to_pandas()


def _filter(where: Any, schema: pa.Schema) -> Any:
    if where is None:
        return None
    if isinstance(where, Mapping):
        equal = [pads.field(str(name)) == value for name, value in where.items()]
        return functools.reduce(operator.and_, equal)
    name, *bounds = where
    if len(bounds) == 1:
        wanted = bounds[0] if isinstance(bounds[0], list) else [bounds[0]]
        return pads.field(name).isin(pa.array(wanted, type=schema.field(name).type))  # an empty list has no type
    return (pads.field(name) >= bounds[0]) & (pads.field(name) < bounds[1])


def read_keys(storage: Storage, file: str, column: str) -> Int64[np.ndarray, " n"]:
    """One whole-number column of one part."""
    with storage.open(file) as handle:
        return pq.read_table(handle, columns=[column])[column].to_numpy()


def read_vectors(storage: Storage, file: str, column: str) -> Float32[np.ndarray, "n d"]:
    """One vector column of one part, all of whose vectors have one length."""
    with storage.open(file) as handle:
        chunks = pq.read_table(handle, columns=[column])[column].combine_chunks()
    flat = chunks.flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(len(chunks), -1)


def read_matrix(
    storage: Storage, files: Sequence[str], table: Table, *, key: str, column: str, where: Any
) -> tuple[Int64[np.ndarray, " n"], Float32[np.ndarray, "n d"]]:
    """Keys and vectors of the rows that fit `where`, all of whose vectors have one length; in the files' order."""
    dataset = pads.dataset(
        [storage.path(name) for name in files], schema=table.schema, format="parquet", filesystem=storage.fs
    )
    rows = dataset.to_table(columns=[key, column], filter=_filter(where, table.schema))
    keys = rows[key].to_numpy()
    flat = rows[column].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return keys, flat.reshape(len(keys), -1)


def write_single(storage: Storage, name: str, table: Table, columns: Columns) -> None:
    """One file that is a table by itself, such as `map.parquet`."""
    storage.put(name, encode(table, columns, metadata={})[0])
