"""What of a cluster's time goes into shards: `python -m benchmarks.scaling.cluster_efficiency RUN [--stage visualize]`.

A stage of a run whose shards took what they took here is played through on 8, 64 and 512 workers: the real loop of
`polyscan.scheduling` over a pool with a clock of its own. Shards' times are drawn, with a seed, from those in the run's
done records; workers take a while to come up; some machines are slow; spot machines are lost at a rate of so many an
hour each, and others come in their place.

Efficiency is the time that the shards take once each / all workers' time from the stage's begin to its end. The rest
is waiting: for the last shards, for workers to come up, for machines that are gone, for shards that begin anew. What
Ray and the store take is not in it; `python -m benchmarks.scaling.runner_overhead` measures that.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import logging
import random
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from polyscan.run import Run
from polyscan.scheduling import Died, Ended, Event, Ready, WorkerPolicy, schedule
from polyscan.shards import Receipt, Shard, split

WORKERS = (8, 64, 512)
LOSSES_PER_HOUR = (0.0, 0.05, 0.5)
SHARDS_PER_WORKER = (4, 20, 100)
SLOW_SHARE, SLOWER = 0.02, 2.0
HOUR = 3600.0


@dataclass(frozen=True)
class Cluster:
    """Machines of one worker each.

    Args:
        n_workers: how many.
        losses_per_hour: how often each machine is taken back.
        startup_s: how long a worker takes to open its networks, in front of its first shard.
        replacement_s: how long another machine takes to come in place of a lost one.
    """

    n_workers: int
    losses_per_hour: float
    startup_s: float
    replacement_s: float


@dataclass(eq=False)
class _Machine:
    """What is on it (the worker's number), and whether it is slow."""

    is_slow: bool
    worker: int | None = None
    is_there: bool = True


@dataclass(eq=False)
class _Worker:
    number: int
    machine: _Machine
    queue: deque[Shard] = field(default_factory=deque)
    is_at_work: bool = False
    turn: int = 0


class Played:
    """A pool on a clock of its own: events stand in a heap, and time is that of the next one."""

    def __init__(self, cluster: Cluster, seconds: Sequence[float], generator: random.Random) -> None:
        self.cluster, self.seconds, self.random = cluster, seconds, generator
        self.clock = 0.0
        self.agenda: list[tuple[float, int, Callable[[], Event | None]]] = []
        self.numbers = itertools.count(1)
        self.workers: dict[int, _Worker] = {}
        self.waiting: deque[int] = deque()
        self.n_lost = 0
        n_slow = round(SLOW_SHARE * cluster.n_workers)
        self.machines = [_Machine(is_slow=number < n_slow) for number in range(cluster.n_workers)]
        for machine in self.machines:
            self._age(machine)

    def _at(self, seconds: float, happen: Callable[[], Event | None]) -> None:
        heapq.heappush(self.agenda, (self.clock + seconds, next(self.numbers), happen))

    # ---- machines --------------------------------------------------------------------------------------------------

    def _age(self, machine: _Machine) -> None:
        if self.cluster.losses_per_hour:
            self._at(self.random.expovariate(self.cluster.losses_per_hour / HOUR), lambda: self._lose(machine))

    def _lose(self, machine: _Machine) -> Event | None:
        machine.is_there = False
        self.n_lost += 1
        self._at(self.cluster.replacement_s, lambda: self._replace(machine))
        if machine.worker is None:
            return None
        worker, machine.worker = machine.worker, None
        return Died(worker, "taken back", with_machine=True)

    def _replace(self, machine: _Machine) -> None:
        machine.is_there = True
        self._age(machine)
        self._place()

    def _place(self) -> None:
        for machine in self.machines:
            if not self.waiting:
                return
            if machine.is_there and machine.worker is None:
                number = machine.worker = self.waiting.popleft()
                self.workers[number] = _Worker(number, machine)
                self._at(self.cluster.startup_s, lambda number=number: Ready(number))

    # ---- what the loop sees ----------------------------------------------------------------------------------------

    def room(self) -> int:
        return sum(machine.is_there for machine in self.machines)

    def needs(self) -> str:
        return "a machine"

    def now(self) -> float:
        return self.clock

    def start(self) -> int:
        number = next(self.numbers)
        self.waiting.append(number)
        self._place()
        return number

    def submit(self, worker: int, shard: Shard) -> None:
        member = self.workers[worker]
        member.queue.append(shard)
        if not member.is_at_work:
            self._begin(member)

    def _begin(self, member: _Worker) -> None:
        member.is_at_work = True
        seconds = self.seconds[member.queue[0].index] * (SLOWER if member.machine.is_slow else 1.0)
        self._at(seconds, lambda: self._end(member))

    def _end(self, member: _Worker) -> Event | None:
        if self.workers.get(member.number) is not member or member.machine.worker != member.number:
            return None  # it went with its machine
        shard = member.queue.popleft()
        member.is_at_work = False
        if member.queue:
            self._begin(member)
        return Ended(member.number, shard, Receipt(shard, 1, 0.0))

    def wait(self, timeout_s: float) -> Event | None:
        until = self.clock + timeout_s
        while self.agenda and self.agenda[0][0] <= until:
            self.clock, _, happen = heapq.heappop(self.agenda)
            event = happen()
            worker = getattr(event, "worker", None)
            if event is not None and worker in self.workers:
                return event
        self.clock = until
        return None

    def drop(self, worker: int) -> None:
        if worker in self.waiting:
            self.waiting.remove(worker)
        member = self.workers.pop(worker, None)
        if member is not None and member.machine.worker == worker:
            member.machine.worker = None


def efficiency(cluster: Cluster, seconds: Sequence[float], seed: int) -> float:
    """The share of all workers' time that goes into shards, each counted once at its own time."""
    pool = Played(cluster, seconds, random.Random(seed))
    shards = split("collect", len(seconds), 1)
    for _ in schedule(pool, shards, WorkerPolicy(n_workers=cluster.n_workers)):
        pass
    return sum(seconds) / (cluster.n_workers * pool.clock)


def lines(times: Sequence[float], startup_s: float, replacement_s: float, repeats: int) -> Iterator[str]:
    """A row for each number of shards per worker and each rate of loss."""
    yield "| shards per worker | a machine lost, per hour | " + " | ".join(f"{n} workers" for n in WORKERS) + " |"
    yield "| ---: | ---: | " + " | ".join("---:" for _ in WORKERS) + " |"
    for per_worker in SHARDS_PER_WORKER:
        for losses in LOSSES_PER_HOUR:
            found: list[str] = []
            for n_workers in WORKERS:
                cluster = Cluster(n_workers, losses, startup_s, replacement_s)
                drawn = [
                    efficiency(cluster, random.Random(seed).choices(times, k=per_worker * n_workers), seed)
                    for seed in range(repeats)
                ]
                found.append(f"{sum(drawn) / repeats:.2f}")
            yield f"| {per_worker} | {losses:g} | " + " | ".join(found) + " |"


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling.cluster_efficiency", description=__doc__)
    parser.add_argument("run", help="a run's folder, whose shards' times are taken")
    parser.add_argument("--stage", default="visualize")
    parser.add_argument("--mean-s", type=float, help="times are scaled to this mean; default: as they are")
    parser.add_argument("--startup-s", type=float, default=20.0)
    parser.add_argument("--replacement-s", type=float, default=300.0)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    logging.getLogger("polyscan.workers").setLevel(logging.ERROR)
    times = sorted(record.seconds for record in Run(arguments.run).ledger.done(arguments.stage).values())
    if not times:
        parser.error(f"{arguments.run} has no done shard of `{arguments.stage}`")
    mean = sum(times) / len(times)
    scale = (arguments.mean_s or mean) / mean
    sys.stdout.write(
        f"{len(times)} shards of `{arguments.stage}`: mean {mean:.2f} s, slowest {times[-1] / mean:.2f} times "
        f"that, scaled to {scale * mean:.1f} s; {SLOW_SHARE:.0%} of the machines {SLOWER:g} times slower\n\n"
    )
    for line in lines(
        [scale * each for each in times], arguments.startup_s, arguments.replacement_s, arguments.repeats
    ):
        sys.stdout.write(line + "\n")


if __name__ == "__main__":
    main()
