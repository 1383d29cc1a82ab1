"""Cells of label columns as whole numbers, text, or no label."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import pyarrow as pa

from polyscan.errors import ImagesError
from polyscan.images.column_types import plain

LabelValue = int | str | None
"""A label as stored: a whole number from 0, text, or None for no label."""


def value_of(cell: object, column: str, file: str) -> LabelValue:
    """The label in a cell.

    Args:
        cell: a number, text, bytes or None, as Arrow gives it.
        column: its column, for messages.
        file: its file, for messages.

    Raises:
        ImagesError: if it is a number that is not whole.

    >>> [value_of(cell, "label", "a.parquet") for cell in (3, 3.0, float("nan"), -1, True, b"cat", "")]
    [3, 3, None, None, 1, 'cat', None]
    """
    if isinstance(cell, bytes):
        return cell.decode("utf-8", "backslashreplace") or None
    if cell is None or isinstance(cell, str):
        return cell or None
    if isinstance(cell, float | Decimal):
        cell = _whole(cell, column, file)
    return int(cell) if isinstance(cell, int) and cell >= 0 else None


def _whole(number: float | Decimal, column: str, file: str) -> int | None:
    """The whole number of that value; None for NaN."""
    if number != number:  # noqa: PLR0124  # NaN alone differs from itself
        return None
    try:
        whole = int(number)
    except OverflowError:  # infinity
        whole = None
    if whole == number:
        return whole
    raise ImagesError(
        f'{file}: the column "{column}" holds {number} as a label; allowed are text, whole numbers (3.0 counts as 3) '
        'and missing values. Correct the column, set `label_column` to another one, or to "" to scan without labels.'
    )


def is_whole_text(text: str) -> bool:
    """Whether text is a whole number as numbers are written: 7 and -1, not 07, which may be another class than 7.

    >>> [is_whole_text(text) for text in ("0", "12", "-1", "07", "-0", "1.0")]
    [True, True, True, False, False, False]
    """
    return re.fullmatch(r"0|-?[1-9][0-9]*", text) is not None


def distinct_rows(table: Any, column: str, file: str) -> list[tuple[LabelValue, str]]:
    """The different pairs of label and class name in a table of a label column and, if there is one, a name column."""
    fields = [pa.field(field.name, _as_bytes(plain(field.type))) for field in table.schema]
    distinct = table.cast(pa.schema(fields)).group_by(table.column_names).aggregate([]).to_pydict()
    cells = distinct[column]
    names = next((values for name, values in distinct.items() if name != column), [None] * len(cells))
    named = ((value_of(cell, column, file), value_of(name, "", file)) for cell, name in zip(cells, names, strict=True))
    return list(dict.fromkeys((value, str(name or "")) for value, name in named))


def _as_bytes(type_: Any) -> Any:
    """Text as its bytes, since a file may hold text that is no valid UTF-8."""
    if pa.types.is_string(type_):
        return pa.binary()
    return pa.large_binary() if pa.types.is_large_string(type_) else type_
