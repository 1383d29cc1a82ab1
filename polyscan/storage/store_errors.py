"""Explains the errors of object stores, and checks a bucket before its first use."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from functools import cache
from typing import Any

import fsspec

from polyscan.storage.urls import masked

HASTE: dict[str, Any] = {
    "connect_timeout": 3,
    "read_timeout": 3,
    "retries": {"mode": "legacy", "total_max_attempts": 2},
}
"""Settings of the first request: a wrong address should be reported at once."""

# Packages whose exceptions object stores raise; fsspec passes them on unchanged.
FOREIGN = frozenset(
    (
        *("aiobotocore", "aiohttp", "azure", "botocore", "fsspec", "gcsfs", "google", "httpcore", "httpx", "httpx2"),
        *("huggingface_hub", "requests", "s3fs"),
    )
)


@cache
def check_bucket(bucket: str) -> None:
    """Sends a bucket one request per process, with short timeouts, so that a wrong address is reported at once.

    Raises:
        Exception: any error of the store about the bucket or the key; then the next call asks again. That the key may
            not list is no error here, but later in the calls that list.
    """
    hasty = fsspec.filesystem("s3", config_kwargs=HASTE, skip_instance_cache=True, use_listings_cache=False)
    hasty.retries = 1
    try:
        hasty.call_s3("list_objects_v2", Bucket=bucket, MaxKeys=1)
    except PermissionError as error:
        if _code(error) != "AccessDenied":
            raise


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _code(error: BaseException) -> str:
    """S3's error code; "" if it gave none."""
    answers = [getattr(cause, "response", None) for cause in _causes(error)]
    return next((str(a.get("Error", {}).get("Code", "")) for a in answers if isinstance(a, dict)), "")


def is_from_a_store(error: Exception) -> bool:
    """Whether an error comes from the store or the network, not from damaged bytes or a missing file."""
    if isinstance(error, FileNotFoundError):
        return _code(error) == "NoSuchBucket"
    if isinstance(error, OSError):  # Arrow raises one without a number for damage
        return type(error) is not OSError or error.errno is not None
    return type(error).__module__.partition(".")[0] in FOREIGN


def explained(error: Exception) -> str:
    """The end of a message about an address: what is wrong and what to do, without secrets."""
    kind = type(error).__name__
    text = masked(" ".join(str(error).split())) or kind
    if _code(error) in ("NoSuchBucket", "InvalidBucketName"):
        return f"is in a bucket that does not exist ({text}); create it, or correct the address"
    if "Credentials" in kind or kind in ("ProfileNotFound", "TokenRetrievalError", "UnauthorizedSSOTokenError"):
        return (
            f"needs credentials ({text}); set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, "
            "or give this machine a role"
        )
    if isinstance(error, PermissionError):
        return (
            f"refuses access ({_code(error) or kind}: {text}); check the credentials, and that they may list, read, "
            "write and delete there"
        )
    if _is_unanswered(error):
        return (
            f"doesn't answer ({kind}: {text}); check the network and AWS_ENDPOINT_URL, then run the same command again"
        )
    return f"can't be used ({kind}: {text})"


def _is_unanswered(error: Exception) -> bool:
    """Whether the request failed on the way, or in a library of the store."""
    if not isinstance(error, OSError) or isinstance(error, ConnectionError | TimeoutError):
        return True
    return error.errno in (None, errno.EBUSY, errno.EIO, getattr(errno, "EREMOTEIO", errno.EIO))  # None: a library's
