"""The ledger of a run: which shards are done, running, failed and planned.

Law: a shard is done if it has a done record. Its parts are written whole, then its record with rows and sha256; files
without a done record do not count.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, cast

from polyscan.run.files import Files
from polyscan.run.integrity import Fault, IntegrityCheck, excerpt, faults_of
from polyscan.run.records import NO_RECORD, RECORD_NAME, Done, Running, done_file
from polyscan.shards import Shard

log = logging.getLogger("polyscan.run")


class Ledger:
    """The state of the shards of one run.

    Args:
        files: of the results folder.
    """

    def __init__(self, files: Files) -> None:
        self.files = files
        self.checked = IntegrityCheck()

    # ---- done --------------------------------------------------------------------------------------------------------

    def record(self, done: Done) -> None:
        """Writes the done record of a shard, and deletes its failure record."""
        self.files.put(done_file(done.shard), json.dumps(asdict(done), sort_keys=True).encode())
        self.files.drop(f"failed/{done.stage}/{done.shard.name}.json")

    def done(self, stage: str) -> dict[int, Done]:
        """Done records of a stage by shard index; damaged records are left out with a warning."""
        records = (self._read(file) for file in self.files.storage.files(f"done/{stage}"))
        return {record.index: record for record in records if isinstance(record, Done)}

    def done_record(self, shard: Shard) -> Done | None:
        """The shard's done record, if it is done and its files are unchanged, to the byte."""
        record = self._read(done_file(shard))
        if not isinstance(record, Done):
            return None
        return None if faults_of(self.files.storage, [record], hashed=True, check=IntegrityCheck()) else record

    def _read(self, file: str) -> Done | Fault | None:
        """A done record, or what is wrong with it, which is also logged as a warning; None if the file is gone."""
        content = self.files.content(file)
        if content is None:
            return None
        stage, stem = file.removesuffix(".json").split("/")[-2:]
        with contextlib.suppress(*NO_RECORD):
            done = Done.parse(content)
            if (done.stage, f"{done.index:05d}") == (stage, stem[:5]):
                return done
        shard = int(stem[:5]) if stem[:5].isdigit() else stem
        fault = Fault(file, stage, shard, f"is not a done record: JSON of its shard expected, {excerpt(content)} found")
        self.files.warn(file, f"{fault}; the shard counts as not done")
        return fault

    def missing(self, shards: Sequence[Shard], fingerprint: str, *, verify: bool | None = None) -> list[Shard]:
        """The shards that are not done with this fingerprint, or whose files were damaged.

        Damaged files are logged as warnings; `checked` counts what was read.

        Args:
            shards: all of a stage.
            fingerprint: of the stage.
            verify: whether the parts' bytes are read; else only their sizes are compared. Default: on a local disk.
        """
        if not shards:
            return []
        done = self.done(shards[0].stage)
        records = {
            shard: done[shard.index]
            for shard in shards
            if shard.index in done and done[shard.index].fingerprint == fingerprint and done[shard.index].shard == shard
        }
        storage = self.files.storage
        hashed = storage.is_local if verify is None else verify
        faults = faults_of(storage, records.values(), hashed=hashed, check=self.checked)
        for fault in faults:
            log.warning("%s; the shard counts as not done", fault)
        damaged = {fault.shard for fault in faults}
        return [shard for shard in shards if shard not in records or shard.index in damaged]

    def verify(self) -> list[Fault]:
        """Every damaged done record, and every part whose bytes are not those of its done record."""
        records = [self._read(file) for file in self.files.storage.files("done")]
        damaged = [record for record in records if isinstance(record, Fault)]
        whole = [record for record in records if isinstance(record, Done)]
        return [*damaged, *faults_of(self.files.storage, whole, hashed=True, check=self.checked)]

    # ---- failed ------------------------------------------------------------------------------------------------------

    def write_failure(self, shard: Shard, *, cause: str, traceback: str) -> None:
        """Writes why a shard failed, for `status`."""
        record = {"index": shard.index, "start": shard.start, "stop": shard.stop, "cause": cause}
        content = json.dumps({**record, "traceback": traceback}, indent=2).encode()
        self.files.put(f"failed/{shard.stage}/{shard.name}.json", content)

    def failures(self, stage: str) -> list[dict[str, Any]]:
        """Failure records of a stage."""
        records = (self.files.json(file) for file in self.files.below(f"failed/{stage}"))
        return [cast("dict[str, Any]", record) for record in records if isinstance(record, dict)]

    # ---- running -----------------------------------------------------------------------------------------------------

    def note_running(self, shard: Shard) -> None:
        """Writes a trace that a shard is running here, for `status`; it is not part of the results."""
        trace = Running(shard.index, platform.node(), os.getpid(), time.time())
        self.files.put(f"running/{shard.stage}/{shard.name}.json", json.dumps(asdict(trace)).encode())

    def forget_running(self, shard: Shard) -> None:
        """Removes the trace."""
        self.files.drop(f"running/{shard.stage}/{shard.name}.json")

    def clear_running(self, stage: str) -> None:
        """Removes all traces of a stage; called when the workers that left them are gone."""
        for file in self.files.below(f"running/{stage}"):
            if RECORD_NAME.fullmatch(file.rpartition("/")[2]):
                self.files.drop(file)

    def running(self, stage: str) -> list[Running]:
        """Traces of a stage by shard, except those that vanish meanwhile or whose process is known to have ended."""
        traces: list[Running] = []
        for file in self.files.below(f"running/{stage}"):
            if (record := self.files.json(file)) is not None:
                with contextlib.suppress(TypeError):
                    traces.append(Running(**record))
        return [trace for trace in traces if not trace.is_gone]

    def others(self, stages: Sequence[str]) -> list[Running]:
        """Traces that another scan of this run seems to have left."""
        ours = (platform.node(), os.getpid())
        return [trace for stage in stages for trace in self.running(stage) if (trace.host, trace.pid) != ours]

    # ---- planned -----------------------------------------------------------------------------------------------------

    def note_plan(self, stage: str, n_shards: int) -> None:
        """Writes how many shards a stage has and that work on it begins now, for `status`."""
        plan = {"shards": n_shards, "since": time.time()}
        self.files.put(f"plan/{stage}.json", json.dumps(plan).encode())

    def planned(self, stage: str) -> int | None:
        """Number of shards of a stage; None before it began."""
        plan = self._plan(stage)
        return int(plan["shards"]) if "shards" in plan else None

    def began(self, stage: str) -> float | None:
        """When work on a stage last began, in seconds since 1970; None before it did."""
        return self._plan(stage).get("since")

    def _plan(self, stage: str) -> dict[str, Any]:
        plan = self.files.json(f"plan/{stage}.json")
        return cast("dict[str, Any]", plan) if isinstance(plan, dict) else {}

    def clear(self, stage: str) -> None:
        """Deletes the records of everything that a stage has done, but not its tables."""
        for folder in (f"done/{stage}", f"failed/{stage}"):
            self.files.clear(folder, RECORD_NAME)
        self.clear_running(stage)
