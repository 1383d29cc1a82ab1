"""What an object store says against a request, in words, and the first request of all."""

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
"""Of the first request of all: an address that is wrong should be known at once."""

# Where exceptions of object stores are from; fsspec passes them on as they are.
FOREIGN = frozenset(("aiobotocore", "aiohttp", "azure", "botocore", "fsspec", "gcsfs", "google", "requests", "s3fs"))


@cache
def check_bucket(bucket: str) -> None:
    """Asks a bucket once a process, with little patience, so that a wrong address is known at once.

    Raises:
        Exception: whatever the store says against the bucket or the key, and then it is asked again the next time; a
            key that may not list is left to whoever lists.
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
    """S3's own word for what was wrong; "" where it said none."""
    answers = [getattr(cause, "response", None) for cause in _causes(error)]
    return next((str(a.get("Error", {}).get("Code", "")) for a in answers if isinstance(a, dict)), "")


def is_from_a_store(error: Exception) -> bool:
    """Whether the store said it, or the way there; not what has become of damaged bytes, and not a missing file."""
    if isinstance(error, FileNotFoundError):
        return _code(error) == "NoSuchBucket"
    if isinstance(error, OSError):  # Arrow tells of damage by one without a number
        return type(error) is not OSError or error.errno is not None
    return type(error).__module__.partition(".")[0] in FOREIGN


def explained(error: Exception) -> str:
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
