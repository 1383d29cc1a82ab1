"""Files of pages, put into a folder."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


def put(files: Iterable[tuple[str, bytes]], folder: Path) -> Path:
    """Writes each file under its name; gives back the folder."""
    for name, content in files:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder
