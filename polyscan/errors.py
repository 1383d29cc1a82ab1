"""The errors that polyscan raises, and suggestions for their messages.

PolyscanError
├── JobError      the job or the command is wrong: unknown key, too few images, another job's run folder
├── ModelError    the network, its weights or one of its layers can't be used as asked
├── ImagesError   the image source can't be opened (a single bad image is a row in `rejects`, never an error)
├── TableError    a table of the run is missing, damaged or of another schema version
├── StoreError    an object store doesn't answer or refuses, or an address can't be understood
├── InstallError  a package is missing, or two are installed that exclude each other
└── ShardError    one shard of one stage failed; carries the stage, the shard's index and the cause
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

MOST_LISTED = 8


def nearest(name: str, known: Iterable[str]) -> str:
    """The known names most like a wrong one, best first, for an error message; "none" if no name is similar.

    >>> nearest("silhouete", ["gap", "silhouette"]), nearest("x", ["gap"])
    ('silhouette', 'none')
    """
    return ", ".join(difflib.get_close_matches(name, list(known), n=3)) or "none"


def suggestion(name: str, known: Iterable[str]) -> str:
    """The known names most like a wrong one, or the first ones if no name is similar, for an error message.

    >>> suggestion("silhouete", ["gap", "silhouette"]), suggestion("x", ["gap", "cut"])
    ('nearest: silhouette', 'there are: gap, cut')
    """
    names = list(known)
    near = difflib.get_close_matches(name, names, n=3)
    if near:
        return f"nearest: {', '.join(near)}"
    return f"there are: {', '.join(names[:MOST_LISTED])}{' ...' if len(names) > MOST_LISTED else ''}"


class PolyscanError(Exception):
    """Base of all errors for users: the text says what is wrong, what is allowed and what to do."""


class JobError(PolyscanError):
    """The job or the command is wrong."""


class ModelError(PolyscanError):
    """The network, its weights or a layer can't be used as asked."""


class ImagesError(PolyscanError):
    """The image source can't be opened."""


class TableError(PolyscanError):
    """A table of the run is missing, damaged or of another version."""


class StoreError(PolyscanError):
    """An object store doesn't answer, refuses, or has no such bucket; or an address can't be understood."""


class InstallError(PolyscanError):
    """A package is missing, or two are installed that exclude each other."""


class ShardError(PolyscanError):
    """One shard of one stage failed.

    Args:
        stage: the stage's name.
        index: the shard's index in the stage.
        cause: one line on what happened.
    """

    def __init__(self, stage: str, index: int, cause: str) -> None:
        super().__init__(f"shard {index} of `{stage}` failed: {cause}")
        self.stage = stage
        self.index = index
        self.cause = cause

    def __reduce__(self) -> tuple[type[ShardError], tuple[str, int, str]]:
        """Pickled by its arguments, so that a worker can send it to the driver."""
        return ShardError, (self.stage, self.index, self.cause)
