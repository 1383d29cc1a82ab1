"""The tables of a run: their schemas, and reading and writing Parquet. Only here and in `images`, pyarrow is used."""

from polyscan.tables.files import (
    Columns,
    Condition,
    Filter,
    encode,
    read,
    read_keys,
    read_matrix,
    read_single,
    read_vectors,
    write_single,
)
from polyscan.tables.schemas import TABLES, Column, ColumnType, Table

__all__ = [
    "TABLES",
    "Column",
    "ColumnType",
    "Columns",
    "Condition",
    "Filter",
    "Table",
    "encode",
    "read",
    "read_keys",
    "read_matrix",
    "read_single",
    "read_vectors",
    "write_single",
]
