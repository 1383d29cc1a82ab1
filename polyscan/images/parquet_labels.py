"""Labels of the rows of Parquet files: where they come from, their numbers, and the names of the classes.

Law: one number means one class, in all files of a source. Labels that can't be understood are refused when the source
is opened, never read as something else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from polyscan.errors import ImagesError
from polyscan.images.column_types import LabelKind
from polyscan.images.columns import LABEL_NAMES
from polyscan.images.label_values import LabelValue, distinct_rows, is_whole_text, value_of
from polyscan.images.options import ImageOptions
from polyscan.images.parquet_files import ParquetFile, read_columns
from polyscan.storage import Storage

LARGEST = 2**63 - 1
KINDS = {LabelKind.TEXT: "text", LabelKind.WHOLE: "numbers", LabelKind.NUMBERS: "numbers"}


class ParquetLabels:
    """The label of every row, from a folder's name (`label=cat/part-0.parquet`) or a column.

    Whole numbers are taken as they are; below 0 they mean no label, as in Hugging Face's test sets. Numbers with a
    fraction of zero (3.0, as pandas writes whole numbers where some are missing) count as whole. Missing values, NaN
    and empty text mean no label. Text and bytes are numbered by their sorted values over all files, and so are numbers
    if one of them has more than 64 signed bits; then the value is the name. Classes are named by the column of names,
    the Hugging Face footer of any file, or the text itself.

    Args:
        storage: where the files are.
        files: the files, in order.
        options: whether labels were asked for, for `str`.

    Raises:
        ImagesError: if a label is no whole number, files disagree about where labels are, what kind they are or what a
            number means, or a folder's name and the column in it disagree.
    """

    def __init__(self, storage: Storage, files: Sequence[ParquetFile], options: ImageOptions) -> None:
        self._options = options
        self._files = [file for file in files if file.columns.label_source]
        self._n_unlabelled = len(files) - len(self._files)
        self._schema = files[0] if files else None
        _require_one_source(self._files)
        self._folders = _folder_values(self._files)
        self._is_text = self._one_kind() == "text"
        rows = {file.name: self._distinct(storage, file) for file in self._files}
        values = {value for file in self._files for value, _ in rows[file.name]} | set(self._folders.values())
        known = values - {None}
        self._is_numbered = self._is_text or any(isinstance(value, int) and value > LARGEST for value in known)
        if self._is_numbered and not self._is_text:  # then the numbers that need not be read are read, too
            known |= {
                v for file in self._files for v, _ in self._distinct(storage, file, is_needed=True) if v is not None
            }
        self._numbers = {value: number for number, value in enumerate(sorted(known, key=_order))}
        self._names = _class_names(self._files, rows)

    def of(self, file: ParquetFile, cell: Mapping[str, Any]) -> tuple[int | None, str]:
        """Number and name of the class of a row; None and the name in its column, or "", if it has no label."""
        columns = file.columns
        name = str(cell.get(columns.label_name or "") or "")
        if file.name in self._folders:
            value = self._folders[file.name]
        else:
            value = value_of(cell.get(columns.label or ""), columns.label or "", file.shown)
        if value is None:
            return None, name
        name = name or self._names.get(value, "")
        return (self._numbers[value], name or str(value)) if self._is_numbered else (int(value), name)

    def __str__(self) -> str:
        """Where the labels come from, in one line."""
        if not self._files:
            return self._none_found()
        columns = self._files[0].columns
        source = f'folders "{columns.folder[0]}=..."' if columns.folder else f'column "{columns.label}"'
        unused = f"; not used: {_quoted(columns.unused)} (choose by `label_column`)" if columns.unused else ""
        n_files = len(self._files) + self._n_unlabelled
        without = f"; no labels in {self._n_unlabelled} of {n_files} files" if self._n_unlabelled else ""
        return f"{source}, {self._what()}{unused}{without}"

    def _what(self) -> str:
        if self._is_numbered:
            kind = "texts" if self._is_text else "numbers, some beyond 64 bits"
            return f"{len(self._numbers)} different {kind}, numbered in sorted order"
        return f"whole numbers, {len(self._names)} of them named" if self._names else "whole numbers without names"

    def _none_found(self) -> str:
        if self._options.label_column == "" or self._schema is None:
            return "none asked for"
        columns = self._schema.columns
        unfit = f"; not one label per image: {', '.join(columns.unfit)}" if columns.unfit else ""
        has = ", ".join(map(str, self._schema.metadata.schema.to_arrow_schema().names))
        return f"none found (no column or folder is called {', '.join(LABEL_NAMES)}; columns: {has}{unfit})"

    def _one_kind(self) -> str:
        """Whether the labels are "text" or "numbers"; "" if none has a value.

        Raises:
            ImagesError: if they are text in some files and numbers in others.
        """
        kinds: dict[str, ParquetFile] = {}
        for file in self._files:
            kinds.setdefault(self._kind(file), file)
        if {"text", "numbers"} <= set(kinds):
            raise ImagesError(
                f"the labels are text in {kinds['text'].shown} and numbers in {kinds['numbers'].shown}; they must be "
                "of one kind in all files. Give a folder of one kind, or set `label_column`."
            )
        return next((kind for kind in kinds if kind), "")

    def _kind(self, file: ParquetFile) -> str:
        if file.name not in self._folders:
            return KINDS.get(file.columns.kind or LabelKind.NOTHING, "")
        value = self._folders[file.name]
        return "" if value is None else "text" if isinstance(value, str) else "numbers"

    def _distinct(
        self, storage: Storage, file: ParquetFile, *, is_needed: bool = False
    ) -> list[tuple[LabelValue, str]]:
        """The different pairs of label and name in a file's columns; empty where nothing of them has to be read."""
        columns = file.columns
        is_known = columns.kind is LabelKind.WHOLE and file.name not in self._folders
        if columns.label is None or (is_known and columns.label_name is None and not is_needed):
            return []
        names = [columns.label, *([columns.label_name] if columns.label_name else [])]
        pairs = distinct_rows(read_columns(storage, file, names), columns.label, file.shown)
        if file.name not in self._folders:
            return pairs
        value = self._folders[file.name]
        for found, _ in pairs:
            if found is not None and not _agree(found, value):
                raise ImagesError(
                    f'{file.shown}: the folder says {columns.label_source} = "{value}", and its column '
                    f'"{columns.label}" holds "{found}"; they must agree. Move the file, or name another column by '
                    "`label_column`."
                )
        return [(value, name) for _, name in pairs]


def _agree(found: LabelValue, folder: LabelValue) -> bool:
    """Whether a column's label is a folder's: equal as text, or a number that the text is (7 in label=07)."""
    is_equal_number = isinstance(found, int) and isinstance(folder, str) and folder.isdecimal() and int(folder) == found
    return str(found) == str(folder) or is_equal_number


def _order(value: LabelValue) -> tuple[int, str]:
    return (value, "") if isinstance(value, int) else (0, value or "")


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _require_one_source(files: Sequence[ParquetFile]) -> None:
    """Refuses files whose labels are in different places: the same number would mean two things."""
    for file in files:
        first, other = files[0].columns.label_source or "", file.columns.label_source or ""
        if first.lower() != other.lower():
            raise ImagesError(
                f'the labels are in "{first}" in {files[0].shown} and in "{other}" in {file.shown}; they must be in '
                'one place in all files. Set `label_column` to a column that all files have, or to "" for no labels.'
            )


def _folder_values(files: Sequence[ParquetFile]) -> dict[str, LabelValue]:
    """Label of each file that has it from a folder's name: numbers if all are whole numbers without leading zeros."""
    texts = {file.name: file.columns.folder[1] for file in files if file.columns.folder}
    if not all(is_whole_text(text) for text in texts.values() if text):
        return {name: text or None for name, text in texts.items()}
    numbers = {name: int(text) if text else None for name, text in texts.items()}
    return {name: None if number is None or number < 0 else number for name, number in numbers.items()}


Named = tuple[LabelValue, str, ParquetFile]
"""A label, a name that a file gives it, and that file."""


def _class_names(
    files: Sequence[ParquetFile], rows: Mapping[str, Sequence[tuple[LabelValue, str]]]
) -> dict[LabelValue, str]:
    """Name of each label, from the columns of names, else from the footers.

    The two may name the same classes in other words ("tench" and "n01440764"), if one file has both and they don't use
    one name for two labels.

    Raises:
        ImagesError: if a label has two names.
    """
    in_footers = _by_label((value, name, file) for file in files for value, name in enumerate(file.columns.class_names))
    rows_named = [
        (value, name, file) for file in files for value, name in rows[file.name] if value is not None and name
    ]
    in_columns = _by_label(rows_named)
    for value, name, file in rows_named:
        own = file.columns.class_names
        if value in in_footers and (not own or name in own):
            _require_equal(in_footers[value], (value, name, file))
    return {value: name for value, (_, name, _) in {**in_footers, **in_columns}.items()}


def _by_label(named: Iterable[Named]) -> dict[LabelValue, Named]:
    """The first naming of each label; raises an ImagesError if another one differs."""
    first: dict[LabelValue, Named] = {}
    for each in named:
        _require_equal(first.setdefault(each[0], each), each)
    return first


def _require_equal(first: Named, other: Named) -> None:
    value, name, file = other
    if first[1] != name:
        column = f' ("{file.columns.label_name}")' if file.columns.label_name else ""
        raise ImagesError(
            f'label {value} is called "{first[1]}" in {first[2].shown} and "{name}" in {file.shown}; a label must have '
            f"one meaning in all files. Scan the files apart, or set `label_column` to a column of text{column}."
        )
