"""Names of files as valid text."""

from __future__ import annotations

import re
from collections.abc import Sequence

MOST_NAMED = 3
STRAY_BYTE = re.compile("[\udc80-\udcff]")  # how Python holds a byte of a file name that is not UTF-8


def printable(name: str) -> str:
    r"""`name` as valid text: a byte of a file name that is not UTF-8 is written as `\xff`, so that names stay unlike.

    >>> print(printable(b"caf\xe9/1.png".decode("utf-8", "surrogateescape")))
    caf\xe9/1.png
    """
    escaped = STRAY_BYTE.sub(lambda match: f"\\x{ord(match[0]) - 0xDC00:02x}", name)
    return escaped.encode("utf-8", "backslashreplace").decode("utf-8")


def some(names: Sequence[str]) -> str:
    """The first few of the names, for a message.

    >>> some(["a", "b", "c", "d"])
    'a, b, c ...'
    """
    return ", ".join(map(printable, names[:MOST_NAMED])) + (" ..." if len(names) > MOST_NAMED else "")
