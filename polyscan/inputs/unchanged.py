"""Whether images that a run has read are still the same, told by their checksums where their files were written again.

A run keeps each file's stamp (size and times, or an object store's ETag) in `stamps.json.gz`. If all are as they were,
nothing is read. Else only the images of the files that differ are read, and compared with the checksums in the run's
tables; so a folder that was copied or touched goes on, and one whose images were replaced is refused.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator

from polyscan.errors import JobError
from polyscan.images import ImageSource, changed_files, checksums
from polyscan.run import Run

STAMPS = "stamps.json.gz"
TABLES = ("sample", "images", "rejects")
"""Tables with the checksums of images that were read."""


def check_unchanged(run: Run, images: ImageSource, *, every: bool = False) -> None:
    """Compares the images that the run has read with those that are there now.

    Args:
        run: the results folder.
        images: the source as it is now; its list of names and sizes is that of the run.
        every: whether all images are read, not only those of files that were written again.

    Raises:
        JobError: if one has another content; it names the first.
    """
    recorded = _checksums(run)
    if not recorded:
        return
    ids = sorted(recorded) if every else sorted(set(_of_changed_files(run, images)) & set(recorded))
    now = checksums(images, ids)
    changed = [image for image in ids if now[image] != recorded[image]]
    if changed:
        others = f" and {len(changed) - 1} other images have" if len(changed) > 1 else " has"
        raise JobError(
            f"{_path(images, changed[0])}{others} the same name and size as when {run.address} was made, but another "
            "content. Use a new --run, restore the images, or redo the stages with --redo survey."
        )


def note_stamps(run: Run, images: ImageSource) -> None:
    """Records the files' stamps as they are now. Only the driver does so."""
    stamps = dict(images.stamps)
    if stamps != _stamps(run):
        run.files.put(STAMPS, gzip.compress(json.dumps(stamps).encode(), mtime=0))


def _of_changed_files(run: Run, images: ImageSource) -> Iterator[int]:
    for name in changed_files(images, _stamps(run)):
        yield from images.images_of_file(name)


def _stamps(run: Run) -> dict[str, str]:
    """The recorded stamps; none if they are missing or damaged, and then all images are compared."""
    content = run.files.content(STAMPS)
    try:
        return json.loads(gzip.decompress(content)) if content else {}
    except (OSError, EOFError, ValueError):
        return {}


def _checksums(run: Run) -> dict[int, str]:
    """The checksum of each image that a stage has read."""
    found: dict[int, str] = {}
    for table in TABLES:
        rows = run.readable(table, ["image", "checksum"])
        found |= dict(zip(rows["image"].tolist(), rows["checksum"].tolist(), strict=True))
    return found


def _path(images: ImageSource, image: int) -> str:
    paths: Iterable[str] = (entry.path for entry in images.read([image]))
    return next(iter(paths))
