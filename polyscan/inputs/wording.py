"""The words of an embedder: from its text tower, or from a table of text vectors in its space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from polyscan.errors import JobError, ModelError
from polyscan.inputs.vocabulary import OF_EMBED, vocabulary_table, vocabulary_words
from polyscan.vision.embedders import Embedder
from polyscan.vision.text_tables import TextTable, is_text_table


def with_vocabulary(embedder: Embedder, vocabulary: str, setting: str = OF_EMBED) -> Embedder:
    """The embedder, if it has vectors for these words; with a table, its words are those of the table.

    Args:
        embedder: with a text tower, a table, or neither.
        vocabulary: a text file or a table; empty: none.
        setting: what messages call the vocabulary.

    Raises:
        JobError: if it has no vectors for some of the words, or those of the table are of another length.
    """
    if is_text_table(vocabulary):
        return _with_table(embedder, vocabulary_table(vocabulary, setting), setting)
    words = vocabulary_words(vocabulary, setting) if vocabulary else []
    if words and embedder.words is None:
        raise JobError(
            f"`{setting}` has {len(words)} words, but the embedder {embedder.name} has no text tower to embed them; "
            f"choose an open_clip:MODEL/WEIGHTS, or leave `{setting}` out"
        )
    if words and embedder.words is not None and embedder.known is not None:
        try:
            embedder.words(words)
        except ModelError as error:
            raise JobError(f"`{setting}` {vocabulary}: {error}") from error
    return embedder


def _with_table(embedder: Embedder, table: TextTable, setting: str) -> Embedder:
    example = np.zeros((1, *embedder.preprocessing.size, embedder.preprocessing.channels), dtype=np.uint8)
    width = embedder(example).shape[1]
    if width != table.vectors.shape[1]:
        raise JobError(
            f"`{setting}`: the vectors of the table {table.address} have {table.vectors.shape[1]} dimensions, those of "
            f"{embedder.name} {width}; they must be of one space. Name a table made by this model's text tower, or "
            "another model"
        )
    return replace(embedder, **_joined(embedder, table))


def _joined(embedder: Embedder, table: TextTable) -> dict[str, Any]:
    """The table's words, and after them those of a table that the embedder has itself."""
    if embedder.words is None or embedder.known is None:
        return {"words": table.words, "known": table.distinct_names}
    others = [name for name in embedder.known if name not in table.rows]
    names, vectors = (*table.names, *others), [table.vectors, *([embedder.words(others)] if others else [])]
    joined = TextTable(table.address, names, np.concatenate(vectors))
    return {"words": joined.words, "known": joined.distinct_names}


def words_of(embedder: Embedder, vocabulary: str, class_names: Sequence[str], setting: str = OF_EMBED) -> list[str]:
    """The words that clusters may be named by: of the vocabulary, else of the embedder's table, else class names."""
    if vocabulary:
        return vocabulary_words(vocabulary, setting)
    return list(embedder.known) if embedder.known is not None else list(class_names)
