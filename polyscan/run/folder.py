"""The results folder: what is in it, what is done, and the pen that files a shard's tables.

Law: done is a fact on disk. A part is written whole, then the shard's done record with rows and sha256; what has
no done record has not happened.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import platform
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, cast

import numpy as np
import pandas as pd
from jaxtyping import Float32, Int64

from polyscan import tables
from polyscan.errors import JobError, TableError
from polyscan.run.mending import Fault, Tally, excerpt, faults_of, sweep, unwritable, writing
from polyscan.run.records import NO_RECORD, Done, Part, Running, done_file, part_file
from polyscan.run.vectors import KeyedParts, embedding_parts, features, thumbnail_parts, thumbnails_of, vectors_of
from polyscan.shards import Shard
from polyscan.storage import Storage
from polyscan.tables import TABLES, Columns
from polyscan.units import Layer, UnitOrder

log = logging.getLogger("polyscan.run")

TIDIED = 3
"""So often a file is written again that another scan's tidying took away half written."""


class Run:
    """A results folder, local or on an object store. Cheap to open; holds no lock and no connection."""

    def __init__(self, address: str) -> None:
        self.storage = Storage(address)
        self.checked = Tally()
        self._frames: dict[str, Any] = {}
        self._named: set[str] = set()

    @property
    def address(self) -> str:
        """Where it is."""
        return self.storage.address

    # ---- the manifest ------------------------------------------------------------------------------------------

    def manifest(self) -> dict[str, Any]:
        """Content of `run.json`; empty for a new run.

        Raises:
            TableError: if it is damaged.
        """
        content = self._content("run.json")
        try:
            manifest: Any = json.loads(content) if content is not None else {}
        except ValueError:
            manifest = None
        if isinstance(manifest, dict):
            return cast("dict[str, Any]", manifest)
        raise TableError(
            f"{self.address}/run.json is damaged ({excerpt(content or b'')}); what is done does not hang on it: delete "
            "it and run the same `polyscan scan` again, which writes it anew"
        )

    def save_manifest(self, manifest: Mapping[str, Any]) -> None:
        """Replaces `run.json`. Only the driver does so."""
        self.put("run.json", json.dumps(manifest, indent=2, sort_keys=True).encode())

    def require_writable(self) -> None:
        """Raises a JobError where nothing can be written."""
        trial = f".writable.{uuid.uuid4().hex}"  # a name of its own: another scan may try at the same moment
        try:
            self.put(trial, b"polyscan")
            self.storage.remove(trial)
        except OSError as error:
            raise JobError(unwritable(self.address, error)) from error

    def tidy(self) -> int:
        """Deletes what killed workers left half written; how many files that was."""
        return sweep(self.storage, (*TABLES, "done", "failed", "running", "plan"))

    def _content(self, name: str) -> bytes | None:
        """Of a file; None where there is none."""
        try:
            return self.storage.read(name)
        except FileNotFoundError:
            return None

    def _json(self, name: str) -> Any:
        """Of a small file beside the results; None where there is none, or it is damaged."""
        content = self._content(name)
        with contextlib.suppress(ValueError):
            return json.loads(content) if content is not None else None
        self._name(name, f"{name} is no JSON ({excerpt(content or b'')}); it is left out")
        return None

    def _name(self, file: str, fault: object) -> None:
        """Says once what is wrong with a file."""
        if file not in self._named:
            self._named.add(file)
            log.warning("%s", fault)

    # ---- the pen -----------------------------------------------------------------------------------------------

    def put(self, name: str, content: bytes) -> None:
        """Writes a whole file or nothing.

        Raises:
            JobError: if the folder can't be written: its disk is full, it is read-only or not ours.
        """
        with writing(self.address):
            for is_last in (*[False] * (TIDIED - 1), True):
                try:
                    return self.storage.put(name, content)
                except FileNotFoundError:  # another scan of this run has tidied up, or taken an empty folder away
                    if is_last:
                        raise

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
            file = part_file(name, shard)
            self.put(file, content)
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
        self.put(done_file(shard), json.dumps(asdict(done), sort_keys=True).encode())
        self._drop(f"failed/{shard.stage}/{shard.name}.json")
        return done

    def write_failure(self, shard: Shard, *, cause: str, traceback: str) -> None:
        """Files why a shard failed, for `status`."""
        record = {"index": shard.index, "start": shard.start, "stop": shard.stop, "cause": cause}
        content = json.dumps({**record, "traceback": traceback}, indent=2).encode()
        self.put(f"failed/{shard.stage}/{shard.name}.json", content)

    def note_running(self, shard: Shard) -> None:
        """Leaves a trace that a shard is at work here, for `status`; no part of the results."""
        trace = Running(shard.index, platform.node(), os.getpid(), time.time())
        self.put(f"running/{shard.stage}/{shard.name}.json", json.dumps(asdict(trace)).encode())

    def forget_running(self, shard: Shard) -> None:
        """Takes the trace away."""
        self._drop(f"running/{shard.stage}/{shard.name}.json")

    def clear_running(self, stage: str) -> None:
        """Takes all traces of a stage away: those that are left are of workers that are gone."""
        for file in self._listed(f"running/{stage}"):
            self._drop(file)

    def _drop(self, file: str) -> None:
        """Deletes a file that is no result: where that can't be, or another scan was faster, nothing is lost."""
        with contextlib.suppress(OSError):
            self.storage.remove(file)

    def _listed(self, folder: str) -> list[str]:
        """Files below a folder; none where it goes meanwhile."""
        with contextlib.suppress(OSError):
            return self.storage.files(folder)
        return []

    def running(self, stage: str) -> list[Running]:
        """Traces of a stage, by shard; not those that go while they are read, or whose process is known to be gone."""
        found: list[Running] = []
        for file in self._listed(f"running/{stage}"):
            if (trace := self._json(file)) is not None:
                with contextlib.suppress(TypeError):
                    found.append(Running(**trace))
        return [trace for trace in found if not trace.is_gone]

    def others(self, stages: Sequence[str]) -> list[Running]:
        """Traces of workers that another scan of this run seems to have."""
        ours = (platform.node(), os.getpid())
        return [trace for stage in stages for trace in self.running(stage) if (trace.host, trace.pid) != ours]

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
        """Done records of a stage by shard index; what is no record is named in a warning and left out."""
        records = (self._record(file) for file in self.storage.files(f"done/{stage}"))
        return {record.index: record for record in records if isinstance(record, Done)}

    def done_record(self, shard: Shard) -> Done | None:
        """The shard's done record, if it is done and its files are what was written, to the byte."""
        record = self._record(done_file(shard))
        if not isinstance(record, Done) or faults_of(self.storage, [record], hashed=True, tally=Tally()):
            return None
        return record

    def _record(self, file: str) -> Done | Fault | None:
        """A done record; what is wrong with it, which a warning names; None where it is gone."""
        content = self._content(file)
        if content is None:
            return None
        stage, stem = file.removesuffix(".json").split("/")[-2:]
        with contextlib.suppress(*NO_RECORD):
            done = Done.parse(content)
            if (done.stage, f"{done.index:05d}") == (stage, stem[:5]):
                return done
        shard = int(stem[:5]) if stem[:5].isdigit() else stem
        fault = Fault(file, stage, shard, f"is no done record: JSON of its shard expected, {excerpt(content)} found")
        self._name(file, f"{fault}; the shard counts as not done")
        return fault

    def failures(self, stage: str) -> list[dict[str, Any]]:
        """Failure records of a stage."""
        records = (self._json(file) for file in self._listed(f"failed/{stage}"))
        return [cast("dict[str, Any]", record) for record in records if isinstance(record, dict)]

    def note_plan(self, stage: str, n_shards: int) -> None:
        """Files how many shards a stage has and that work on it begins now, for `status`."""
        plan = {"shards": n_shards, "since": time.time()}
        self.put(f"plan/{stage}.json", json.dumps(plan).encode())

    def planned(self, stage: str) -> int | None:
        """How many shards a stage has; None before it began."""
        plan = self._plan(stage)
        return int(plan["shards"]) if "shards" in plan else None

    def began(self, stage: str) -> float | None:
        """When work on a stage last began, in seconds since 1970; None before it did."""
        return self._plan(stage).get("since")

    def _plan(self, stage: str) -> dict[str, Any]:
        plan = self._json(f"plan/{stage}.json")
        return cast("dict[str, Any]", plan) if isinstance(plan, dict) else {}

    def missing(self, shards: Sequence[Shard], fingerprint: str, *, verify: bool | None = None) -> list[Shard]:
        """Those shards that are not done with this fingerprint, or whose files are not what was written.

        What is damaged is named in a warning; `checked` counts what was read.

        Args:
            shards: all of a stage.
            fingerprint: of the stage.
            verify: whether the parts' bytes are read, else their sizes alone tell; default: on a local disk.
        """
        if not shards:
            return []
        done = self.done(shards[0].stage)
        records = {
            shard: done[shard.index]
            for shard in shards
            if shard.index in done and done[shard.index].fingerprint == fingerprint and done[shard.index].shard == shard
        }
        hashed = self.storage.is_local if verify is None else verify
        faults = faults_of(self.storage, records.values(), hashed=hashed, tally=self.checked)
        for fault in faults:
            log.warning("%s; the shard counts as not done", fault)
        damaged = {fault.shard for fault in faults}
        return [shard for shard in shards if shard not in records or shard.index in damaged]

    def verify(self) -> list[Fault]:
        """Every part whose bytes are not those of its done record, and every done record that is none."""
        records = [self._record(file) for file in self.storage.files("done")]
        damaged = [record for record in records if isinstance(record, Fault)]
        whole = [record for record in records if isinstance(record, Done)]
        return [*damaged, *faults_of(self.storage, whole, hashed=True, tally=self.checked)]

    def unit_rows(
        self, table: str, layer: str, columns: Sequence[str] | None = None, *, channels: range | None = None
    ) -> pd.DataFrame:
        """Rows of a layer's units; only the parts are opened that hold some, which matters where a run has thousands.

        Args:
            table: its name.
            layer: real or virtual.
            columns: which columns, all if None.
            channels: of these units alone; all if None.

        Raises:
            KeyError: if the run has no such layer.
        """
        stage = TABLES[table].stage
        files = self._layer_files(table, layer) if stage == "visualize" else self._range_files(table, layer)
        where = {"layer": layer, **({"channel": channels} if channels is not None else {})}
        return tables.read(self.storage, files, TABLES[table], columns=columns, where=where)

    def _range_files(self, table: str, layer: str) -> list[str]:
        """Of a table whose shards are ranges of all units in their order."""
        order = self.unit_order()
        start = order.start(layer)
        stop = start + order.layer(layer).n_units
        records = [record for _, record in sorted(self._done_of(TABLES[table].stage).items())]
        near = [record for record in records if record.start < stop and start < record.stop]
        return [part.file for record in near for part in record.parts if part.table == table]

    def _layer_files(self, table: str, layer: str) -> list[str]:
        """Of a table whose shards are units of one layer, told by a first look into all of them."""
        key = f"layers of {table}"
        if key not in self._frames:
            by_layer: dict[str, list[str]] = {}
            for part in self.parts(table):
                for name in set(tables.read_keys(self.storage, part.file, "layer", TABLES[table])):
                    by_layer.setdefault(str(name), []).append(part.file)
            self._frames[key] = by_layer
        return cast("dict[str, list[str]]", self._frames[key]).get(layer, [])

    def _done_of(self, stage: str) -> dict[int, Done]:
        """Done records of a stage, kept once read."""
        key = f"done {stage}"
        if key not in self._frames:
            self._frames[key] = self.done(stage)
        return cast("dict[int, Done]", self._frames[key])

    def parts(self, table: str) -> list[Part]:
        """The files of a table by its done records, in shard order; never by what lies in the folder."""
        key = f"parts of {table}"
        if key not in self._frames:
            records = sorted(self._done_of(TABLES[table].stage).items())
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
        return vectors_of(self._keyed("embeddings", embedding_parts), items)

    def thumbnails(self, items: Int64[np.ndarray, " n"]) -> list[bytes | None]:
        """Thumbnails of these crops (JPEG), in this order; None where there is none."""
        return thumbnails_of(self._keyed("thumbnails", thumbnail_parts), items)

    def _keyed(self, table: str, opened: Callable[[Storage, Sequence[str]], KeyedParts]) -> KeyedParts:
        if table not in self._frames:
            self._frames[table] = opened(self.storage, [part.file for part in self.parts(table)])
        return cast("KeyedParts", self._frames[table])

    def features(self, layer: str, space: str) -> tuple[Int64[np.ndarray, " n"], Float32[np.ndarray, "n d"]]:
        """The network's own features of a layer: keys of its positions, rising, and their vectors. The last is kept."""
        if self._frames.get("features of") != (layer, space):
            files = [part.file for part in self.parts("features")]
            self._frames["features"] = features(self.storage, files, layer, space)
            self._frames["features of"] = (layer, space)
        return cast("tuple[np.ndarray, np.ndarray]", self._frames["features"])
