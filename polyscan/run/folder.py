"""The results folder: what is in it, what is done, and the pen that files a shard's tables.

Law: done is a fact on disk. A part is written whole, then the shard's done record with rows and sha256; what has
no done record has not happened.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast

import numpy as np
import pandas as pd
from jaxtyping import Float32, Int64

from polyscan import tables
from polyscan.errors import JobError, TableError
from polyscan.shards import Shard
from polyscan.storage import Storage
from polyscan.tables import TABLES, Columns
from polyscan.units import Layer, UnitOrder

KEPT_BYTES = 512 * 2**20  # of embeddings that a worker keeps in memory


@dataclass(frozen=True)
class Part:
    """One file of one shard."""

    table: str
    file: str
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Done:
    """The record that one shard is done: its range and its files.

    Args:
        stage: whose shard it is.
        index: its number in the stage.
        count: shards in the stage.
        start: its first item.
        stop: behind its last item.
        fingerprint: of the stage, when it was done.
        parts: its files.
        seconds: from its beginning to its filing.
        at: when it was filed, in seconds since 1970; None in records of 0.1.0.
        batch: batch sizes by setting, where memory ran out at the job's own: equal to others' up to rounding.
    """

    stage: str
    index: int
    count: int
    start: int
    stop: int
    fingerprint: str
    parts: tuple[Part, ...]
    seconds: float
    at: float | None = None
    batch: dict[str, int] | None = None

    @property
    def rows(self) -> int:
        """Rows over all its files."""
        return sum(part.rows for part in self.parts)

    @classmethod
    def parse(cls, text: bytes) -> Done:
        """The record as it was written."""
        record: dict[str, Any] = json.loads(text)
        parts = tuple(Part(**part) for part in record.pop("parts"))
        return cls(parts=parts, **record)


@dataclass(frozen=True)
class Running:
    """The trace of a shard that is at work: where, and since when (seconds since 1970)."""

    index: int
    host: str
    pid: int
    since: float


class Run:
    """A results folder, local or on an object store. Cheap to open; holds no lock and no connection."""

    def __init__(self, address: str) -> None:
        self.storage = Storage(address)
        self._frames: dict[str, Any] = {}

    @property
    def address(self) -> str:
        """Where it is."""
        return self.storage.address

    # ---- the manifest ------------------------------------------------------------------------------------------

    def manifest(self) -> dict[str, Any]:
        """Content of `run.json`; empty for a new run."""
        try:
            return cast("dict[str, Any]", json.loads(self.storage.read("run.json")))
        except FileNotFoundError:
            return {}

    def save_manifest(self, manifest: Mapping[str, Any]) -> None:
        """Replaces `run.json`. Only the driver does so."""
        self.storage.put("run.json", json.dumps(manifest, indent=2, sort_keys=True).encode())

    def require_writable(self) -> None:
        """Raises a JobError where nothing can be written."""
        try:
            self.storage.check_writable()
        except OSError as error:
            raise JobError(
                f"the run folder {self.address} can't be written ({error.strerror or error}); "
                "choose another --run or mend its permissions"
            ) from error

    # ---- the pen -----------------------------------------------------------------------------------------------

    def write(
        self,
        shard: Shard,
        columns: Mapping[str, Columns],
        *,
        fingerprint: str,
        seconds: float,
        batch: Mapping[str, int] | None = None,
    ) -> Done:
        """Files a shard's tables, then its done record.

        Args:
            shard: which one.
            columns: by table.
            fingerprint: of its stage.
            seconds: that it took.
            batch: its batch sizes by setting, where they are not the job's; filed with the record and every part.
        """
        parts: list[Part] = []
        for name, table_columns in columns.items():
            about = {"fingerprint": fingerprint, "shard": shard.name, **({"batch": dict(batch)} if batch else {})}
            content, rows = tables.encode(TABLES[name], table_columns, metadata=about)
            file = f"{name}/part-{shard.name}.parquet"
            self.storage.put(file, content)
            parts.append(Part(name, file, rows, len(content), hashlib.sha256(content).hexdigest()))
        done = Done(
            stage=shard.stage,
            index=shard.index,
            count=shard.count,
            start=shard.start,
            stop=shard.stop,
            fingerprint=fingerprint,
            parts=tuple(parts),
            seconds=seconds,
            at=time.time(),
            batch=dict(batch) if batch else None,
        )
        self.storage.put(f"done/{shard.stage}/{shard.name}.json", json.dumps(asdict(done), sort_keys=True).encode())
        self.storage.remove(f"failed/{shard.stage}/{shard.name}.json")
        return done

    def write_failure(self, shard: Shard, *, cause: str, traceback: str) -> None:
        """Files why a shard failed, for `status`."""
        record = {"index": shard.index, "start": shard.start, "stop": shard.stop, "cause": cause}
        content = json.dumps({**record, "traceback": traceback}, indent=2).encode()
        self.storage.put(f"failed/{shard.stage}/{shard.name}.json", content)

    def note_running(self, shard: Shard) -> None:
        """Leaves a trace that a shard is at work here, for `status`; no part of the results."""
        trace = Running(shard.index, platform.node(), os.getpid(), time.time())
        self.storage.put(f"running/{shard.stage}/{shard.name}.json", json.dumps(asdict(trace)).encode())

    def forget_running(self, shard: Shard) -> None:
        """Takes the trace away."""
        self.storage.remove(f"running/{shard.stage}/{shard.name}.json")

    def clear_running(self, stage: str) -> None:
        """Takes all traces of a stage away: those that are left are of workers that are gone."""
        self.storage.remove(f"running/{stage}")

    def running(self, stage: str) -> list[Running]:
        """Traces of a stage, by shard; one that goes while they are read is left out."""
        found: list[Running] = []
        for file in self.storage.files(f"running/{stage}"):
            with contextlib.suppress(FileNotFoundError):
                found.append(Running(**json.loads(self.storage.read(file))))
        return found

    def clear(self, stage: str) -> None:
        """Forgets all that a stage has done: first its done records, then its parts."""
        self.storage.remove(f"done/{stage}")
        self.storage.remove(f"failed/{stage}")
        self.clear_running(stage)
        for table in TABLES.values():
            if table.stage == stage:
                self.storage.remove(table.name)
        self.forget_frames()

    def forget_frames(self) -> None:
        """Drops what was kept of tables, because they have grown."""
        self._frames.clear()

    # ---- what is done ------------------------------------------------------------------------------------------

    def done(self, stage: str) -> dict[int, Done]:
        """Done records of a stage by shard index."""
        files = self.storage.files(f"done/{stage}")
        records = (Done.parse(self.storage.read(file)) for file in files)
        return {record.index: record for record in records}

    def done_record(self, shard: Shard) -> Done | None:
        """The shard's done record, if it is done and its files are there."""
        try:
            done = Done.parse(self.storage.read(f"done/{shard.stage}/{shard.name}.json"))
        except FileNotFoundError:
            return None
        return done if all(self.storage.exists(part.file) for part in done.parts) else None

    def failures(self, stage: str) -> list[dict[str, Any]]:
        """Failure records of a stage."""
        return [json.loads(self.storage.read(file)) for file in self.storage.files(f"failed/{stage}")]

    def note_plan(self, stage: str, n_shards: int) -> None:
        """Files how many shards a stage has and that work on it begins now, for `status`."""
        plan = {"shards": n_shards, "since": time.time()}
        self.storage.put(f"plan/{stage}.json", json.dumps(plan).encode())

    def planned(self, stage: str) -> int | None:
        """How many shards a stage has; None before it began."""
        plan = self._plan(stage)
        return int(plan["shards"]) if plan else None

    def began(self, stage: str) -> float | None:
        """When work on a stage last began, in seconds since 1970; None before it did."""
        return self._plan(stage).get("since")

    def _plan(self, stage: str) -> dict[str, Any]:
        try:
            return cast("dict[str, Any]", json.loads(self.storage.read(f"plan/{stage}.json")))
        except FileNotFoundError:
            return {}

    def missing(self, shards: Sequence[Shard], fingerprint: str) -> list[Shard]:
        """Those shards that are not done with this fingerprint, or whose files are gone."""
        if not shards:
            return []
        done = self.done(shards[0].stage)
        tables_here = {part.table for record in done.values() for part in record.parts}
        present = {file for table in tables_here for file in self.storage.files(table)}
        whole = {
            index
            for index, record in done.items()
            if record.fingerprint == fingerprint and all(part.file in present for part in record.parts)
        }
        return [shard for shard in shards if shard.index not in whole]

    def verify(self) -> list[str]:
        """Every part whose bytes are not those of its done record, one sentence each."""
        faults: list[str] = []
        for file in self.storage.files("done"):
            for part in Done.parse(self.storage.read(file)).parts:
                if not self.storage.exists(part.file):
                    faults.append(f"{part.file} is gone")
                elif hashlib.sha256(self.storage.read(part.file)).hexdigest() != part.sha256:
                    faults.append(f"{part.file} is not what was written (its sha256 differs)")
        return faults

    def parts(self, table: str) -> list[Part]:
        """The files of a table by its done records, in shard order; never by what lies in the folder."""
        key = f"parts of {table}"
        if key not in self._frames:
            records = sorted(self.done(TABLES[table].stage).items())
            self._frames[key] = [part for _, record in records for part in record.parts if part.table == table]
        return cast("list[Part]", self._frames[key])

    # ---- reading -----------------------------------------------------------------------------------------------

    def read(self, table: str, columns: Sequence[str] | None = None, where: Any = None) -> pd.DataFrame:
        """Rows of a table in shard order.

        Args:
            table: its name.
            columns: which columns, all if None.
            where: `(column, low, high)` for low <= column < high, `(column, value)` for equal.

        Raises:
            TableError: if there is no such table.
        """
        if table not in TABLES:
            raise TableError(f"a run has no table `{table}`; it has: {', '.join(TABLES)}")
        files = [part.file for part in self.parts(table)]
        return tables.read(self.storage, files, TABLES[table], columns=columns, where=where)

    def layers(self) -> list[Layer]:
        """The scanned layers in forward order."""
        frame = self.layer_table()
        return [Layer(str(r.layer), int(r.depth), int(r.n_units)) for r in frame.itertuples()]  # pyright: ignore

    def layer_table(self) -> pd.DataFrame:
        """The table `layers`, kept once read."""
        if "layers" not in self._frames:
            self._frames["layers"] = self.read("layers").sort_values("depth", kind="stable").reset_index(drop=True)
        return cast("pd.DataFrame", self._frames["layers"])

    def unit_order(self) -> UnitOrder:
        """All units in their fixed order."""
        return UnitOrder(self.layers())

    def vectors(self, items: Int64[np.ndarray, " n"]) -> Float32[np.ndarray, "n d"]:
        """Embeddings of these items, in this order; only the parts that hold them are read.

        Raises:
            TableError: if one of them was never embedded.
        """
        keys, parts, rows = self._embedding_index()
        place = np.searchsorted(keys, items)
        place[place == len(keys)] = 0
        if len(keys) == 0 or not np.array_equal(keys[place], items):
            raise TableError(
                f"{int((keys[place] != items).sum()) if len(keys) else len(items)} items have no embedding"
            )
        files = self.parts("embeddings")
        gathered: Float32[np.ndarray, "n d"] | None = None
        for part in np.unique(parts[place]):
            block = self._embedding_block(files[int(part)].file)
            here = parts[place] == part
            if gathered is None:
                gathered = np.empty((len(items), block.shape[1]), dtype=np.float32)
            gathered[here] = block[rows[place[here]]]
        return gathered if gathered is not None else np.empty((0, 0), dtype=np.float32)

    def features(self, layer: str, space: str) -> tuple[Int64[np.ndarray, " n"], Float32[np.ndarray, "n d"]]:
        """The network's own features of a layer: keys of its positions, rising, and their vectors. The last is kept."""
        name = f"features {layer} {space}"
        if name not in self._frames:
            for other in [key for key in self._frames if key.startswith("features ")]:
                del self._frames[other]
            files = [part.file for part in self.parts("features")]
            where = {"layer": layer, "space": space}
            keys, vectors = tables.read_matrix(
                self.storage, files, TABLES["features"], key="item", column="embedding", where=where
            )
            order = np.argsort(keys, kind="stable")
            self._frames[name] = (keys[order], vectors[order])
        return cast("tuple[np.ndarray, np.ndarray]", self._frames[name])

    def _embedding_index(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        if "embedding index" not in self._frames:
            blocks = [tables.read_keys(self.storage, part.file, "item") for part in self.parts("embeddings")]
            keys = np.concatenate(blocks) if blocks else np.empty(0, dtype=np.int64)
            parts = np.repeat(np.arange(len(blocks)), [len(block) for block in blocks])
            rows = (
                np.concatenate([np.arange(len(block)) for block in blocks]) if blocks else np.empty(0, dtype=np.int64)
            )
            order = np.argsort(keys, kind="stable")
            self._frames["embedding index"] = (keys[order], parts[order], rows[order])
        return cast("tuple[np.ndarray, np.ndarray, np.ndarray]", self._frames["embedding index"])

    def _embedding_block(self, file: str) -> np.ndarray:
        # A layer's units touch the same parts again and again.
        cache = cast("dict[str, np.ndarray]", self._frames.setdefault("embedding blocks", {}))
        if file not in cache:
            while cache and sum(block.nbytes for block in cache.values()) > KEPT_BYTES:
                cache.pop(next(iter(cache)))
            cache[file] = tables.read_vectors(self.storage, file, "embedding")
        return cache[file]
