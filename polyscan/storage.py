"""The only place that touches files: a folder on disk or on an object store, through fsspec.

Law: a file is either whole or not there. On a disk it is written aside, flushed and renamed; on an object store it
is one PUT. What an object store is asked is asked again for a while where it doesn't answer; nothing that it was asked
before is remembered, because other processes write there, too.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import threading
import uuid
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

import fsspec
from fsspec.config import conf
from fsspec.implementations.local import LocalFileSystem

from polyscan.errors import InstallError, StoreError

S3 = ("s3", "s3a")
PACKAGES = {
    **dict.fromkeys(S3, "s3fs"),
    **dict.fromkeys(("gs", "gcs"), "gcsfs"),
    **dict.fromkeys(("az", "abfs", "abfss"), "adlfs"),
    "hf": "huggingface_hub",
}
"""What brings a protocol along that fsspec alone doesn't speak."""

ATTEMPTS = 6
"""Of each request, with pauses drawn from 0 to 1, 2, 4, 8, 16 s: half a minute on average, where AWS_MAX_ATTEMPTS says
nothing else. "legacy" is the retry mode whose pauses no other setting shrinks and which has no budget that runs dry."""
ROUNDS = 2
"""Of attempts: a connection that breaks in the middle of an answer is known to nobody but s3fs."""
LARGEST_PUT = 5 * 2**30
"""Bytes that S3 takes in one request; above, it is parts, which appear as one file as well."""
HASTE: dict[str, Any] = {
    "connect_timeout": 3,
    "read_timeout": 3,
    "retries": {"mode": "legacy", "total_max_attempts": 2},
}
"""Of the first request of all: an address that is wrong should be known at once."""

PASSWORD = re.compile(r"(://)[^/@:\s]*:(?!:|\d+(?:/|$))[^@\s]*(?=@)")
SIGNATURE = re.compile(
    r"([?&](?:[\w.-]*(?:signature|token|secret|password|credential|accesskey)[\w.-]*|sig|key)=)[^&\s\"']+",
    re.IGNORECASE,
)

# Where exceptions of object stores are from; fsspec passes them on as they are.
FOREIGN = frozenset(("aiobotocore", "aiohttp", "azure", "botocore", "fsspec", "gcsfs", "google", "requests", "s3fs"))


class Storage:
    """A folder, given by any address that fsspec knows (`runs/digits`, `s3://bucket/runs/digits`).

    Raises:
        StoreError: if the address is none, or holds a secret; from any method, if an object store refuses or doesn't
            answer in a while.
        InstallError: if a package is missing that speaks its protocol.
    """

    def __init__(self, address: str) -> None:
        fs, root = _opened(address)
        self.fs = fs
        self.root = str(root).rstrip("/") or "/"
        self.is_local = isinstance(self.fs, LocalFileSystem)
        self.address = self.root if self.is_local else str(self.fs.unstrip_protocol(self.root))
        self._is_s3 = bool(set(S3) & set(_protocols(self.fs)))

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
                _greet(self.root)
            yield
        except Exception as error:
            if not _is_from_a_store(error):
                raise
            raise StoreError(f"{self.address} {_explained(error)}") from error

    def put(self, name: str, content: bytes) -> None:
        """Writes the whole file or nothing; an older file of that name is replaced."""
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

    def check_writable(self) -> None:
        """Writes and deletes a small file.

        Raises:
            OSError: if that can't be done.
        """
        self.put("writable", b"polyscan")
        self.remove("writable")


# ---- addresses -----------------------------------------------------------------------------------------------------


def masked(text: str) -> str:
    """The text with the passwords and signatures of all addresses in it blotted out.

    >>> masked("https://me:pass@host/x.parquet?sig=abc&n=1")
    'https://***@host/x.parquet?sig=***&n=1'
    """
    return SIGNATURE.sub(r"\1***", PASSWORD.sub(r"\1***", text))


def _opened(address: str) -> tuple[Any, str]:
    """The file system of an address and the place in it.

    Raises:
        StoreError: if it is no address, or holds a password or a signature: runs and logs tell where they were made.
        InstallError: if a package is missing.
    """
    if masked(address) != address:
        raise StoreError(
            f"{masked(address)} holds a secret, which would stand in run.json, job.toml and logs; leave it out, and "
            "give credentials by the environment (AWS_ACCESS_KEY_ID, AWS_PROFILE), by FSSPEC_* variables or by a role"
        )
    protocol = address.partition("://")[0].rpartition("::")[2]
    try:
        fs, root = cast("tuple[Any, str]", fsspec.core.url_to_fs(address, **_options(address)))
    except ImportError as error:
        package = PACKAGES.get(protocol)
        raise InstallError(
            f"{address} can't be opened: {error}; `pip install {package}` on every machine that works at the run"
            if package
            else f"{address} can't be opened: {error}; install that on every machine that works at the run"
        ) from error
    except ValueError as error:
        raise StoreError(
            f"{address} is no address: {error}; allowed are a folder on this machine, s3://BUCKET/FOLDER, and whatever "
            "else fsspec knows"
        ) from error
    if set(S3) & set(_protocols(fs)):
        fs.retries = ROUNDS
        if not str(root).strip("/"):
            raise StoreError(f"{address} names no bucket; write s3://BUCKET/FOLDER")
    return fs, root


def _protocols(fs: Any) -> tuple[str, ...]:
    return (fs.protocol,) if isinstance(fs.protocol, str) else tuple(fs.protocol)


def _options(address: str) -> dict[str, Any]:
    """What S3 is spoken to with, unless fsspec's own configuration (FSSPEC_S3_*) says otherwise.

    Nothing is remembered of what lies there, a file is one GET, and of an open file only what is read is sent.
    """
    protocol = next((name for name in S3 if f"{name}://" in address), None)
    if protocol is None:
        return {}
    attempts = int(os.environ.get("AWS_MAX_ATTEMPTS") or ATTEMPTS)
    ours: dict[str, Any] = {
        "use_listings_cache": False,
        "max_concurrency": 1,
        "default_cache_type": "none",
        "default_fill_cache": False,
        "config_kwargs": {"retries": {"mode": "legacy", "total_max_attempts": attempts}},
    }
    theirs = conf.get(protocol, {})
    return {protocol: {name: value for name, value in ours.items() if name not in theirs}}


# ---- what object stores answer -------------------------------------------------------------------------------------

_greeted: set[str] = set()
_greeting = threading.Lock()


def _greet(root: str) -> None:
    """The first request of a process to a bucket is in haste, so that a wrong address is not waited for.

    Raises:
        Exception: whatever the store says against the bucket or the key; that the key may not list is left to whom it
            concerns.
    """
    bucket = root.partition("/")[0]
    with _greeting:
        if bucket in _greeted:
            return
        hasty = fsspec.filesystem("s3", config_kwargs=HASTE, skip_instance_cache=True, use_listings_cache=False)
        hasty.retries = 1
        try:
            hasty.call_s3("list_objects_v2", Bucket=bucket, MaxKeys=1)
        except PermissionError as error:
            if _code(error) != "AccessDenied":
                raise
        _greeted.add(bucket)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _code(error: BaseException) -> str:
    """S3's own word for what was wrong; "" where it said none."""
    answers = [getattr(cause, "response", None) for cause in _causes(error)]
    return next((str(a.get("Error", {}).get("Code", "")) for a in answers if isinstance(a, dict)), "")


def _is_from_a_store(error: Exception) -> bool:
    """Whether the store said it, or the way there; not what has become of damaged bytes, and not a missing file."""
    if isinstance(error, FileNotFoundError):
        return _code(error) == "NoSuchBucket"
    if isinstance(error, OSError):  # Arrow tells of damage by one without a number
        return type(error) is not OSError or error.errno is not None
    return type(error).__module__.partition(".")[0] in FOREIGN


def _explained(error: Exception) -> str:
    """What the store has against it and what to do, without secrets."""
    said = masked(" ".join(str(error).split())) or type(error).__name__
    kind = type(error).__name__
    if _code(error) in ("NoSuchBucket", "InvalidBucketName"):
        return f"lies in a bucket that is not there ({said}); make it, or correct the address"
    if "Credentials" in kind or kind in ("ProfileNotFound", "TokenRetrievalError", "UnauthorizedSSOTokenError"):
        return (
            f"is asked without credentials ({said}); set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, "
            "or give this machine a role"
        )
    if isinstance(error, PermissionError):
        return (
            f"refuses ({_code(error) or kind}: {said}); check the credentials, and that they may list, read, write "
            "and delete there"
        )
    lost = (None, errno.EBUSY, errno.EIO, getattr(errno, "EREMOTEIO", errno.EIO))  # None: a library's own
    if not isinstance(error, OSError) or isinstance(error, ConnectionError | TimeoutError) or error.errno in lost:
        return (
            f"doesn't answer ({kind}: {said}); check the network and AWS_ENDPOINT_URL, then run the same command again"
        )
    return f"can't be used ({kind}: {said})"
