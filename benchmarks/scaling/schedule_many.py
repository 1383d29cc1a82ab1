"""What the loop that hands out shards costs by itself: CPU seconds for 100,000 shards over 1,000 idle workers.

`python -m benchmarks.scaling.schedule_many` prints the figure, with no worker dying and with
one death every hundred shards.
The driver has so much time left for its other work: with shards of a second, 1,000 workers end 100,000 in 100 s.
"""

from __future__ import annotations

import logging
import sys
import time
from collections import deque

from polyscan.scheduling import Died, Ended, Event, Ready, WorkerPolicy, schedule
from polyscan.shards import Receipt, Shard, split

WORKERS, SHARDS = 1000, 100_000


class Steady:
    """A pool of workers that take turns and come up at once. It keeps no books.

    Args:
        n_workers: room for so many.
        dies_every: so many shards are done between one death and the next; 0: nobody dies.
    """

    def __init__(self, n_workers: int, dies_every: int = 0) -> None:
        self.n_workers, self.dies_every = n_workers, dies_every
        self.queues: dict[int, deque[Shard]] = {}
        self.turns: deque[int] = deque()
        self.heard: deque[Event] = deque()
        self.n_started = self.n_turns = 0

    def room(self) -> int:
        return self.n_workers

    def needs(self) -> str:
        return "nothing"

    def now(self) -> float:
        return self.n_turns / self.n_workers

    def start(self) -> int:
        self.n_started += 1
        self.queues[self.n_started] = deque()
        self.heard.append(Ready(self.n_started))
        return self.n_started

    def submit(self, worker: int, shard: Shard) -> None:
        self.queues[worker].append(shard)
        self.turns.append(worker)

    def wait(self, timeout_s: float) -> Event | None:
        if self.heard:
            return self.heard.popleft()
        while (worker := self.turns.popleft()) not in self.queues:
            pass  # it is gone
        shard = self.queues[worker].popleft()
        self.n_turns += 1
        if self.dies_every and self.n_turns % self.dies_every == 0:
            return Died(worker, "told to")
        return Ended(worker, shard, Receipt(shard, 1, 0.0))

    def drop(self, worker: int) -> None:
        del self.queues[worker]


def cpu_seconds(dies_every: int) -> float:
    """Of the whole loop, the pool's own among them."""
    logging.getLogger("polyscan.workers").setLevel(logging.ERROR)  # a line for each death costs more than the loop
    shards = split("collect", SHARDS, 1)
    start = time.process_time()
    n = sum(1 for _ in schedule(Steady(WORKERS, dies_every), shards, WorkerPolicy()))
    assert n == SHARDS
    return time.process_time() - start


def main() -> None:
    for dies_every in (0, 100):
        deaths = f"a death every {dies_every} shards" if dies_every else "no deaths"
        sys.stdout.write(f"{SHARDS:,} shards, {WORKERS:,} workers, {deaths}: {cpu_seconds(dies_every):.1f} CPU s\n")


if __name__ == "__main__":
    main()
