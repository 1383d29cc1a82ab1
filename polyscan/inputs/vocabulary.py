"""The words of a vocabulary: a text file in UTF-8, one concept per line, or a table of text vectors."""

from __future__ import annotations

import codecs
import hashlib
import re
from pathlib import Path

from polyscan.errors import JobError, ModelError
from polyscan.vision.text_tables import TextTable, is_text_table, load_text_table

LONGEST = 300
"""Characters of a concept at most; a text tower reads fewer than these."""
WIDE = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
OF_EMBED, OF_NAME = "embed.vocabulary", "name.vocabulary"
"""The settings that name a vocabulary, for messages."""
LINE_END = re.compile("\r\n|\n|\r")


def vocabulary_words(path: str, setting: str = OF_EMBED) -> list[str]:
    """The concepts in their order, without blank lines and repetitions; a byte order mark is no part of them.

    Args:
        path: of the text file or the table.
        setting: what messages call it.

    Raises:
        JobError: if the file does not exist, is no text in UTF-8, or holds no words; with the line where it is wrong.
    """
    if is_text_table(path):
        return list(vocabulary_table(path, setting).distinct_names)
    words: dict[str, None] = {}
    for number, line in enumerate(LINE_END.split(_text(path, setting)), start=1):
        word = line.strip()
        if len(word) > LONGEST:
            raise JobError(
                f"`{setting}` {path}, line {number}, has {len(word)} characters, at most {LONGEST} are allowed; "
                "write one concept per line"
            )
        if any(ord(letter) < ord(" ") and letter != "\t" for letter in word):
            raise JobError(f"`{setting}` {path}, line {number}, is no text: it holds control characters")
        if word:
            words[word] = None
    if not words:
        raise JobError(f"`{setting}` {path} holds no words; write one concept per line, or leave it out")
    return list(words)


def vocabulary_table(path: str, setting: str = OF_EMBED) -> TextTable:
    """The vocabulary as a table of text vectors.

    Raises:
        JobError: if it can't be read as one.
    """
    try:
        return load_text_table(path)
    except ModelError as error:
        raise JobError(f"`{setting}`: {error}") from error


def vocabulary_digest(path: str, setting: str = OF_EMBED) -> str:
    """Sha256 of the vocabulary's bytes, or of a table's names and vectors; "" without a vocabulary.

    Raises:
        JobError: if the file can't be read.
    """
    if is_text_table(path):
        return vocabulary_table(path, setting).digest
    return hashlib.sha256(_bytes(path, setting)).hexdigest() if path else ""


def _text(path: str, setting: str) -> str:
    content = _bytes(path, setting)
    encoding = WIDE.get(content[:2], "utf-8-sig")
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise JobError(
            f"`{setting}` {path}, line {line}, is not {'UTF-16' if encoding == 'utf-16' else 'UTF-8'} "
            f"(byte {error.object[error.start]:#x}); save it in UTF-8"
        ) from error


def _bytes(path: str, setting: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except IsADirectoryError as error:
        raise JobError(f"`{setting}` {path} is a folder; name a text file, one concept per line") from error
    except (OSError, ValueError) as error:  # ValueError: a path that no file can have
        why = getattr(error, "strerror", None) or error
        raise JobError(f"`{setting}` {path} can't be read ({why}); name a text file in UTF-8") from error
