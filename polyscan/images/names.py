"""Lists of names for messages."""

from __future__ import annotations

from collections.abc import Sequence

from polyscan.storage import printable

MOST_NAMED = 3


def some(names: Sequence[str]) -> str:
    """The first few of the names, for a message.

    >>> some(["a", "b", "c", "d"])
    'a, b, c ...'
    """
    return ", ".join(map(printable, names[:MOST_NAMED])) + (" ..." if len(names) > MOST_NAMED else "")
