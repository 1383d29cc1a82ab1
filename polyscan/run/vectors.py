"""Rows of a run's tables that are read by key: embeddings of crops, thumbnails, and the network's own features."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import numpy as np
from jaxtyping import Bool, Float32, Int64

from polyscan import tables
from polyscan.errors import TableError
from polyscan.storage import Storage
from polyscan.tables import TABLES

KEPT_BYTES = 512 * 2**20
"""Size of a table's parts that a worker keeps in memory."""


class KeyedParts:
    """The parts of a table with the key `item`: a part is read only if it holds a requested item.

    Args:
        storage: of the run.
        files: names of the parts.
        table: name of the table.
        read: gives what to keep of a part, a sequence in the order of its rows, and its size in bytes.
    """

    def __init__(
        self, storage: Storage, files: Sequence[str], table: str, read: Callable[[str], tuple[Any, int]]
    ) -> None:
        self.files = files
        self._read = read
        self._blocks: dict[str, tuple[Any, int]] = {}
        blocks = [tables.read_keys(storage, file, "item", TABLES[table]) for file in files]
        keys = np.concatenate([np.empty(0, dtype=np.int64), *blocks])
        parts = np.repeat(np.arange(len(blocks)), [len(block) for block in blocks])
        rows = np.concatenate([np.empty(0, dtype=np.int64), *(np.arange(len(block)) for block in blocks)])
        order = np.argsort(keys, kind="stable")
        self._keys, self._parts, self._rows = keys[order], parts[order], rows[order]

    def holding(self, items: Int64[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
        """Which of these items the table has."""
        if not len(self._keys):
            return np.zeros(len(items), dtype=bool)
        return cast("np.ndarray", self._keys[self._places(items)] == items)

    def blocks(
        self, items: Int64[np.ndarray, " n"]
    ) -> Iterator[tuple[Any, Int64[np.ndarray, " m"], Int64[np.ndarray, " m"]]]:
        """For each part: what is kept of it, the positions in `items` of the items it holds, and their rows in it."""
        place = self._places(items)
        for part in np.unique(self._parts[place]):
            positions = np.flatnonzero(self._parts[place] == part)
            yield self._block(self.files[int(part)]), positions, self._rows[place[positions]]

    def _places(self, items: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
        place = np.searchsorted(self._keys, items)
        place[place == len(self._keys)] = 0
        return place

    def _block(self, file: str) -> Any:
        # A layer's units need the same parts repeatedly.
        if file not in self._blocks:
            while self._blocks and sum(size for _, size in self._blocks.values()) > KEPT_BYTES:
                self._blocks.pop(next(iter(self._blocks)))
            self._blocks[file] = self._read(file)
        return self._blocks[file][0]


def embedding_parts(storage: Storage, files: Sequence[str]) -> KeyedParts:
    """Parts of `embeddings`: of each part its vectors as one array."""

    def read(file: str) -> tuple[Float32[np.ndarray, "m d"], int]:
        vectors = tables.read_vectors(storage, file, "embedding", TABLES["embeddings"])
        return vectors, vectors.nbytes

    return KeyedParts(storage, files, "embeddings", read)


def thumbnail_parts(storage: Storage, files: Sequence[str]) -> KeyedParts:
    """Parts of `thumbnails`: of each part its pictures as a list."""

    def read(file: str) -> tuple[list[bytes], int]:
        pictures = tables.read(storage, [file], TABLES["thumbnails"], columns=["image"])["image"].tolist()
        return pictures, sum(map(len, pictures))

    return KeyedParts(storage, files, "thumbnails", read)


def vectors_of(parts: KeyedParts, items: Int64[np.ndarray, " n"]) -> Float32[np.ndarray, "n d"]:
    """Embeddings of these items, in this order.

    Raises:
        TableError: if an item was never embedded.
    """
    missing = int((~parts.holding(items)).sum())
    if missing:
        raise TableError(f"{missing} items have no embedding")
    gathered: Float32[np.ndarray, "n d"] | None = None
    for block, positions, rows in parts.blocks(items) if len(items) else ():
        if gathered is None:
            gathered = np.empty((len(items), block.shape[1]), dtype=np.float32)
        gathered[positions] = block[rows]
    return gathered if gathered is not None else np.empty((0, 0), dtype=np.float32)


def thumbnails_of(parts: KeyedParts, items: Int64[np.ndarray, " n"]) -> list[bytes | None]:
    """Thumbnails of these items, in this order; None for an item without one."""
    thumbnails: list[bytes | None] = [None] * len(items)
    known = np.flatnonzero(parts.holding(items))
    for block, positions, rows in parts.blocks(items[known]) if len(known) else ():
        for at, row in zip(known[positions].tolist(), rows.tolist(), strict=True):
            thumbnails[at] = block[row]
    return thumbnails


def features(
    storage: Storage, files: Sequence[str], layer: str, space: str
) -> tuple[Int64[np.ndarray, " n"], Float32[np.ndarray, "n d"]]:
    """The network's own features of a layer: sorted keys of positions, and their vectors.

    File by file into one array: a layer's features may take gigabytes, and would otherwise be in memory three times.
    """
    where = {"layer": layer, "space": space}
    parts = [tables.read(storage, [file], TABLES["features"], columns=["item"], where=where)["item"] for file in files]
    keys = np.concatenate([np.empty(0, dtype=np.int64), *(part.to_numpy(np.int64) for part in parts)])
    order = np.argsort(keys, kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    gathered: Float32[np.ndarray, "n d"] | None = None
    start = 0
    for file, part in zip(files, parts, strict=True):
        if len(part):
            _, vectors = tables.read_matrix(
                storage, [file], TABLES["features"], key="item", column="embedding", where=where
            )
            gathered = np.empty((len(keys), vectors.shape[1]), dtype=np.float32) if gathered is None else gathered
            gathered[place[start : start + len(part)]] = vectors
            start += len(part)
    return keys[order], np.empty((0, 0), dtype=np.float32) if gathered is None else gathered
