"""The only place that touches files: a folder on disk or on an object store, through fsspec.

Law: a file is either whole or not there. On a disk it is written aside, flushed and renamed; on an object store it
is one PUT.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, cast

import fsspec
from fsspec.implementations.local import LocalFileSystem


class Storage:
    """A folder, given by any address that fsspec knows (`runs/digits`, `s3://bucket/runs/digits`)."""

    def __init__(self, address: str) -> None:
        fs, root = cast("tuple[Any, str]", fsspec.core.url_to_fs(address))
        self.fs = fs
        self.root = str(root).rstrip("/") or "/"
        self.is_local = isinstance(self.fs, LocalFileSystem)
        self.address = self.root if self.is_local else str(self.fs.unstrip_protocol(self.root))

    def path(self, name: str = "") -> str:
        """Full path of `name`, as the file system takes it."""
        return f"{self.root}/{name}" if name else self.root

    def put(self, name: str, content: bytes) -> None:
        """Writes the whole file or nothing; an older file of that name is replaced."""
        if not self.is_local:
            self.fs.pipe_file(self.path(name), content)
            return
        target = Path(self.path(name))
        target.parent.mkdir(parents=True, exist_ok=True)
        aside = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
        try:
            with open(aside, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(aside, target)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise
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
        if self.fs is source.fs and not self.is_local:
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
        return cast("bytes", self.fs.cat_file(self.path(name)))

    def open(self, name: str) -> IO[bytes]:
        """A file to read from at any place."""
        return cast("IO[bytes]", self.fs.open(self.path(name), "rb"))

    def exists(self, name: str = "") -> bool:
        """Whether there is a file or folder of that name."""
        return bool(self.fs.exists(self.path(name)))

    def is_dir(self, name: str = "") -> bool:
        """Whether `name` is a folder."""
        return bool(self.fs.isdir(self.path(name)))

    def size(self, name: str) -> int:
        """Bytes of a file."""
        return int(self.fs.size(self.path(name)) or 0)

    def files(self, folder: str = "") -> list[str]:
        """All files below `folder`, at any depth, as sorted names relative to this storage; hidden ones left out."""
        if not self.exists(folder):
            return []
        self.fs.invalidate_cache()
        found = cast("Sequence[str]", self.fs.find(self.path(folder)))
        names = sorted(str(path)[len(self.root) + 1 :] for path in found)
        return [name for name in names if not any(part.startswith(".") for part in name.split("/"))]

    def remove(self, name: str) -> None:
        """Deletes a file or a folder; nothing happens where there is none."""
        if self.exists(name):
            self.fs.rm(self.path(name), recursive=True)

    def check_writable(self) -> None:
        """Writes and deletes a small file.

        Raises:
            OSError: if that can't be done.
        """
        self.put("writable", b"polyscan")
        self.remove("writable")
