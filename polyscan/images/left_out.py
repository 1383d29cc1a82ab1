"""What lies in a folder beside images and is not counted: files of the system, notes and tables, results of polyscan.

Law: it is decided by names, and by the content of `run.json`, alone, so every worker leaves out the same, and it is
said what was left out. A file that might be an image is never left out: if it is none, it is a reject.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from polyscan.errors import ImagesError
from polyscan.images.names import some
from polyscan.storage import Storage, printable

SYSTEM_FOLDERS = frozenset(
    ("__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found", "__pycache__")
)
SYSTEM_FILES = frozenset(("thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "icon\r"))
SIDE_SUFFIXES = frozenset(
    (
        *("txt", "md", "rst", "log", "pdf", "doc", "docx", "rtf", "html", "htm", "css", "js"),
        *("json", "jsonl", "ndjson", "csv", "tsv", "xls", "xlsx", "xml", "yaml", "yml", "toml", "ini", "cfg", "db"),
        *("zip", "tar", "gz", "tgz", "bz2", "xz", "7z", "rar"),
        *("py", "pyc", "ipynb", "sh", "m", "npz", "mat", "pkl", "pt", "pth", "h5", "lock", "md5", "sha256"),
    )
)
"""Endings of files that people keep beside images and that are never images."""
RUN_FILE, JOB_FILE = "run.json", "job.toml"


@dataclass(frozen=True)
class LeftOut:
    """Names of what is not counted, relative to the folder.

    Args:
        runs: results folders of polyscan.
        side_files: files whose ending says that they are no images, and files that an operating system leaves.
        again: links to folders, and folders behind links, that are counted elsewhere.
    """

    runs: tuple[str, ...] = ()
    side_files: tuple[str, ...] = ()
    again: tuple[str, ...] = ()

    def and_files(self, names: Iterable[str]) -> LeftOut:
        """The same with further files."""
        return replace(self, side_files=(*self.side_files, *names))

    def __str__(self) -> str:
        """One line; "" if nothing was left out."""
        parts = (
            ("results folders of polyscan", self.runs),
            ("files that are no images by their names", self.side_files),
            ("links to folders that are counted elsewhere", self.again),
        )
        return "; ".join(f"{what} ({len(names)}): {some(names)}" for what, names in parts if names)


def sorted_out(storage: Storage, names: Sequence[str]) -> tuple[list[str], LeftOut]:
    """The names that count, in their order, and the others.

    Raises:
        ImagesError: if the folder itself is the results folder of a scan.
    """
    runs = _runs(storage, names)
    if "" in runs:
        raise ImagesError(
            f"{printable(storage.address)} is itself the results folder of a scan (it holds polyscan's {RUN_FILE}); "
            "allowed is a folder of images, which may contain results folders. Give the folder of the images; if it is "
            f"this one, delete {RUN_FILE}, job.toml and the folders that polyscan wrote there, and scan with another "
            "--run."
        )
    outside = [name for name in names if not any(name.startswith(f"{run}/") for run in runs)]
    side_files = tuple(name for name in outside if is_side_file(name))
    beside = set(side_files)
    return [name for name in outside if name not in beside], LeftOut(tuple(runs), side_files)


def is_side_file(name: str) -> bool:
    """Whether a file is no image by its name.

    >>> [is_side_file(name) for name in ("labels.csv", "__MACOSX/cat/1.jpg", "cat/1.JPG", "cat/1")]
    [True, True, False, False]
    """
    *folders, file = name.lower().split("/")
    _, dot, suffix = file.rpartition(".")
    is_system = file in SYSTEM_FILES or not SYSTEM_FOLDERS.isdisjoint(folders)
    return is_system or (bool(dot) and suffix in SIDE_SUFFIXES)


def _runs(storage: Storage, names: Sequence[str]) -> list[str]:
    """The results folders, without those inside others; "" is the folder itself."""
    runs: list[str] = []
    for folder in sorted(_marked(names), key=lambda folder: (folder.count("/"), folder)):
        if not any(folder.startswith(run) for run in runs) and _is_run(storage, folder, names):
            runs.append(folder)
    return [run.rstrip("/") for run in runs]


def _marked(names: Iterable[str]) -> set[str]:
    """Folders, with a slash at the end, that hold a file which every run holds."""
    split = (name.rpartition("/") for name in names)
    return {folder + slash for folder, slash, file in split if file in (RUN_FILE, JOB_FILE)}


def _is_run(storage: Storage, folder: str, names: Sequence[str]) -> bool:
    """Whether a folder holds a run's manifest or, where that is missing or damaged, its records of done shards."""
    if f"{folder}{JOB_FILE}" in names and any(name.startswith(f"{folder}done/survey/") for name in names):
        return True
    try:
        return f"{folder}{RUN_FILE}" in names and _is_manifest(storage.read(f"{folder}{RUN_FILE}"))
    except (FileNotFoundError, PermissionError, IsADirectoryError):  # a broken link, or not for us to read
        return False


def _is_manifest(content: bytes) -> bool:
    """Whether this is a run's manifest, and not another program's file of the same name."""
    try:
        manifest: Any = json.loads(content)
    except (ValueError, RecursionError):
        return False
    return isinstance(manifest, dict) and "polyscan" in (cast("dict[str, Any]", manifest).get("versions") or ())
