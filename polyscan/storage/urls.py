"""Addresses: the file system of each, its options, and the refusal of secrets in addresses."""

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
"""Packages for protocols that fsspec alone doesn't support."""

ATTEMPTS = 6
"""Attempts per request, with random pauses of 0 to 1, 2, 4, 8, 16 s: half a minute on average. AWS_MAX_ATTEMPTS
overrides it. In the retry mode "legacy" no other setting shortens the pauses, and there is no retry budget."""
ROUNDS = 2
"""Rounds of attempts: only s3fs notices when a connection breaks in the middle of an answer."""

PASSWORD = re.compile(r"(://)[^/@:\s]*:(?!:|\d+(?:/|$))[^@\s]*(?=@)")
SIGNATURE = re.compile(
    r"([?&](?:[\w.-]*(?:signature|token|secret|password|credential|accesskey)[\w.-]*|sig|key)=)[^&\s\"']+",
    re.IGNORECASE,
)


def masked(text: str) -> str:
    """The text with *** for the passwords and signatures of all addresses in it.

    >>> masked("https://me:pass@host/x.parquet?sig=abc&n=1")
    'https://***@host/x.parquet?sig=***&n=1'
    """
    return SIGNATURE.sub(r"\1***", PASSWORD.sub(r"\1***", text))


def refuse_secret(text: str) -> None:
    """Refuses an address, or text with one in it, that holds a password or a signature: addresses are kept and logged.

    Raises:
        StoreError: if it does; the message has *** for the secret.
    """
    if masked(text) != text:
        raise StoreError(
            f"{masked(text)} holds a secret, which would get into run.json, job.toml and logs; leave it out, and "
            "give credentials by the environment (AWS_ACCESS_KEY_ID, AWS_PROFILE), by FSSPEC_* variables or by a role"
        )


def opened(address: str) -> tuple[Any, str]:
    """The file system of an address and the path in it.

    Raises:
        StoreError: if the address is invalid, or holds a password or a signature, which would get into runs and logs.
        InstallError: if a package is missing.
    """
    refuse_secret(address)
    fs, root = _file_system(address)
    if speaks_s3(fs):
        fs.retries = ROUNDS
        if not str(root).strip("/"):
            raise StoreError(f"{address} names no bucket; write s3://BUCKET/FOLDER")
    return fs, root


def _file_system(address: str) -> tuple[Any, str]:
    try:
        return cast("tuple[Any, str]", fsspec.core.url_to_fs(address, **_options(address)))
    except ImportError as error:
        package = PACKAGES.get(address.partition("://")[0].rpartition("::")[2])
        remedy = f"`pip install {package}`" if package else "install it"
        raise InstallError(
            f"{address} can't be opened: {error}; {remedy} on every machine that works on the run"
        ) from error
    except ValueError as error:
        raise StoreError(
            f"{address} is not a valid address: {error}; allowed are a folder on this machine, s3://BUCKET/FOLDER, and "
            "any other address that fsspec knows"
        ) from error


def speaks_s3(fs: Any) -> bool:
    """Whether a file system of fsspec is S3's."""
    names = (fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol
    return any(name in S3 for name in names)


def _options(address: str) -> dict[str, Any]:
    """Options of S3's file system; fsspec's own configuration (FSSPEC_S3_*) overrides them.

    Listings are not cached, a file is one GET, and from an open file only the bytes that are read are transferred.
    """
    protocol = next((name for name in S3 if f"{name}://" in address), None)
    if protocol is None:
        return {}
    attempts = int(os.environ.get("AWS_MAX_ATTEMPTS") or ATTEMPTS)
    options: dict[str, Any] = {
        "use_listings_cache": False,
        "max_concurrency": 1,
        "default_cache_type": "none",
        "default_fill_cache": False,
        "config_kwargs": {"retries": {"mode": "legacy", "total_max_attempts": attempts}},
    }
    configured = conf.get(protocol, {})
    return {protocol: {name: value for name, value in options.items() if name not in configured}}
