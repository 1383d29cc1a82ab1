"""A folder of files that are whole or not there."""

from __future__ import annotations

import contextlib
import os
import re
import uuid
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

from fsspec.implementations.local import LocalFileSystem

from polyscan.errors import StoreError
from polyscan.storage.store_errors import check_bucket, explained, is_from_a_store
from polyscan.storage.urls import opened, speaks_s3

ASIDE = re.compile(r"\..+\.[0-9a-f]{32}")
ASIDE_DEPTH = 3
"""Depth of the folders that a scan writes to."""
LARGEST_PUT = 5 * 2**30
"""Bytes that S3 accepts in one request; larger files are sent in parts, but still appear as a whole."""


class Storage:
    """A folder, given by any address that fsspec knows (`runs/digits`, `s3://bucket/runs/digits`).

    Raises:
        StoreError: if the address is invalid or holds a secret; from any method, if an object store refuses, or still
            doesn't answer after several attempts.
        InstallError: if the package for its protocol is missing.
    """

    def __init__(self, address: str) -> None:
        fs, root = opened(address)
        self.fs = fs
        self.root = str(root).rstrip("/") or "/"
        self.is_local = isinstance(self.fs, LocalFileSystem)
        self.address = self.root if self.is_local else str(self.fs.unstrip_protocol(self.root))
        self._is_s3 = speaks_s3(self.fs)

    def is_same(self, other: Storage) -> bool:
        """Whether both are the same folder, also by way of links."""
        if self.is_local and other.is_local:
            return os.path.realpath(self.root) == os.path.realpath(other.root)
        return self.address == other.address

    def holds(self, other: Storage, name: str = "") -> bool:
        """Whether another storage is this folder, or `name` in it, or lies inside, also by way of links."""
        if self.is_local and other.is_local:
            mine, its = os.path.realpath(self.path(name)), os.path.realpath(other.root)
        elif self.is_local != other.is_local:
            return False
        else:
            mine, its = str(self.fs.unstrip_protocol(self.path(name))), other.address
        return f"{its}/".startswith(f"{mine.rstrip('/')}/")

    def path(self, name: str = "") -> str:
        """Full path of `name`, as the file system takes it.

        Raises:
            StoreError: if the name leads out of this folder.
        """
        if name.startswith("/") or ".." in name.split("/"):
            raise StoreError(f'"{name}" leads out of {self.address}; paths must stay inside this folder')
        return f"{self.root}/{name}" if name else self.root

    @contextmanager
    def asking(self) -> Generator[None]:
        """Context for calls of the file system: exceptions of an object store become a StoreError that explains them.

        The FileNotFoundError of a missing file is passed on, and so are all exceptions of a disk.
        """
        if self.is_local:
            yield
            return
        try:
            if self._is_s3:
                check_bucket(self.root.partition("/")[0])
            yield
        except Exception as error:
            if not is_from_a_store(error):
                raise
            raise StoreError(f"{self.address} {explained(error)}") from error

    def put(self, name: str, content: bytes, *, is_durable: bool = True) -> None:
        """Writes the whole file or nothing; an older file of that name is replaced.

        Args:
            name: relative to this folder.
            content: all bytes of the file.
            is_durable: whether the file survives a power cut right after the call; pages that can be drawn again
                don't need this.
        """
        if not self.is_local:
            at_once = {"chunksize": LARGEST_PUT} if self._is_s3 else {}
            with self.asking():
                self.fs.pipe_file(self.path(name), content, **at_once)
            return
        target = Path(self.path(name))
        target.parent.mkdir(parents=True, exist_ok=True)
        _write_and_rename(target, content, is_durable=is_durable)
        if is_durable:
            _flush_folder(target.parent)

    def link(self, name: str, source: Storage) -> None:
        """Puts another storage's file here under the same name: as a hard link if possible, else as a copy.

        Files are replaced and never changed, so neither storage can alter a shared file for the other.

        Raises:
            FileNotFoundError: if the source has no file of that name.
        """
        if self.is_local and source.is_local and _is_linked(Path(source.path(name)), Path(self.path(name))):
            return
        if self.fs == source.fs and not self.is_local:
            with self.asking():
                self.fs.cp_file(source.path(name), self.path(name))  # inside the object store, without a download
            return
        self.put(name, source.read(name))

    def read(self, name: str) -> bytes:
        """Content of a file.

        Raises:
            FileNotFoundError: if there is no file of that name.
        """
        with self.asking():
            return cast("bytes", self.fs.cat_file(self.path(name)))

    @contextmanager
    def open(self, name: str) -> Generator[IO[bytes]]:
        """Opens a file for reading at any position; an object store sends only the bytes that are read."""
        with self.asking(), self.fs.open(self.path(name), "rb") as file:
            yield cast("IO[bytes]", file)

    def exists(self, name: str = "") -> bool:
        """Whether there is a file or folder of that name."""
        with self.asking():
            return bool(self.fs.exists(self.path(name)))

    def is_file(self, name: str = "") -> bool:
        """Whether `name` is a file."""
        with self.asking():
            try:  # fsspec's own `isfile` returns False for a refused key
                return bool(self.fs.info(self.path(name))["type"] == "file")
            except (FileNotFoundError, NotADirectoryError):
                return False

    def is_dir(self, name: str = "") -> bool:
        """Whether `name` is a folder."""
        with self.asking():
            return bool(self.fs.isdir(self.path(name)))

    def size(self, name: str) -> int:
        """Size of a file in bytes."""
        with self.asking():
            return int(self.fs.size(self.path(name)) or 0)

    def files(self, folder: str = "") -> list[str]:
        """All files below `folder`, at any depth, as sorted names relative to this storage, without hidden ones."""
        if self.is_local and not self.exists(folder):
            return []
        names = sorted(path[len(self.root) + 1 :] for path in self._paths(folder))
        return [name for name in names if not any(part.startswith(".") for part in name.split("/"))]

    def sizes(self, folder: str = "") -> dict[str, int]:
        """Size in bytes of each file below `folder`, by name; includes hidden files."""
        if self.is_local and not self.exists(folder):
            return {}
        with self.asking():
            self.fs.invalidate_cache()
            files: dict[str, Any] = self.fs.find(self.path(folder), detail=True)
        return {str(path)[len(self.root) + 1 :]: int(info["size"]) for path, info in files.items()}

    def asides(self) -> dict[str, float]:
        """Temporary files of writes that are running or were interrupted, with the time of the last change of each.

        An object store has none.
        """
        if not self.is_local or not self.exists():
            return {}
        files: dict[str, Any] = self.fs.find(self.root, maxdepth=ASIDE_DEPTH, detail=True)
        times = {str(path)[len(self.root) + 1 :]: float(info["mtime"]) for path, info in files.items()}
        return {name: time for name, time in times.items() if ASIDE.fullmatch(name.rsplit("/", 1)[-1])}

    def _paths(self, folder: str) -> list[str]:
        """Full paths of all files below `folder`."""
        with self.asking():
            self.fs.invalidate_cache()
            return [str(path) for path in cast("Sequence[str]", self.fs.find(self.path(folder)))]

    def remove(self, name: str) -> None:
        """Deletes a file or a folder, if it exists.

        Raises:
            StoreError: if an object store did not delete all of it.
        """
        if not self.is_local:
            self._remove_objects(name)
        elif self.exists(name):
            with contextlib.suppress(FileNotFoundError):  # another process deleted it first
                self.fs.rm(self.path(name), recursive=True)

    def remove_all(self, names: Sequence[str]) -> None:
        """Deletes these files; an object store in as few requests as it allows.

        Raises:
            StoreError: if an object store did not delete all of them.
        """
        if not self.is_local:
            return self._remove_paths([self.path(name) for name in names])
        for name in names:
            Path(self.path(name)).unlink(missing_ok=True)

    def remove_if_empty(self, folder: str) -> None:
        """Deletes a folder of a disk if nothing is in it; an object store has no empty folders."""
        if self.is_local:
            with contextlib.suppress(OSError):  # not empty, or not there
                os.rmdir(self.path(folder))

    def _remove_objects(self, name: str) -> None:
        """Deletes a file, or all objects whose names begin with the folder's name."""
        if Path(name).suffix:  # a file; deleting a missing object is not an error
            with self.asking(), contextlib.suppress(FileNotFoundError):
                self.fs.rm_file(self.path(name))
            return
        self._remove_paths(self._paths(name))

    def _remove_paths(self, paths: Sequence[str]) -> None:
        if not paths:
            return
        with self.asking(), contextlib.suppress(FileNotFoundError):  # another process deleted it first
            self.fs.rm(list(paths))
        folders = {path.rpartition("/")[0].removeprefix(self.root).lstrip("/") for path in paths}
        left = set(paths).intersection(path for folder in folders for path in self._paths(folder))
        if left:  # a bulk delete doesn't report the objects that were refused
            raise StoreError(f"{self.address} does not delete {min(left)}; check that the credentials may delete there")


def _temporary(target: Path) -> Path:
    """A new temporary name in the folder of a file, as ASIDE matches them."""
    return target.with_name(f".{target.name}.{uuid.uuid4().hex}")


def _write_and_rename(target: Path, content: bytes, *, is_durable: bool) -> None:
    aside = _temporary(target)
    try:
        with open(aside, "wb") as file:
            file.write(content)
            file.flush()
            if is_durable:
                os.fsync(file.fileno())
        os.replace(aside, target)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def _flush_folder(folder: Path) -> None:
    """Flushes a folder, which makes a rename in it durable; not every file system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _is_linked(source: Path, target: Path) -> bool:
    """Makes `target` a hard link to `source`; False if that is not possible."""
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = _temporary(target)
    try:
        os.link(source, aside)
        os.replace(aside, target)
    except OSError:  # another disk, or a file system without links
        return False
    finally:
        aside.unlink(missing_ok=True)  # renaming does nothing if both names are already links to the same file
    return True
