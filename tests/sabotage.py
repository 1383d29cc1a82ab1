"""Faults done on purpose, to real workers: they live in files, so that every process sees what has been done."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polyscan.pipeline import STAGES
from polyscan.run import Run
from polyscan.shards import Failure, Outcome, Resources, Runner, Shard, Work
from polyscan.worker import ShardWorker


class _Inside:
    """Sits in a worker's place for one shard: something happens first, then the worker does its work."""

    def __init__(self, shard_worker: ShardWorker, happens: Callable[[Shard], None]) -> None:
        self.shard_worker, self.worker, self.happens = shard_worker, shard_worker._worker, happens
        shard_worker._worker = self

    def __call__(self, shard: Shard) -> Any:
        self.shard_worker._worker = self.worker
        self.happens(shard)
        return self.shard_worker._computed(shard, Run(self.shard_worker.address))


def _throw(shard: Shard) -> None:
    raise ArithmeticError(f"sabotage of shard {shard.index}")


def _die_while_writing(part: str) -> None:
    """From now on, this process dies when it has written that part aside and before it gets its name."""
    flush = os.fsync

    def die(file: int) -> None:
        if part in os.readlink(f"/proc/self/fd/{file}"):
            os.kill(os.getpid(), signal.SIGKILL)
        flush(file)

    os.fsync = die


@dataclass
class Saboteur:
    """Wraps what makes workers: at one shard of one stage something happens, so many times.

    Args:
        make_work: the real thing.
        stage: whose shard.
        index: which shard.
        times: how often.
        folder: where it counts; the same for all processes.
        fault: "kill" ends the process as the kernel would, "half" does so while a part is being written, "hang" never
            comes back, "stop" halts the whole process, "raise" fails the shard, "throw" raises inside its worker,
            "wait" holds it there until there is a file `go`, "run" runs a command until it succeeds and goes on.
        command: what "run" runs.
    """

    make_work: ShardWorker
    stage: str
    index: int
    times: int
    folder: Path
    fault: str
    command: tuple[str, ...] = ()

    def __call__(self) -> Work:
        work = self.make_work()

        def sabotaged(shard: Shard) -> Outcome:
            if (shard.stage, shard.index) == (self.stage, self.index) and self._strikes():
                if self.fault == "kill":
                    os.kill(os.getpid(), signal.SIGKILL)
                if self.fault == "stop":
                    os.kill(os.getpid(), signal.SIGSTOP)
                while self.fault == "hang":
                    time.sleep(60)
                if self.fault == "raise":
                    return Failure(shard, "sabotage", "Traceback of a saboteur")
                self._meddle(shard)
            if Run(self.make_work.address).ledger.done_record(shard) is None:
                (self.folder / f"did-{shard.stage}-{shard.index}-{os.getpid()}.{os.urandom(4).hex()}").touch()
            return work(shard)

        return sabotaged

    def _meddle(self, shard: Shard) -> None:
        """Does what the shard stumbles over later, or not at all."""
        if self.fault == "half":
            _die_while_writing(f"part-{shard.name}")
        if self.fault == "throw":
            _Inside(self.make_work, _throw)
        if self.fault == "wait":
            _Inside(self.make_work, self._wait)
        while self.fault == "run" and subprocess.run(self.command, check=False, capture_output=True).returncode:
            time.sleep(0.01)

    def _wait(self, _: Shard) -> None:
        while not (self.folder / "go").exists():
            time.sleep(0.01)

    def _strikes(self) -> bool:
        done = len(list(self.folder.glob("strike-*")))
        if done >= self.times:
            return False
        (self.folder / f"strike-{done}").write_text(str(os.getpid()))
        return True


def sabotaged(
    runner: Runner,
    folder: Path,
    *,
    stage: str,
    index: int,
    times: int = 1,
    fault: str = "kill",
    command: Sequence[str] = (),
) -> Runner:
    """A runner whose workers fail as told."""
    folder.mkdir(parents=True, exist_ok=True)

    def run(make_work: Callable[[], Work], shards: Sequence[Shard], resources: Resources) -> Generator[Outcome]:
        assert isinstance(make_work, ShardWorker)
        saboteur = Saboteur(make_work, stage, index, times, folder, fault, tuple(command))
        with closing(runner(saboteur, shards, resources)) as outcomes:
            yield from outcomes

    return run


def without(stage: str, whole: Path, address: Path) -> Run:
    """A copy of a whole run in which one stage has yet to be done."""
    shutil.copytree(whole, address)
    run = Run(str(address))
    for record in run.ledger.done(stage).values():
        for part in record.parts:
            (address / part.file).unlink()
    shutil.rmtree(address / "done" / stage)
    return run


def hashes(address: str) -> dict[str, str]:
    """Sha256 of every part on disk, by name; what law 1 is about."""
    run = Run(address)
    files = [part.file for stage in STAGES for record in run.ledger.done(stage.name).values() for part in record.parts]
    on_disk = [
        name
        for name in run.storage.files()
        if name.endswith(".parquet") and "/" in name and not name.startswith("maps")
    ]
    assert sorted(files) == sorted(on_disk), "a part without a done record, or the other way round"
    return {name: hashlib.sha256(run.storage.read(name)).hexdigest() for name in on_disk}
