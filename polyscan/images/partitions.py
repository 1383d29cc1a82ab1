"""Folders whose names give a value to the files in them, as Hive and Spark write them: `label=cat/part-0.parquet`."""

from __future__ import annotations

from urllib.parse import unquote

from polyscan.images.names import shown

MISSING = "__HIVE_DEFAULT_PARTITION__"


def partitions(name: str) -> dict[str, str | None]:
    """Values by key of the folders on a file's path, decoded; None for a missing value. Of equal keys the last counts.

    >>> partitions("split=train/label=tabby%20cat/part-0.parquet")
    {'split': 'train', 'label': 'tabby cat'}
    """
    pairs = (folder.partition("=") for folder in name.split("/")[:-1])
    return {_decoded(key): None if value == MISSING else _decoded(value) for key, mark, value in pairs if key and mark}


def _decoded(text: str) -> str:
    return shown(unquote(text, errors="surrogateescape"))
