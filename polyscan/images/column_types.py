"""Arrow types of columns: which hold images, which hold labels, and which labels have to be read to be numbered."""

from __future__ import annotations

from enum import Enum
from typing import Any

import pyarrow as pa


class LabelKind(Enum):
    """What a column of labels holds.

    `TEXT` is numbered by its sorted values. `WHOLE` are numbers of at most 64 signed bits, which need not be read to
    be understood. `NUMBERS` (floats, decimals, uint64) have to be read: some may be missing, broken or too large.
    `NOTHING` holds only missing values.
    """

    TEXT = "text"
    WHOLE = "whole numbers"
    NUMBERS = "numbers"
    NOTHING = "nothing"


def plain(type_: Any) -> Any:
    """The type of the values: of a dictionary (a category) that of its entries, of a view that of what it views."""
    types = pa.types
    if types.is_dictionary(type_):
        return plain(type_.value_type)
    if types.is_string_view(type_):
        return pa.large_string()
    if types.is_binary_view(type_) or types.is_fixed_size_binary(type_):
        return pa.large_binary()
    return pa.float32() if types.is_float16(type_) else type_


def is_text(type_: Any) -> bool:
    """Whether a column holds text."""
    type_ = plain(type_)
    return pa.types.is_string(type_) or pa.types.is_large_string(type_)


def is_bytes(type_: Any) -> bool:
    """Whether a column holds bytes of any length."""
    return pa.types.is_binary(type_) or pa.types.is_large_binary(type_) or pa.types.is_binary_view(type_)


def is_image(type_: Any) -> bool:
    """Whether a column may hold images: bytes, or Hugging Face's struct with `bytes`."""
    has_bytes = pa.types.is_struct(type_) and any(field.name == "bytes" and is_bytes(field.type) for field in type_)
    return is_bytes(type_) or has_bytes


def label_kind(type_: Any) -> LabelKind | None:
    """What labels a column holds; None if it can't hold one label per image (lists, structs, dates)."""
    types, type_ = pa.types, plain(type_)
    if is_text(type_) or is_bytes(type_):
        return LabelKind.TEXT
    if types.is_boolean(type_) or (types.is_integer(type_) and not types.is_uint64(type_)):
        return LabelKind.WHOLE
    if types.is_uint64(type_) or types.is_floating(type_) or types.is_decimal(type_):
        return LabelKind.NUMBERS
    return LabelKind.NOTHING if types.is_null(type_) else None
