"""Which columns of a Parquet file hold the images, labels and paths."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import pyarrow as pa

from polyscan.errors import ImagesError
from polyscan.images.column_types import LabelKind, is_image, is_text, label_kind
from polyscan.images.options import ImageOptions

IMAGE_NAMES = ("image", "img", "bytes", "jpg", "png")
PATH_NAMES = ("file_name", "filename", "file_path", "path")
LABEL_NAMES = (
    *("label", "labels", "class", "class_id", "class_label", "label_id", "target", "targets", "category"),
    *("category_id", "fine_label", "fine_labels", "coarse_label", "coarse_labels", "cls"),
    *("label_name", "class_name", "category_name", "label_text", "synset", "wnid"),
)
"""Where labels are looked for, in this order, in upper or lower case: columns, and folders like `label=cat`."""


@dataclass(frozen=True)
class ImageColumns:
    """Names of the columns in use; None for columns that a file doesn't have.

    Args:
        image: bytes, or Hugging Face's struct of `bytes` and `path`.
        label: numbers or text.
        label_name: text.
        path: text.
        class_names: names of the labels 0, 1, ... from the Hugging Face footer; empty if it has none.
        kind: what the label column holds; None if there is none.
        folder: key and value of the folder that gives the label of all rows (`label=cat`), if one does; then the column
            of that name, if there is one, must agree.
        unused: other columns and folders that might be labels, in the order of LABEL_NAMES.
        unfit: columns that are called like labels but can't be any, with their types.
    """

    image: str
    label: str | None
    label_name: str | None
    path: str | None
    class_names: tuple[str, ...] = ()
    kind: LabelKind | None = None
    folder: tuple[str, str | None] | None = None
    unused: tuple[str, ...] = ()
    unfit: tuple[str, ...] = ()

    @property
    def label_source(self) -> str | None:
        """Name of the column or the folder's key that gives the labels; None if there is neither."""
        return self.folder[0] if self.folder else self.label

    @property
    def read_from(self) -> list[str]:
        """The columns in use, and the folder's key if it gives the labels."""
        return [*self.names, *([f"{self.folder[0]}="] if self.folder else [])]

    @property
    def names(self) -> list[str]:
        """All columns in use, each once."""
        return list(dict.fromkeys(name for name in (self.image, self.label, self.label_name, self.path) if name))


def find_columns(
    schema: pa.Schema, options: ImageOptions, file: str, folders: Mapping[str, str | None] | None = None
) -> ImageColumns:
    """The columns of a Parquet file, found by name and type; upper and lower case count as equal.

    The image column is the one asked for; else the first of IMAGE_NAMES that holds bytes; else the only one that
    holds bytes. The labels are those asked for; else those of the first of LABEL_NAMES that is a folder's key or a
    column with one number or text per image. The class names for labels `x` are read from the column `x_name`.

    Args:
        schema: the file's schema.
        options: the columns asked for, if any; `label_column` = "" asks for no labels.
        file: the file's name, for messages.
        folders: keys and values of the folders on the file's path, as `partitions` gives them.

    Raises:
        ImagesError: if there is no image column, several could be it, a column asked for is missing or of a wrong
            type, or two columns have the name of one that is used.
    """
    folders = folders or {}
    image = _image_column(schema, options, file)
    found = [name for name in ordered(list(dict.fromkeys([*folders, *schema.names])), LABEL_NAMES) if name != image]
    candidates = [name for name in found if name in folders or _label_kind(schema, name)]
    source = _label_source(schema, options, file, candidates, [*folders, *_label_columns(schema, image)])
    # Where both a folder and a column have the name, the folder gives the labels and the column is compared with it.
    source = next((key for key in folders if key.lower() == (source or "").lower()), source)
    label = _column_of(schema, source)
    text = [name for name in schema.names if is_text(_type(schema, name))]
    label_name = next(iter(ordered(text, [*_names_of(source)])), None) if source else None
    for name in filter(None, (image, label, label_name)):
        _require_single(schema, name, file)
    return ImageColumns(
        image=image,
        label=label,
        label_name=label_name,
        path=next((name for name in ordered(text, PATH_NAMES) if schema.names.count(name) == 1), None),
        class_names=_class_names(schema, label),
        kind=_label_kind(schema, label) if label else None,
        folder=(source, folders[source]) if source is not None and source in folders else None,
        unused=tuple(name for name in candidates if name not in (source, label, label_name)),
        unfit=tuple(f"{name} ({_type(schema, name)})" for name in found if name not in candidates),
    )


def ordered(names: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """Those of the names that are wanted in any case, in the order wanted; of equals, the exact spelling is first.

    >>> ordered(["x", "Label", "target", "label"], ["label", "class", "target"])
    ['label', 'Label', 'target']
    """
    ranks = {name: rank for rank, name in enumerate(wanted)}
    found = [name for name in names if name.lower() in ranks]
    return sorted(found, key=lambda name: (ranks[name.lower()], name not in ranks))


def _names_of(label: str) -> Iterator[str]:
    """What the column of the names of a column's classes may be called, in lower case."""
    word = label.lower()
    for stem in dict.fromkeys((word, word.removesuffix("_id"), word.removesuffix("s"))):
        yield from (f"{stem}_name", f"{stem}_names", f"{stem}_text")


def _type(schema: pa.Schema, name: str) -> pa.DataType:
    """Type of a column; of the first one if there are several of that name."""
    return schema.field(schema.names.index(name)).type


def _require_single(schema: pa.Schema, name: str, file: str) -> None:
    if (n_columns := schema.names.count(name)) > 1:
        raise ImagesError(
            f'{file} has {n_columns} columns named "{name}"; a column in use must have a name of its own. Rename all '
            "but one of them, or name other columns by `image_column` and `label_column`."
        )


def _image_column(schema: pa.Schema, options: ImageOptions, file: str) -> str:
    holds_images = [field.name for field in schema if is_image(field.type)]
    if options.image_column is not None:
        if options.image_column in holds_images:
            return options.image_column
        problem = f'`image_column` = "{options.image_column}" is not a column of image bytes in {file}'
    else:
        labels = {options.label_column, *ordered(holds_images, LABEL_NAMES)}
        others = [name for name in holds_images if name not in labels] or holds_images
        usual = ordered(holds_images, IMAGE_NAMES) or others
        if usual and (len(usual) == 1 or usual[0].lower() in IMAGE_NAMES):
            return usual[0]
        problem = f"{file} has {len(holds_images) or 'no'} columns that may hold the images"
    raise ImagesError(
        f"{problem}; allowed are binary columns and structs with binary `bytes`. Its columns: {_listed(schema)}. "
        "Set `image_column` to one of these."
    )


def _label_source(
    schema: pa.Schema, options: ImageOptions, file: str, candidates: Sequence[str], allowed: Sequence[str]
) -> str | None:
    """The folder's key or the column that gives the labels; None if there is none."""
    asked = options.label_column
    if asked is None:
        return next(iter(candidates), None)
    if asked in (*allowed, ""):
        return asked or None
    raise ImagesError(
        f'`label_column` = "{asked}" is not a column of labels in {file}; allowed are numbers and text. Its '
        f"columns: {_listed(schema)}. Set `label_column` to one of these, or leave it out."
    )


def _label_columns(schema: pa.Schema, image: str) -> list[str]:
    return [name for name in schema.names if name != image and _label_kind(schema, name)]


def _label_kind(schema: pa.Schema, name: str) -> LabelKind | None:
    return label_kind(_type(schema, name))


def _column_of(schema: pa.Schema, source: str | None) -> str | None:
    """The column of labels that has the source's name, the exact spelling first; None if there is none."""
    names = sorted(schema.names, key=lambda name: name != source)
    same = (name for name in names if name.lower() == (source or "").lower())
    return next((name for name in same if _label_kind(schema, name)), None)


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
