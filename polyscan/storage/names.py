r"""Names of files as valid text, for tables, TOML and messages: a byte that is not UTF-8 is written as `\xff`."""

from __future__ import annotations

import re

STRAY_BYTE = re.compile("[\udc80-\udcff]")  # how Python holds a byte of a file name that is not UTF-8
WRITTEN_BYTE = re.compile(r"\\x([89a-f][0-9a-f])")


def printable(name: str) -> str:
    r"""`name` as valid text; names that differ stay unlike.

    >>> print(printable(b"caf\xe9/1.png".decode("utf-8", "surrogateescape")))
    caf\xe9/1.png
    """
    escaped = STRAY_BYTE.sub(lambda match: f"\\x{ord(match[0]) - 0xDC00:02x}", name)
    return escaped.encode("utf-8", "backslashreplace").decode("utf-8")


def from_printable(name: str) -> str:
    r"""The name that `printable` wrote, with the bytes that are not UTF-8.

    >>> from_printable(printable("caf\udce9")) == "caf\udce9"
    True
    """
    return WRITTEN_BYTE.sub(lambda match: chr(0xDC00 + int(match[1], 16)), name)
