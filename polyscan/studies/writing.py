"""What a study writes outside of a run, at an address that the user chose."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from polyscan.errors import JobError


@contextmanager
def writing_out(out: str) -> Generator[None]:
    """Context for writing a file or folder: the errors of the disk become a sentence.

    Args:
        out: its address, as the user gave it.

    Raises:
        JobError: if it can't be written.
    """
    try:
        yield
    except OSError as error:
        raise JobError(f"{out} can't be written ({error.strerror or error}); choose another --out") from error
