"""The small files of a results folder: written atomically, read safely, and reported once if they are damaged."""

from __future__ import annotations

import contextlib
import json
import logging
import re
import uuid
from collections.abc import Sequence
from typing import Any

from polyscan.errors import JobError
from polyscan.run.integrity import excerpt, sweep, unwritable, writing
from polyscan.storage import Storage, printable

log = logging.getLogger("polyscan.run")

ATTEMPTS = 3
"""How often a file is written, since another scan's clean-up may delete it half written."""


class Files:
    """The files of one results folder.

    Args:
        storage: the folder.
    """

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self._warned: set[str] = set()

    def put(self, name: str, content: bytes) -> None:
        """Writes a whole file or nothing.

        Raises:
            JobError: if the folder can't be written: its disk is full, or it is read-only or another user's.
        """
        with writing(self.storage.address):
            for is_last in (*[False] * (ATTEMPTS - 1), True):
                try:
                    return self.storage.put(name, content)
                except FileNotFoundError:  # another scan of this run has cleaned up, or removed an empty folder
                    if is_last:
                        raise

    def content(self, name: str) -> bytes | None:
        """Bytes of a file; None if it does not exist, or the results folder itself is a file."""
        try:
            return self.storage.read(name)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def json(self, name: str) -> Any:
        """Content of a JSON file; None if it does not exist or is damaged, of which a warning is logged once."""
        content = self.content(name)
        with contextlib.suppress(ValueError):
            return json.loads(content) if content is not None else None
        self.warn(name, f"{name} is not JSON ({excerpt(content or b'')}); it is ignored")
        return None

    def warn(self, name: str, fault: object) -> None:
        """Logs once what is wrong with a file."""
        if name not in self._warned:
            self._warned.add(name)
            log.warning("%s", fault)

    def drop(self, name: str) -> None:
        """Deletes a file that holds no results; if that fails, or another scan was faster, nothing is lost."""
        with contextlib.suppress(OSError):
            self.storage.remove(name)

    def clear(self, folder: str, name: re.Pattern[str]) -> None:
        """Deletes the files right in a folder that are named as polyscan names them, then the folder if it is empty.

        A run may lie in a folder that holds a user's own files.

        Raises:
            StoreError: if an object store did not delete all of them.
        """
        known = [file for file in self.storage.files(folder) if name.fullmatch(file.removeprefix(f"{folder}/"))]
        self.storage.remove_all(known)
        self.storage.remove_if_empty(folder)

    def below(self, folder: str) -> list[str]:
        """Names of the files below a folder; empty if it disappears meanwhile."""
        with contextlib.suppress(OSError):
            return self.storage.files(folder)
        return []

    def require_writable(self) -> None:
        """Raises a JobError if nothing can be written, or the folder has a name that Arrow can't read files from."""
        if (shown := printable(self.storage.address)) != self.storage.address:
            raise JobError(f"{shown} can't be the results folder: its path must be valid UTF-8. Use another --run.")
        trial = f".writable.{uuid.uuid4().hex}"  # a unique name: another scan may try at the same moment
        try:
            self.put(trial, b"polyscan")
            self.storage.remove(trial)
        except OSError as error:
            raise JobError(unwritable(self.storage.address, error)) from error

    def clean_up(self, folders: Sequence[str]) -> int:
        """Deletes files that killed workers left half written in these folders; returns their number."""
        return sweep(self.storage, folders)
