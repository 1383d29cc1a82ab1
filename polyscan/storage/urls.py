"""Addresses: the file system behind each, how it is spoken to, and what may not stand in one."""

from __future__ import annotations

import os
import re
from typing import Any, cast

import fsspec
from fsspec.config import conf

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

PASSWORD = re.compile(r"(://)[^/@:\s]*:(?!:|\d+(?:/|$))[^@\s]*(?=@)")
SIGNATURE = re.compile(
    r"([?&](?:[\w.-]*(?:signature|token|secret|password|credential|accesskey)[\w.-]*|sig|key)=)[^&\s\"']+",
    re.IGNORECASE,
)


def masked(text: str) -> str:
    """The text with the passwords and signatures of all addresses in it blotted out.

    >>> masked("https://me:pass@host/x.parquet?sig=abc&n=1")
    'https://***@host/x.parquet?sig=***&n=1'
    """
    return SIGNATURE.sub(r"\1***", PASSWORD.sub(r"\1***", text))


def refuse_secret(text: str) -> None:
    """Refuses an address, or words with one in them, that holds a password or a signature: they are kept and logged.

    Raises:
        StoreError: if it does; the secret is blotted out.
    """
    if masked(text) != text:
        raise StoreError(
            f"{masked(text)} holds a secret, which would stand in run.json, job.toml and logs; leave it out, and "
            "give credentials by the environment (AWS_ACCESS_KEY_ID, AWS_PROFILE), by FSSPEC_* variables or by a role"
        )


def opened(address: str) -> tuple[Any, str]:
    """The file system of an address and the place in it.

    Raises:
        StoreError: if it is no address, or holds a password or a signature: runs and logs tell where they were made.
        InstallError: if a package is missing.
    """
    refuse_secret(address)
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
    if speaks_s3(fs):
        fs.retries = ROUNDS
        if not str(root).strip("/"):
            raise StoreError(f"{address} names no bucket; write s3://BUCKET/FOLDER")
    return fs, root


def speaks_s3(fs: Any) -> bool:
    """Whether a file system of fsspec is S3's."""
    names = (fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol
    return any(name in S3 for name in names)


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
