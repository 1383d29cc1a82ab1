"""Names of images in tables, and lists of names for messages."""

from __future__ import annotations

import re
from collections.abc import Sequence

from polyscan.storage import printable

MOST_NAMED = 3
# A backslash of the name itself that reads like what `printable` writes for a stray byte, or like an escaped backslash.
LIKE_AN_ESCAPE = re.compile(r"\\(?=x(?:[89a-f][0-9a-f]|5c))")


def shown(name: str) -> str:
    r"""A file's or class's name as valid text; unlike in two files of one source.

    >>> print(shown(b"caf\xe9".decode("utf-8", "surrogateescape")), shown(r"caf\xe9"), shown(r"a\b"))
    caf\xe9 caf\x5cxe9 a\b
    """
    return printable(LIKE_AN_ESCAPE.sub(lambda _: r"\x5c", name))


def some(names: Sequence[str]) -> str:
    """The first few of the names, for a message.

    >>> some(["a", "b", "c", "d"])
    'a, b, c ...'
    """
    return ", ".join(map(shown, names[:MOST_NAMED])) + (" ..." if len(names) > MOST_NAMED else "")
