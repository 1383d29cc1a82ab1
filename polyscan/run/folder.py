"""The results folder of one job: its manifest, its tables, and the ledger of done shards."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any, cast

import numpy as np
import pandas as pd
from jaxtyping import Float32, Int64

from polyscan import tables
from polyscan.errors import TableError
from polyscan.run.files import Files
from polyscan.run.integrity import excerpt
from polyscan.run.ledger import Ledger
from polyscan.run.memo import Memo
from polyscan.run.records import PART_NAME, Done, Part, part_file
from polyscan.run.vectors import KeyedParts, embedding_parts, features, thumbnail_parts, thumbnails_of, vectors_of
from polyscan.shards import Shard
from polyscan.storage import Storage
from polyscan.tables import TABLES, Columns, Filter
from polyscan.units import Layer, UnitOrder

KeyedVectors = tuple[Int64[np.ndarray, " n"], Float32[np.ndarray, "n d"]]
SIDE_FOLDERS = ("done", "failed", "running", "plan")
MANIFEST_KEYS = frozenset(("stages", "versions", "network"))
"""Keys of `run.json`, of which another program's file of that name has none."""
OWN_NAMES = (*TABLES, *SIDE_FOLDERS, "maps", "map.parquet", "variants")
"""What a run has in its folder, beside a few small files; whatever else lies at these names may be written over."""


class Run:
    """A results folder, local or on an object store. Cheap to open; holds no lock and no connection.

    Args:
        address: of the folder; any address that fsspec knows.
    """

    def __init__(self, address: str) -> None:
        self.storage = Storage(address)
        self.files = Files(self.storage)
        self.ledger = Ledger(self.files)
        self._done: Memo[str, dict[int, Done]] = Memo(self.ledger.done)
        self._parts: Memo[str, list[Part]] = Memo(self._listed_parts)
        self._files_by_layer: Memo[str, dict[str, list[str]]] = Memo(self._look_into_parts)
        self._layers: Memo[str, pd.DataFrame] = Memo(self._in_forward_order)
        self._embeddings: Memo[str, KeyedParts] = Memo(lambda table: embedding_parts(self.storage, self._names(table)))
        self._thumbnails: Memo[str, KeyedParts] = Memo(lambda table: thumbnail_parts(self.storage, self._names(table)))
        self._features: Memo[tuple[str, str], KeyedVectors] = Memo(self._read_features, most=1)

    @property
    def address(self) -> str:
        """Address of the folder."""
        return self.storage.address

    # ---- the manifest ------------------------------------------------------------------------------------------------

    def manifest(self) -> dict[str, Any]:
        """Content of `run.json`; empty for a new run.

        Raises:
            TableError: if it is damaged, or another program's.
        """
        content = self.files.content("run.json")
        try:
            manifest: Any = json.loads(content) if content is not None else {}
        except ValueError as error:
            raise TableError(self._damaged(content)) from error
        if manifest == {} or (isinstance(manifest, dict) and MANIFEST_KEYS.intersection(manifest)):
            return cast("dict[str, Any]", manifest)
        raise TableError(
            f"{self.address} holds no run: its run.json is not polyscan's ({excerpt(content or b'')}). Give another "
            "folder, or move that file"
        )

    def _damaged(self, content: bytes | None) -> str:
        return (
            f"{self.address}/run.json is damaged ({excerpt(content or b'')}); no results are lost: "
            "delete it and run the same `polyscan scan` again, which rewrites it"
        )

    @property
    def input_size(self) -> tuple[int, int]:
        """Height and width of the network's input in px; boxes of exemplars refer to it."""
        input_px: int | list[int] = self.manifest()["input_px"]  # one number if it is square
        return (input_px, input_px) if isinstance(input_px, int) else (input_px[0], input_px[1])

    def save_manifest(self, manifest: Mapping[str, Any]) -> None:
        """Replaces `run.json`. Only the driver does so."""
        self.files.put("run.json", json.dumps(manifest, indent=2, sort_keys=True).encode())

    # ---- writing -----------------------------------------------------------------------------------------------------

    def write(
        self,
        shard: Shard,
        columns: Mapping[str, Columns],
        *,
        fingerprint: str,
        seconds: float,
        batch: Mapping[str, int] | None = None,
        cpu: str | None = None,
    ) -> Done:
        """Writes a shard's tables, then its done record.

        Args:
            shard: whose results these are.
            columns: by table.
            fingerprint: of its stage.
            seconds: time that it took.
            batch: its batch sizes by setting, if they are not the job's; kept in the record and in every part.
            cpu: kind of CPU that it ran on; kept in the record only.
        """
        sizes = dict(batch) if batch else None
        metadata = {"fingerprint": fingerprint, "shard": shard.name, **({"batch": sizes} if sizes else {})}
        parts = tuple(self._write_part(name, shard, part_columns, metadata) for name, part_columns in columns.items())
        done = Done(
            **asdict(shard),
            fingerprint=fingerprint,
            parts=parts,
            seconds=seconds,
            at=time.time(),
            batch=sizes,
            cpu=cpu,
        )
        self.ledger.record(done)
        return done

    def _write_part(self, table: str, shard: Shard, columns: Columns, metadata: Mapping[str, Any]) -> Part:
        content, rows = tables.encode(TABLES[table], columns, metadata=metadata)
        file = part_file(table, shard)
        self.files.put(file, content)
        return Part(table, file, rows, len(content), hashlib.sha256(content).hexdigest())

    def clean_up(self) -> int:
        """Deletes files that killed workers left half written; returns their number."""
        return self.files.clean_up((*TABLES, *SIDE_FOLDERS))

    def clear(self, stage: str) -> None:
        """Deletes what a stage has written: first its done records, then its parts; no other files in their folders."""
        self.ledger.clear(stage)
        for table in TABLES.values():
            if table.stage == stage:
                self.files.clear(table.name, PART_NAME)
        self.forget_tables()

    def forget_tables(self) -> None:
        """Drops what is kept in memory of tables; called when they may have changed."""
        for memo in (self._done, self._parts, self._files_by_layer, self._layers):
            memo.forget()
        for memo in (self._embeddings, self._thumbnails, self._features):
            memo.forget()

    # ---- reading -----------------------------------------------------------------------------------------------------

    def parts(self, table: str) -> list[Part]:
        """The files of a table in shard order, as its done records list them; other files in the folder are ignored."""
        return self._parts(table)

    def _listed_parts(self, table: str) -> list[Part]:
        records = sorted(self._done(TABLES[table].stage).items())
        return [part for _, record in records for part in record.parts if part.table == table]

    def _names(self, table: str) -> list[str]:
        return [part.file for part in self.parts(table)]

    def read(self, table: str, columns: Sequence[str] | None = None, where: Filter | None = None) -> pd.DataFrame:
        """Rows of a table in shard order.

        Args:
            table: its name.
            columns: which columns; all if None.
            where: which rows; all if None.

        Raises:
            TableError: if the name is unknown.
        """
        if table not in TABLES:
            raise TableError(f"a run has no table `{table}`; it has: {', '.join(TABLES)}")
        return tables.read(self.storage, self._names(table), TABLES[table], columns=columns, where=where)

    def readable(self, table: str, columns: Sequence[str]) -> pd.DataFrame:
        """As `read`, but without parts that are missing or damaged, which the next scan makes again."""
        parts: list[pd.DataFrame] = []
        for name in self._names(table):
            with suppress(TableError):
                parts.append(tables.read(self.storage, [name], TABLES[table], columns=columns))
        return pd.concat(parts) if parts else pd.DataFrame({name: [] for name in columns})

    def unit_rows(
        self, table: str, layer: str, columns: Sequence[str] | None = None, *, channels: range | None = None
    ) -> pd.DataFrame:
        """Rows of a layer's units; only the parts that hold some of them are opened, since a run may have thousands.

        Args:
            table: its name.
            layer: real or virtual.
            columns: which columns; all if None.
            channels: which units; all if None.

        Raises:
            KeyError: if the run has no such layer.
        """
        by_layer = TABLES[table].stage == "visualize"  # its shards are not ranges of all units
        files = self._files_by_layer(table).get(layer, []) if by_layer else self._range_files(table, layer)
        where: Filter = {"layer": layer} if channels is None else {"layer": layer, "channel": channels}
        return tables.read(self.storage, files, TABLES[table], columns=columns, where=where)

    def _range_files(self, table: str, layer: str) -> list[str]:
        """Files with rows of a layer, of a table whose shards are ranges of all units in their order."""
        order = self.unit_order()
        start = order.start(layer)
        stop = start + order.layer(layer).n_units
        records = [record for _, record in sorted(self._done(TABLES[table].stage).items())]
        overlapping = [record for record in records if record.start < stop and start < record.stop]
        return [part.file for record in overlapping for part in record.parts if part.table == table]

    def _look_into_parts(self, table: str) -> dict[str, list[str]]:
        """The files of a table by the layers whose units they hold."""
        files: dict[str, list[str]] = {}
        for file in self._names(table):
            for layer in set(tables.read_keys(self.storage, file, "layer", TABLES[table])):
                files.setdefault(str(layer), []).append(file)
        return files

    def layers(self) -> list[Layer]:
        """The scanned layers in forward order, each followed by its virtual ones."""
        rows = self.layer_table()
        columns = (rows[name].tolist() for name in ("layer", "depth", "n_units"))
        return [Layer(layer, depth, n_units) for layer, depth, n_units in zip(*columns, strict=True)]

    def layer_table(self) -> pd.DataFrame:
        """The table `layers` in forward order."""
        return self._layers("layers")

    def _in_forward_order(self, table: str) -> pd.DataFrame:
        return self.read(table).sort_values("depth", kind="stable").reset_index(drop=True)

    def unit_order(self) -> UnitOrder:
        """All units in their fixed order."""
        return UnitOrder(self.layers())

    def vectors(self, items: Int64[np.ndarray, " n"]) -> Float32[np.ndarray, "n d"]:
        """Embeddings of these items, in this order; only the parts that hold them are read.

        Raises:
            TableError: if an item was never embedded.
        """
        return vectors_of(self._embeddings("embeddings"), items)

    def is_embedded(self, items: Int64[np.ndarray, " n"]) -> bool:
        """Whether all of these items have an embedding."""
        return bool(self._embeddings("embeddings").holding(items).all())

    def thumbnails(self, items: Int64[np.ndarray, " n"]) -> list[bytes | None]:
        """Thumbnails of these crops (JPEG), in this order; None for a crop without one."""
        return thumbnails_of(self._thumbnails("thumbnails"), items)

    def features(self, layer: str, space: str) -> KeyedVectors:
        """The network's own features of a layer: sorted keys of positions, and their vectors. Keeps the last layer."""
        return self._features((layer, space))

    def _read_features(self, key: tuple[str, str]) -> KeyedVectors:
        layer, space = key
        return features(self.storage, self._names("features"), layer, space)
