"""Vectors of a run's tables by their keys: embeddings of crops, and the network's own features."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, Int64

from polyscan import tables
from polyscan.errors import TableError
from polyscan.storage import Storage
from polyscan.tables import TABLES

KEPT_BYTES = 512 * 2**20
"""Of embeddings that a worker keeps in memory."""


class EmbeddingFiles:
    """The parts of `embeddings`, of which those are read that hold what is asked for, and the last ones kept.

    Args:
        storage: where they lie.
        files: their names.
    """

    def __init__(self, storage: Storage, files: Sequence[str]) -> None:
        self.storage = storage
        self.files = files
        self._blocks: dict[str, Float32[np.ndarray, "m d"]] = {}
        blocks = [tables.read_keys(storage, file, "item", TABLES["embeddings"]) for file in files]
        keys = np.concatenate([np.empty(0, dtype=np.int64), *blocks])
        parts = np.repeat(np.arange(len(blocks)), [len(block) for block in blocks])
        rows = np.concatenate([np.empty(0, dtype=np.int64), *(np.arange(len(block)) for block in blocks)])
        order = np.argsort(keys, kind="stable")
        self._keys, self._parts, self._rows = keys[order], parts[order], rows[order]

    def vectors(self, items: Int64[np.ndarray, " n"]) -> Float32[np.ndarray, "n d"]:
        """Embeddings of these items, in this order.

        Raises:
            TableError: if one of them was never embedded.
        """
        n_known = len(self._keys)
        place = np.searchsorted(self._keys, items)
        place[place == n_known] = 0
        if n_known == 0 or not np.array_equal(self._keys[place], items):
            missing = int((self._keys[place] != items).sum()) if n_known else len(items)
            raise TableError(f"{missing} items have no embedding")
        gathered: Float32[np.ndarray, "n d"] | None = None
        for part in np.unique(self._parts[place]):
            block = self._block(self.files[int(part)])
            here = self._parts[place] == part
            if gathered is None:
                gathered = np.empty((len(items), block.shape[1]), dtype=np.float32)
            gathered[here] = block[self._rows[place[here]]]
        return gathered if gathered is not None else np.empty((0, 0), dtype=np.float32)

    def _block(self, file: str) -> Float32[np.ndarray, "m d"]:
        # A layer's units touch the same parts again and again.
        if file not in self._blocks:
            while self._blocks and sum(block.nbytes for block in self._blocks.values()) > KEPT_BYTES:
                self._blocks.pop(next(iter(self._blocks)))
            self._blocks[file] = tables.read_vectors(self.storage, file, "embedding", TABLES["embeddings"])
        return self._blocks[file]


def features(
    storage: Storage, files: Sequence[str], layer: str, space: str
) -> tuple[Int64[np.ndarray, " n"], Float32[np.ndarray, "n d"]]:
    """The network's own features of a layer: keys of its positions, rising, and their vectors."""
    where = {"layer": layer, "space": space}
    keys, vectors = tables.read_matrix(storage, files, TABLES["features"], key="item", column="embedding", where=where)
    order = np.argsort(keys, kind="stable")
    return keys[order], vectors[order]
