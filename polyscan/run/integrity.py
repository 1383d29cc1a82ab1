"""Checks a run's files after they were written: finds damage, and deletes what a killed scan left behind.

Law: a part equals its done record to the byte, or its shard is not done.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import time
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from polyscan.errors import JobError
from polyscan.run.records import Done, Part
from polyscan.storage import Storage

THREADS = 8
"""Reading waits for the disk or the network, and hashing releases Python's lock: several threads are faster."""
BLOCK = 2**20
FEW = 16
WRITING_S = 60.0
"""No temporary file takes longer to be written; older ones were left behind."""
UNWRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}
"""Errors of the folder rather than of one file: no other shard can be written either."""


@dataclass(frozen=True)
class Fault:
    """A damaged or missing file of a run.

    Args:
        file: its name in the run.
        stage: that wrote it.
        shard: that wrote it.
        what: what is wrong, with the expected and the actual value.
    """

    file: str
    stage: str
    shard: int | str
    what: str

    def __str__(self) -> str:
        """One sentence."""
        return f"{self.file} {self.what} (shard {self.shard} of `{self.stage}`)"


@dataclass
class IntegrityCheck:
    """How much was read again to check that it is unchanged."""

    parts: int = 0
    bytes: int = 0
    faults: int = 0
    seconds: float = 0.0

    def __str__(self) -> str:
        """In words."""
        result = f"{self.faults} damaged" if self.faults else "all as they were written"
        return f"{self.parts} parts, {self.bytes / 1e6:.1f} MB, checked in {self.seconds:.1f} s: {result}"


def faults_of(storage: Storage, records: Iterable[Done], *, hashed: bool, check: IntegrityCheck) -> list[Fault]:
    """Every part that is missing, has another size or, if hashed, other bytes than its done record says.

    Args:
        storage: of the run.
        records: whose parts are checked.
        hashed: whether their bytes are read; else only their sizes are compared.
        check: counts what was read.
    """
    started = time.perf_counter()
    pairs = [(record, part) for record in records for part in record.parts]
    parts = [part for _, part in pairs]
    faults = [
        Fault(part.file, record.stage, record.index, difference)
        for (record, part), difference in zip(pairs, _differences(storage, parts, hashed=hashed), strict=True)
        if difference
    ]
    if hashed:
        check.parts += len(parts)
        check.bytes += sum(part.bytes for part in parts)
        check.faults += len(faults)
        check.seconds += time.perf_counter() - started
    return faults


def _differences(storage: Storage, parts: Sequence[Part], *, hashed: bool) -> list[str]:
    """What is wrong with each part; empty if nothing is."""
    with ThreadPoolExecutor(THREADS) as pool:
        sizes = _sizes(storage, [part.file for part in parts], pool)
        return list(pool.map(lambda part: _difference(storage, part, sizes.get(part.file), hashed=hashed), parts))


def _sizes(storage: Storage, files: Sequence[str], pool: ThreadPoolExecutor) -> dict[str, int]:
    """Bytes of the files that exist: a few files are looked up one by one, many by listing their folders."""
    if len(files) <= FEW:
        sizes = pool.map(lambda file: _size(storage, file), files)
        return {file: size for file, size in zip(files, sizes, strict=True) if size is not None}
    return {
        file: size
        for folder in {file.split("/", 1)[0] for file in files}
        for file, size in storage.sizes(folder).items()
    }


def _size(storage: Storage, file: str) -> int | None:
    try:
        return storage.size(file)
    except FileNotFoundError:
        return None


def _difference(storage: Storage, part: Part, size: int | None, *, hashed: bool) -> str:
    if size is None:
        return f"is gone: {part.bytes:,} bytes expected, nothing found"
    if size != part.bytes:
        return f"is not what was written: {part.bytes:,} bytes expected, {size:,} found"
    try:
        digest = _sha256(storage, part.file) if hashed else part.sha256
    except OSError as error:  # a broken disk
        return f"can't be read: {part.bytes:,} bytes expected, {error.strerror or error}"
    return "" if digest == part.sha256 else f"is not what was written: sha256 {part.sha256} expected, {digest} found"


def _sha256(storage: Storage, file: str) -> str:
    digest = hashlib.sha256()
    with storage.open(file) as stream:
        while block := stream.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def excerpt(content: bytes) -> str:
    """The beginning of what should have been JSON, for a message.

    >>> excerpt(b""), excerpt(b"half a reco" * 9)
    ('nothing', '99 bytes that begin with "half a recohalf a reco"')
    """
    if not content:
        return "nothing"
    return f'{len(content)} bytes that begin with "{content[:22].decode(errors="replace")}"'


@contextlib.contextmanager
def writing(address: str) -> Generator[None]:
    """Turns errors of a folder that can't be written into one readable line.

    Args:
        address: of the folder that is written to inside the block.

    Raises:
        JobError: if its disk is full, or the folder is read-only or another user's.
    """
    try:
        yield
    except OSError as error:
        is_elsewhere = error.filename is not None and not str(error.filename).startswith(address)
        if error.errno not in UNWRITABLE or is_elsewhere:
            raise
        raise JobError(unwritable(address, error)) from error


def unwritable(address: str, error: OSError) -> str:
    """What is wrong with the folder, and what to do."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        remedy = "free some space there, or give it more, and run the same command again"
    else:
        remedy = "choose another --run, or fix its permissions and run the same command again"
    return f"the run folder {address} can't be written ({error.strerror or error}); {remedy}"


def sweep(storage: Storage, folders: Sequence[str]) -> int:
    """Deletes temporary files that killed processes left behind. Works on local folders only.

    All of them in these folders, where a writer tries again if its file is deleted; elsewhere only old ones.

    Returns:
        Number of deleted files.
    """
    now = time.time()
    n_deleted = 0
    for name, since in storage.asides().items():
        is_within = name.split("/", 1)[0] in folders
        if is_within or now - since > WRITING_S:
            with contextlib.suppress(OSError):
                storage.remove(name)
                n_deleted += 1
    return n_deleted
