"""The files below an address, with their sizes, in an order that depends on their relative paths alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from polyscan.storage import Storage


def listing(storage: Storage) -> dict[str, int | None]:
    """Every file at any depth: its path relative to `storage`, and its size in bytes.

    Hidden files and folders (a leading dot) are left out; links on a disk are followed. Anything but a regular file (a
    broken link, a pipe, a link to a folder that contains it) has the size None.

    The order is by path, part by part, so that the files of one folder stay together and folders come in the order
    of their names (in plain text order `a-b/1.jpg` would come before `a/1.jpg`).
    """
    files = _local(storage.fs, storage.root, frozenset()) if storage.is_local else _remote(storage)
    sizes = {path.removeprefix(storage.root).lstrip("/"): size for path, size in files}
    names = sorted(sizes, key=lambda name: name.split("/"))
    return {name: sizes[name] for name in names if not any(part.startswith(".") for part in name.split("/"))}


def printable(name: str) -> str:
    """`name` as valid text: bytes of a file name that are not UTF-8 become question marks."""
    return name.encode("utf-8", "replace").decode("utf-8")


def _remote(storage: Storage) -> Iterator[tuple[str, int | None]]:
    """Files of an object store, from a single listing."""
    with storage.asking():
        storage.fs.invalidate_cache()
        files: dict[str, Any] = storage.fs.find(storage.root, detail=True)
    for path, info in files.items():
        if not path.endswith("/"):  # an empty object that stands for a folder
            yield str(path), int(info.get("size") or 0)


def _local(fs: Any, top: str, parents: frozenset[str]) -> Iterator[tuple[str, int | None]]:
    """Files of a disk; `parents` are the real paths of the folders that were entered on the way to `top`."""
    parents |= {os.path.realpath(top)}
    for path, info in fs.find(top, detail=True).items():
        if info["type"] == "file":
            yield path, int(info["size"])
        elif info["islink"] and os.path.isdir(path):
            target = os.path.realpath(path)
            is_loop = target in parents or os.path.realpath(os.path.dirname(path)).startswith(target + os.sep)
            yield from [(path, None)] if is_loop else _local(fs, path, parents)
        else:
            yield path, os.path.getsize(path) if os.path.isfile(path) else None
