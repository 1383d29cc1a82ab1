"""Workers that are killed again and again from outside, at moments that nobody chose, until all is done."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from polyscan.shards import Outcome, Resources, Runner, Shard, Work

EVERY = 3
LATEST_S = 0.2


@dataclass
class Gated:
    """Wraps what makes workers: a shard says that it begins, and waits until it may."""

    make_work: Callable[[], Work]
    folder: Path

    def __call__(self) -> Work:
        work = self.make_work()

        def gated(shard: Shard) -> Outcome:
            name = f"{shard.stage}-{shard.index}"
            (self.folder / f"at-{name}-{os.getpid()}").touch()
            while not (self.folder / f"may-{name}").exists():
                time.sleep(0.005)
            return work(shard)

        return gated


def gated(runner: Runner, folder: Path) -> Runner:
    """A runner whose workers wait at the gate."""
    folder.mkdir()

    def run(make_work: Callable[[], Work], shards: Sequence[Shard], resources: Resources) -> Generator[Outcome]:
        with closing(runner(Gated(make_work, folder), shards, resources)) as outcomes:
            yield from outcomes

    return run


class Killer(threading.Thread):
    """Lets every shard pass, and kills the worker of every third one a moment later; no shard is aimed at twice.

    Args:
        folder: of the gate.
        seed: of the moments.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        super().__init__(daemon=True)
        self.folder, self.random = folder, random.Random(seed)
        self.killed: list[int] = []
        self.over = threading.Event()

    def run(self) -> None:
        begun: set[str] = set()
        seen: set[str] = set()
        while not self.over.wait(0.005):
            for path in self.folder.glob("at-*"):
                name, process = path.name.removeprefix("at-").rsplit("-", 1)
                if path.name in seen:
                    continue
                is_new = name not in begun
                seen.add(path.name)
                begun.add(name)
                (self.folder / f"may-{name}").touch()
                if is_new and len(begun) % EVERY == 0:
                    self.strike(int(process))

    def strike(self, process: int) -> None:
        time.sleep(self.random.uniform(0, LATEST_S))
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
            self.killed.append(process)
