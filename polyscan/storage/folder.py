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
"""So deep lie the results that a scan writes."""
LARGEST_PUT = 5 * 2**30
"""Bytes that S3 takes in one request; above, it is parts, which appear as one file as well."""


class Storage:
    """A folder, given by any address that fsspec knows (`runs/digits`, `s3://bucket/runs/digits`).

    Raises:
        StoreError: if the address is none, or holds a secret; from any method, if an object store refuses or doesn't
            answer in a while.
        InstallError: if a package is missing that speaks its protocol.
    """

    def __init__(self, address: str) -> None:
        fs, root = opened(address)
        self.fs = fs
        self.root = str(root).rstrip("/") or "/"
        self.is_local = isinstance(self.fs, LocalFileSystem)
        self.address = self.root if self.is_local else str(self.fs.unstrip_protocol(self.root))
        self._is_s3 = speaks_s3(self.fs)

    def path(self, name: str = "") -> str:
        """Full path of `name`, as the file system takes it.

        Raises:
            StoreError: if the name leads out of this folder.
        """
        if name.startswith("/") or ".." in name.split("/"):
            raise StoreError(f'"{name}" leads out of {self.address}; allowed are names below it. Who wrote it?')
        return f"{self.root}/{name}" if name else self.root

    @contextmanager
    def asking(self) -> Generator[None]:
        """Around whatever asks the file system: what an object store raises becomes a StoreError in words.

        That there is no such file stays a FileNotFoundError, and what a disk raises is left alone.
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
            name: below this folder.
            content: all of it.
            is_durable: whether a power cut right after leaves it there; what can be drawn again needs no such care.
        """
        if not self.is_local:
            at_once = {"chunksize": LARGEST_PUT} if self._is_s3 else {}
            with self.asking():
                self.fs.pipe_file(self.path(name), content, **at_once)
            return
        target = Path(self.path(name))
        target.parent.mkdir(parents=True, exist_ok=True)
        aside = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
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
        if not is_durable:
            return
        # The rename itself is only durable once the folder is flushed (not every file system can).
        with contextlib.suppress(OSError):
            folder = os.open(target.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def link(self, name: str, source: Storage) -> None:
        """Takes over a file from another storage under its own name: as a hard link where that can be, else a copy.

        Files are replaced and never changed, so what two storages share neither can alter for the other.

        Raises:
            FileNotFoundError: if the source has none of that name.
        """
        if self.is_local and source.is_local and self._linked(Path(source.path(name)), Path(self.path(name))):
            return
        if self.fs == source.fs and not self.is_local:
            with self.asking():
                self.fs.cp_file(source.path(name), self.path(name))  # within the object store, past this machine
            return
        self.put(name, source.read(name))

    @staticmethod
    def _linked(source: Path, target: Path) -> bool:
        target.parent.mkdir(parents=True, exist_ok=True)
        aside = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
        try:
            os.link(source, aside)
            os.replace(aside, target)
        except OSError:  # another disk, or a file system without links
            return False
        finally:
            aside.unlink(missing_ok=True)  # renaming leaves it where both are the same file already
        return True

    def read(self, name: str) -> bytes:
        """Content of a file.

        Raises:
            FileNotFoundError: if there is none of that name.
        """
        with self.asking():
            return cast("bytes", self.fs.cat_file(self.path(name)))

    @contextmanager
    def open(self, name: str) -> Generator[IO[bytes]]:
        """A file to read from at any place; of an object, what is read is all that is sent."""
        with self.asking(), self.fs.open(self.path(name), "rb") as file:
            yield cast("IO[bytes]", file)

    def exists(self, name: str = "") -> bool:
        """Whether there is a file or folder of that name."""
        with self.asking():
            return bool(self.fs.exists(self.path(name)))

    def is_file(self, name: str = "") -> bool:
        """Whether `name` is a file."""
        with self.asking():
            try:  # fsspec's own `isfile` calls a refused key no file
                return bool(self.fs.info(self.path(name))["type"] == "file")
            except (FileNotFoundError, NotADirectoryError):
                return False

    def is_dir(self, name: str = "") -> bool:
        """Whether `name` is a folder."""
        with self.asking():
            return bool(self.fs.isdir(self.path(name)))

    def size(self, name: str) -> int:
        """Bytes of a file."""
        with self.asking():
            return int(self.fs.size(self.path(name)) or 0)

    def files(self, folder: str = "") -> list[str]:
        """All files below `folder`, at any depth, as sorted names relative to this storage; hidden ones left out."""
        if self.is_local and not self.exists(folder):
            return []
        names = sorted(path[len(self.root) + 1 :] for path in self._found(folder))
        return [name for name in names if not any(part.startswith(".") for part in name.split("/"))]

    def sizes(self, folder: str = "") -> dict[str, int]:
        """Bytes of each file below `folder`, by name; hidden ones among them."""
        if self.is_local and not self.exists(folder):
            return {}
        with self.asking():
            self.fs.invalidate_cache()
            found: dict[str, Any] = self.fs.find(self.path(folder), detail=True)
        return {str(path)[len(self.root) + 1 :]: int(about["size"]) for path, about in found.items()}

    def asides(self) -> dict[str, float]:
        """Files that `put` was or is writing, not yet under their names: when each was last written to.

        An object store has none.
        """
        if not self.is_local or not self.exists():
            return {}
        found: dict[str, Any] = self.fs.find(self.root, maxdepth=ASIDE_DEPTH, detail=True)
        names = {str(path)[len(self.root) + 1 :]: float(about["mtime"]) for path, about in found.items()}
        return {name: since for name, since in names.items() if ASIDE.fullmatch(name.rsplit("/", 1)[-1])}

    def _found(self, folder: str) -> list[str]:
        """Full paths of all files below."""
        with self.asking():
            self.fs.invalidate_cache()
            return [str(path) for path in cast("Sequence[str]", self.fs.find(self.path(folder)))]

    def remove(self, name: str) -> None:
        """Deletes a file or a folder; nothing happens where there is none.

        Raises:
            StoreError: if an object store has kept some of it.
        """
        if not self.is_local:
            self._remove_objects(name)
        elif self.exists(name):
            with contextlib.suppress(FileNotFoundError):  # another one was faster
                self.fs.rm(self.path(name), recursive=True)

    def _remove_objects(self, name: str) -> None:
        """A folder is nothing but the objects whose names begin with its own."""
        if Path(name).suffix:  # a file; to delete what is not there is no error
            with self.asking(), contextlib.suppress(FileNotFoundError):
                self.fs.rm_file(self.path(name))
            return
        if found := self._found(name):
            with self.asking(), contextlib.suppress(FileNotFoundError):  # another one was faster
                self.fs.rm(found)
            if left := self._found(name):  # deleting many at once tells of none that was refused
                raise StoreError(f"{self.address} keeps {left[0]} against all deleting; allow its key to delete there")
