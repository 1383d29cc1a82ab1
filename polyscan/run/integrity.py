"""What has happened to a run's files after they were written: damage, and what a killed scan left lying about.

Law: a part is what its done record says, to the byte, or its shard is not done.
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
"""Reading waits for the disk or the network, and hashing needs no lock of Python's: more than one thread pays."""
BLOCK = 2**20
FEW = 16
WRITING_S = 60.0
"""No file takes so long to be written aside; what has lain there for longer was left behind."""
UNWRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}
"""What ails the folder rather than a file of it: no other shard can be filed either."""


@dataclass(frozen=True)
class Fault:
    """A file of a run that is not what it was.

    Args:
        file: its name in the run.
        stage: whose it is.
        shard: which shard's.
        what: what is wrong, with what was expected and what was found.
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
    """How much was read again to see whether it is what was written."""

    parts: int = 0
    bytes: int = 0
    faults: int = 0
    seconds: float = 0.0

    def __str__(self) -> str:
        """In words."""
        found = f"{self.faults} damaged" if self.faults else "all as they were written"
        return f"{self.parts} parts, {self.bytes / 1e6:.1f} MB, checked in {self.seconds:.1f} s: {found}"


def faults_of(storage: Storage, records: Iterable[Done], *, hashed: bool, check: IntegrityCheck) -> list[Fault]:
    """Every part that is gone, of another size or, if hashed, of other bytes than its done record says.

    Args:
        storage: where they lie.
        records: whose parts are looked at.
        hashed: whether their bytes are read; else their sizes alone tell.
        check: is told what was read.
    """
    started = time.perf_counter()
    pairs = [(record, part) for record in records for part in record.parts]
    with ThreadPoolExecutor(THREADS) as pool:
        sizes = _sizes(storage, [part.file for _, part in pairs], pool)
        parts = [part for _, part in pairs]
        differences = list(pool.map(lambda p: _difference(storage, p, sizes.get(p.file), hashed=hashed), parts))
    faults = [
        Fault(part.file, record.stage, record.index, difference)
        for (record, part), difference in zip(pairs, differences, strict=True)
        if difference
    ]
    if hashed:
        check.parts += len(pairs)
        check.bytes += sum(part.bytes for _, part in pairs)
        check.faults += len(faults)
        check.seconds += time.perf_counter() - started
    return faults


def _sizes(storage: Storage, files: Sequence[str], pool: ThreadPoolExecutor) -> dict[str, int]:
    """Bytes of those files that are there: few are asked for one by one, many by listing their folders."""
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
        found = _sha256(storage, part.file) if hashed else part.sha256
    except OSError as error:  # a disk that gives back no more what it was given
        return f"can't be read: {part.bytes:,} bytes expected, {error.strerror or error}"
    return "" if found == part.sha256 else f"is not what was written: sha256 {part.sha256} expected, {found} found"


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
    """What is written inside goes to this folder (as it calls itself); one that can't be written is said in a line.

    Raises:
        JobError: if the disk is full, the folder read-only or not ours.
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
        cure = "free some space there, or give it more, and run the same command again"
    else:
        cure = "choose another --run, or mend its permissions and run the same command again"
    return f"the run folder {address} can't be written ({error.strerror or error}); {cure}"


def sweep(storage: Storage, folders: Sequence[str]) -> int:
    """Deletes what was being written when its process was killed, and so never got its name. Local folders alone.

    In the given folders all of it, because who writes there tries again where its file was swept away; beside them
    what has lain for long.

    Returns:
        How many files.
    """
    now = time.time()
    swept = 0
    for name, since in storage.asides().items():
        is_theirs = name.split("/", 1)[0] in folders
        if is_theirs or now - since > WRITING_S:
            with contextlib.suppress(OSError):
                storage.remove(name)
                swept += 1
    return swept
