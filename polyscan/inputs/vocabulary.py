"""The words of `embed.vocabulary`: a text file in UTF-8, one concept per line."""

from __future__ import annotations

import codecs
import hashlib
import re
from pathlib import Path

from polyscan.errors import JobError

LONGEST = 300
"""Characters of a concept at most; a text tower reads fewer than these."""
WIDE = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
LINE_END = re.compile("\r\n|\n|\r")


def vocabulary_words(path: str) -> list[str]:
    """The concepts in their order, without blank lines and repetitions; a byte order mark is no part of them.

    Raises:
        JobError: if the file does not exist, is no text in UTF-8, or holds no words; with the line where it is wrong.
    """
    words: dict[str, None] = {}
    for number, line in enumerate(LINE_END.split(_text(path)), start=1):
        word = line.strip()
        if len(word) > LONGEST:
            raise JobError(
                f"`embed.vocabulary` {path}, line {number}, has {len(word)} characters, at most {LONGEST} are allowed; "
                "write one concept per line"
            )
        if any(ord(letter) < ord(" ") and letter != "\t" for letter in word):
            raise JobError(f"`embed.vocabulary` {path}, line {number}, is no text: it holds control characters")
        if word:
            words[word] = None
    if not words:
        raise JobError(f"`embed.vocabulary` {path} holds no words; write one concept per line, or leave it out")
    return list(words)


def vocabulary_digest(path: str) -> str:
    """Sha256 of the vocabulary's bytes; "" without a vocabulary.

    Raises:
        JobError: if the file can't be read.
    """
    return hashlib.sha256(_bytes(path)).hexdigest() if path else ""


def _text(path: str) -> str:
    content = _bytes(path)
    encoding = WIDE.get(content[:2], "utf-8-sig")
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise JobError(
            f"`embed.vocabulary` {path}, line {line}, is not {'UTF-16' if encoding == 'utf-16' else 'UTF-8'} "
            f"(byte {error.object[error.start]:#x}); save it in UTF-8"
        ) from error


def _bytes(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except IsADirectoryError as error:
        raise JobError(f"`embed.vocabulary` {path} is a folder; name a text file, one concept per line") from error
    except (OSError, ValueError) as error:  # ValueError: a path that no file can have
        why = getattr(error, "strerror", None) or error
        raise JobError(f"`embed.vocabulary` {path} can't be read ({why}); name a text file in UTF-8") from error
