"""Which columns of a Parquet file hold the images, labels and paths."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, cast

import pyarrow as pa

from polyscan.errors import ImagesError
from polyscan.images.options import ImageOptions

IMAGE_NAMES = ("image", "img", "bytes", "jpg", "png")
PATH_NAMES = ("file_name", "filename", "file_path", "path")


@dataclass(frozen=True)
class ImageColumns:
    """Names of the columns in use; None for columns that a file doesn't have.

    Args:
        image: bytes, or Hugging Face's struct of `bytes` and `path`.
        label: whole numbers or text.
        label_name: text.
        path: text.
        class_names: names of the labels 0, 1, ... from the Hugging Face footer; empty if it has none.
    """

    image: str
    label: str | None
    label_name: str | None
    path: str | None
    class_names: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        """All columns in use, each once."""
        return list(dict.fromkeys(name for name in (self.image, self.label, self.label_name, self.path) if name))


def find_columns(schema: pa.Schema, options: ImageOptions, file: str) -> ImageColumns:
    """The columns of a Parquet file, found by name and type.

    The image column is the one asked for; else the first of IMAGE_NAMES that holds bytes; else the only one that
    holds bytes. A column `label` that is neither whole numbers nor text (a list of tags) is ignored, or refused if the
    options ask for it. The class names for a label column `x` are read from the column `x_name`.

    Args:
        schema: the file's schema.
        options: the columns asked for, if any.
        file: the file's name, for messages.

    Raises:
        ImagesError: if there is no image column, several could be it, or a column asked for is missing or of a wrong
            type.
    """
    label = _label_column(schema, options, file)
    label_name = f"{label}_name" if label else None
    is_text = {field.name: _is_text(field.type) for field in schema}
    return ImageColumns(
        image=_image_column(schema, options, file),
        label=label,
        label_name=label_name if is_text.get(label_name or "") else None,
        path=next((name for name in PATH_NAMES if is_text.get(name)), None),
        class_names=_class_names(schema, label),
    )


def is_label_text(schema: pa.Schema, columns: ImageColumns) -> bool:
    """Whether the labels are text, which has to be numbered."""
    return columns.label is not None and _is_text(schema.field(columns.label).type)


def _image_column(schema: pa.Schema, options: ImageOptions, file: str) -> str:
    holds_images = [field.name for field in schema if _is_image(field.type)]
    if options.image_column is not None:
        if options.image_column in holds_images:
            return options.image_column
        problem = f'`image_column` = "{options.image_column}" is not a column of image bytes in {file}'
    else:
        usual = [name for name in IMAGE_NAMES if name in holds_images]
        if usual or len(holds_images) == 1:
            return (usual or holds_images)[0]
        problem = f"{file} has {len(holds_images) or 'no'} columns that may hold the images"
    raise ImagesError(
        f"{problem}; allowed are binary columns and structs with binary `bytes`. Its columns: {_listed(schema)}. "
        "Set `image_column` to one of these."
    )


def _label_column(schema: pa.Schema, options: ImageOptions, file: str) -> str | None:
    name = options.label_column or "label"
    is_label = {field.name: _is_text(field.type) or _is_whole(field.type) for field in schema}
    if is_label.get(name):
        return name
    if options.label_column is None:
        return None
    raise ImagesError(
        f'`label_column` = "{name}" is not a column of labels in {file}; allowed are whole numbers and text. Its '
        f"columns: {_listed(schema)}. Set `label_column` to one of these, or leave it out."
    )


def _class_names(schema: pa.Schema, label: str | None) -> tuple[str, ...]:
    """Names of a ClassLabel feature; () if the footer has none in the form that Hugging Face writes."""
    try:
        footer = json.loads((schema.metadata or {})[b"huggingface"])
        names = footer["info"]["features"][label]["names"]
    except (KeyError, TypeError, ValueError):
        return ()
    return tuple(map(str, cast("list[object]", names))) if isinstance(names, list) else ()


def _listed(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} ({field.type})" for field in schema) or "none"


def _is_bytes(type_: Any) -> bool:
    return pa.types.is_binary(type_) or pa.types.is_large_binary(type_) or pa.types.is_binary_view(type_)


def _is_image(type_: Any) -> bool:
    has_bytes = pa.types.is_struct(type_) and any(field.name == "bytes" and _is_bytes(field.type) for field in type_)
    return _is_bytes(type_) or has_bytes


def _is_text(type_: Any) -> bool:
    type_ = type_.value_type if pa.types.is_dictionary(type_) else type_
    return pa.types.is_string(type_) or pa.types.is_large_string(type_) or pa.types.is_string_view(type_)


def _is_whole(type_: Any) -> bool:
    return pa.types.is_integer(type_) or pa.types.is_boolean(type_)
