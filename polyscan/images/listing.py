"""The files below an address, in an order that depends on their relative paths alone, and what is left out."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from polyscan.images.left_out import LeftOut, sorted_out
from polyscan.images.names import shown
from polyscan.storage import Storage

# What an object store tells of an object's state, the surest first; names as fsspec's file systems give them.
VERSIONS = (
    *("ETag", "etag", "md5Hash", "content_md5", "crc32c", "CRC", "blob_id", "sha", "sha256", "checksum"),
    *("LastModified", "last_modified", "updated", "mtime", "modified", "modify", "created"),
)


@dataclass(frozen=True, slots=True)  # there may be millions
class FileState:
    """A file as a listing tells it.

    Args:
        size: in bytes; None for anything but a regular file.
        stamp: see `ImageSource.stamps`.
    """

    size: int | None
    stamp: str


@dataclass(frozen=True)
class Listing:
    """The files of a folder in order, by path relative to it, and what else lies there."""

    files: Mapping[str, FileState]
    left_out: LeftOut

    def stamps(self) -> dict[str, str]:
        """Each file's stamp by its printable name."""
        return {shown(name): state.stamp for name, state in self.files.items()}


def listing(storage: Storage) -> Listing:
    """Every file at any depth that may hold images.

    Hidden files and folders (a leading dot) are left out; links on a disk are followed, but no folder is entered twice,
    however many links lead to it. Anything but a regular file (a
    broken link, a pipe, a link to a folder that contains it) has the size None. What else is left out, and named, is
    told in `left_out`.

    The order is by path, part by part, so that the files of one folder stay together and folders come in the order
    of their names (in plain text order `a-b/1.jpg` would come before `a/1.jpg`).

    Raises:
        ImagesError: if the folder is the results folder of a scan.
    """
    states, again = _visible(storage)
    kept, left_out = sorted_out(storage, list(states))
    return Listing({name: states[name] for name in kept}, replace(left_out, again=again))


def stamps_below(storage: Storage) -> dict[str, str]:
    """Stamp of every file at any depth, images or not, by path; hidden files and results folders don't count.

    Raises:
        ImagesError: if the folder is the results folder of a scan.
    """
    states, _ = _visible(storage)
    kept, left_out = sorted_out(storage, list(states))
    return {name: states[name].stamp for name in (*kept, *left_out.side_files)}


def _visible(storage: Storage) -> tuple[dict[str, FileState], tuple[str, ...]]:
    """State of every file that is not hidden, by path, in order; and the links to folders that were entered already."""
    walk = _Walk(storage.fs, storage.root) if storage.is_local else None
    states = {_relative(path, storage.root): state for path, state in (walk.files if walk else _remote(storage))}
    names = sorted(states, key=lambda name: name.split("/"))
    again = sorted(_relative(path, storage.root) for path in (walk.again if walk else ()))
    return {name: states[name] for name in names if not _is_hidden(name)}, tuple(again)


def state_of_file(storage: Storage) -> FileState:
    """State of a storage that is itself a single file."""
    with storage.asking():
        info: dict[str, Any] = storage.fs.info(storage.root)
    return _stat_state(info) if storage.is_local else _object_state(info)


def _remote(storage: Storage) -> Iterator[tuple[str, FileState]]:
    """Files of an object store, from a single listing."""
    with storage.asking():
        storage.fs.invalidate_cache()
        files: dict[str, Any] = storage.fs.find(storage.root, detail=True)
    for path, info in files.items():
        if not path.endswith("/"):  # an empty object that stands for a folder
            yield str(path), _object_state(info)


def _object_state(info: Mapping[str, Any]) -> FileState:
    size = int(info.get("size") or 0)
    version = next((info[name] for name in VERSIONS if info.get(name)), "")
    return FileState(size, f"{size} {version}".rstrip())


def _stat_state(info: Mapping[str, Any]) -> FileState:
    """State of a file on a disk; `created` is fsspec's name for the time of the last change of the file's record.

    It tells files that were replaced by a copy that keeps size and time of the original.
    """
    times = (round(float(info[name]) * 1e9) for name in ("mtime", "created"))  # in ns
    return FileState(int(info["size"]), " ".join(map(str, (int(info["size"]), *times))))


def stamp_of_path(path: str) -> str:
    """Stamp of a file on a disk, links followed; "" if it is missing."""
    return _path_state(path).stamp


def _path_state(path: str) -> FileState:
    """State of the file that a path or link leads to; anything but a file has none."""
    if not os.path.isfile(path):
        return FileState(None, "")
    stat = os.stat(path)
    return _stat_state({"size": stat.st_size, "mtime": stat.st_mtime, "created": stat.st_ctime})


class _Walk:
    """The files of a folder on a disk, links followed, each folder entered once; the order depends on names alone.

    Folders that lie in `root` itself come before those that links lead to, so a link never takes their images away.
    """

    def __init__(self, fs: Any, root: str) -> None:
        self.files: list[tuple[str, FileState]] = []
        self.again: list[str] = []  # links and folders that are entered elsewhere
        self._fs, self._root = fs, root
        self._entered: set[str] = set()  # real paths
        self._links: deque[str] = deque()
        self._enter(root)
        while self._links:
            self._follow(self._links.popleft())

    def _follow(self, link: str) -> None:
        target = os.path.realpath(link)
        if (os.path.realpath(os.path.dirname(link)) + os.sep).startswith(target.rstrip(os.sep) + os.sep):
            self.files.append((link, FileState(None, "")))  # a folder that contains it
        elif target in self._entered:
            self.again.append(link)
        else:
            self._enter(link)

    def _enter(self, top: str) -> None:
        """Takes the files below a folder, and leaves links to folders for later."""
        real_top = os.path.realpath(top)
        skipped: tuple[str, ...] = ()
        self._entered.add(real_top)
        for path, info in self._fs.find(top, detail=True, withdirs=True).items():  # sorted, so folders come first
            if path == top or path.startswith(skipped) or _is_hidden(_relative(path, self._root)):
                continue
            if info["type"] == "directory":
                real = os.path.join(real_top, os.path.relpath(path, top))
                if real in self._entered:
                    self.again.append(path)
                    skipped += (f"{path}/",)
                self._entered.add(real)
            elif info["islink"] and os.path.isdir(path):
                self._links.append(path)
            else:
                is_plain = info["type"] == "file" and not info["islink"]
                self.files.append((path, _stat_state(info) if is_plain else _path_state(path)))


def _relative(path: str, root: str) -> str:
    return path.removeprefix(root).lstrip("/")


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/"))
