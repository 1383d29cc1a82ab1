"""Which worker does which shard: a plain loop over a small pool. Knows neither Ray nor what a shard is about.

Law: each shard's outcome is given once, whatever workers and machines do. The pool says what happened; the scheduler
decides. So deaths, hangs, late answers, machines that join and machines that go are tested without any of them.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from polyscan.errors import JobError
from polyscan.shards import Failure, Outcome, Shard

log = logging.getLogger("polyscan.workers")

IN_FLIGHT = 2
"""Shards per worker: one at work, one waiting, so that no worker waits for the driver."""
DEATHS = 3
"""How many workers may die of one shard."""
LOST = 30
"""How often a shard may be lost with its machine, which is no fault of the shard."""
SLOWEST_START_S = 600.0
"""How long a worker is waited for where there is room for one, or was: disks are cold, and lost nodes come back."""
LOOK_S = 5.0
"""Seconds between checks of the clock and of the machines, where nothing happens."""
SHORTEST_DEADLINE_S, SLOWER = 1800.0, 20
"""Without a deadline in the job, a shard may take this long, or this many times what the slowest has taken."""


@dataclass(frozen=True)
class Ready:
    """A worker has come up."""

    worker: int


@dataclass(frozen=True)
class Ended:
    """A worker has done a shard, or failed at it."""

    worker: int
    shard: Shard
    outcome: Outcome


@dataclass(frozen=True)
class Died:
    """A worker is gone with all that it had been given.

    Args:
        worker: which one.
        cause: one line on what happened.
        traceback: all that is known of it.
        with_machine: whether the whole machine is gone, which is nobody's fault.
    """

    worker: int
    cause: str
    traceback: str = ""
    with_machine: bool = False


Event = Ready | Ended | Died


class Pool(Protocol):
    """Workers by number."""

    def room(self) -> int:
        """How many workers the machines that are there have room for, those of this pool among them."""
        ...

    def start(self) -> int:
        """Asks for a new worker; `Ready` or `Died` tells what came of it."""
        ...

    def submit(self, worker: int, shard: Shard) -> None:
        """Hands it a shard; it does them in the order in which they came."""
        ...

    def wait(self, timeout_s: float) -> Event | None:
        """The next thing that happens, or None after a while; a death is told once."""
        ...

    def drop(self, worker: int) -> None:
        """Ends a worker, whatever it is at; nothing more is heard of it."""
        ...

    def now(self) -> float:
        """Seconds on a clock that never goes back."""
        ...

    def needs(self) -> str:
        """What a worker needs and what the machines have, in words for somebody who waits in vain."""
        ...


@dataclass(frozen=True)
class WorkerPolicy:
    """How many workers are asked for, and how long they and their shards are waited for.

    Args:
        n_workers: how many are asked for, also where there is no room yet: that is how a cluster learns to grow.
            None: as many as there is room for, checked again and again.
        deadline_s: a shard that takes longer is taken back and its worker ended; None: 20 times the slowest so far,
            at least half an hour.
        patience_s: how long the first worker is waited for where no machine has room for one.
    """

    n_workers: int | None = None
    deadline_s: float | None = None
    patience_s: float = 25.0


def schedule(pool: Pool, shards: Sequence[Shard], policy: WorkerPolicy) -> Iterator[Outcome]:
    """Each shard's outcome once, in finishing order, with at most two shards in flight per worker.

    When a worker dies, the shard at its head is charged with the death (three make a failure), those behind it are
    taken back without a charge. A death right after a shard was done may swallow its outcome; then that shard is
    charged once, tried again, and found done. A worker that hangs is ended and counts as dead. Workers that are left
    idle stay with the pool.

    Raises:
        JobError: if no worker comes up, or none is left and none comes back.
    """
    scheduler = _Scheduler(pool, shards, policy)
    while scheduler.n_open:
        scheduler.start_workers()
        scheduler.assign()
        event = pool.wait(LOOK_S)
        yield from scheduler.handle(event)
        yield from scheduler.check_workers()


class _Scheduler:
    """Which worker does which shard. Holds what is open and nothing of what is done."""

    def __init__(self, pool: Pool, shards: Sequence[Shard], policy: WorkerPolicy) -> None:
        self.pool = pool
        self.policy = policy
        self.waiting = deque(shards)
        self.n_open = len(shards)
        self.starting: dict[int, None] = {}
        self.queues: dict[int, deque[Shard]] = {}
        self.by_queue_length: tuple[dict[int, None], ...] = tuple(
            {} for _ in range(IN_FLIGHT)
        )  # by length of their queue
        self.begun: dict[int, float] = {}
        self.deaths: Counter[int] = Counter()
        self.lost: Counter[int] = Counter()
        self.n_failed_starts = 0
        self.has_started = False
        self.last_look = self.last_workers_at = self.last_room_at = pool.now()
        self.slowest_s = 0.0
        self.room = pool.room()
        self.wanted = self._wanted()

    # ---- workers -------------------------------------------------------------------------------------------------

    def _wanted(self) -> int:
        return self.policy.n_workers or self.room

    def start_workers(self) -> None:
        """As many workers as are wanted and have something to do; those that are still to come are let go first."""
        target = min(self.wanted, self.n_open)
        while len(self.queues) + len(self.starting) < target:
            self.starting[self.pool.start()] = None
        while self.starting and len(self.queues) + len(self.starting) > target:
            worker, _ = self.starting.popitem()
            self.pool.drop(worker)

    def assign(self) -> None:
        """Shards to workers with nothing to do, then to those with one; the last ones to whoever is free first."""
        for length, workers in enumerate(self.by_queue_length):
            for worker in list(workers):
                if not self.waiting or (length and len(self.waiting) <= len(self.queues) + len(self.starting)):
                    return
                if length and self._is_suspect(worker):
                    continue
                self._submit(worker)

    def _is_suspect(self, worker: int) -> bool:
        """What has killed a worker is tried alone, so that a second death is charged to it and no other."""
        return bool(self.deaths) and any(self.deaths[shard.index] for shard in (*self.queues[worker], self.waiting[0]))

    def _submit(self, worker: int) -> None:
        queue, shard = self.queues[worker], self.waiting.popleft()
        if not queue:
            self.begun[worker] = self.pool.now()
        self.pool.submit(worker, shard)
        queue.append(shard)
        self._index(worker)

    def _index(self, worker: int) -> None:
        """Puts a worker where the length of its queue says."""
        for workers in self.by_queue_length:
            workers.pop(worker, None)
        if worker in self.queues and (length := len(self.queues[worker])) < IN_FLIGHT:
            self.by_queue_length[length][worker] = None

    # ---- what happens --------------------------------------------------------------------------------------------

    def handle(self, event: Event | None) -> Iterator[Outcome]:
        """Takes note of an event; those of a worker that was dropped are ignored."""
        if isinstance(event, Ready) and event.worker in self.starting:
            del self.starting[event.worker]
            self.has_started, self.n_failed_starts = True, 0
            self.queues[event.worker] = deque()
            self._index(event.worker)
        elif isinstance(event, Ended) and event.shard in self.queues.get(event.worker, ()):
            yield self._ended(event)
        elif isinstance(event, Died) and event.worker in self.starting:
            self._died_while_starting(event)
        elif isinstance(event, Died) and event.worker in self.queues:
            yield from self._died(event)

    def _ended(self, event: Ended) -> Outcome:
        now = self.pool.now()
        self.slowest_s = max(self.slowest_s, now - self.begun[event.worker])
        self.begun[event.worker] = now
        self.queues[event.worker].remove(event.shard)
        self._index(event.worker)
        self._close(event.shard)
        return event.outcome

    def _close(self, shard: Shard) -> None:
        self.deaths.pop(shard.index, None)
        self.lost.pop(shard.index, None)
        self.n_open -= 1

    def _died_while_starting(self, event: Died) -> None:
        del self.starting[event.worker]
        self.pool.drop(event.worker)
        self.n_failed_starts += not event.with_machine
        log.warning("a worker ended before it came up (%s)", event.cause)
        if self.n_failed_starts >= DEATHS:
            self.wanted = len(self.queues) + len(self.starting)  # no others until the next look
        if self.n_failed_starts >= max(DEATHS, self.room) and not self.queues:
            raise JobError(f"{self.n_failed_starts} consecutive workers ended before they came up: {event.cause}")

    def _died(self, event: Died) -> Iterator[Outcome]:
        queue = self.queues.pop(event.worker)
        self._index(event.worker)
        self.begun.pop(event.worker, None)
        self.pool.drop(event.worker)
        if not queue:
            log.warning("an idle worker is gone (%s)", event.cause)
            return
        head, *behind = queue
        who = "a machine" if event.with_machine else "a worker"
        log.warning("%s is gone at shard %d of `%s` (%s)", who, head.index, head.stage, event.cause)
        charged, most = (self.lost, LOST) if event.with_machine else (self.deaths, DEATHS)
        charged[head.index] += 1
        self.waiting.extendleft(reversed(behind))
        if charged[head.index] < most:
            self.waiting.appendleft(head)
            return
        self._close(head)
        cause = f"its machine was lost {most} times" if event.with_machine else f"its worker died {most} times"
        yield Failure(head, f"{cause} ({event.cause})", event.traceback, is_final=True)

    # ---- now and then --------------------------------------------------------------------------------------------

    def check_workers(self) -> Iterator[Outcome]:
        """Are there more machines or fewer, is there nobody, does a worker hang?"""
        now = self.pool.now()
        if now - self.last_look < LOOK_S:
            return
        self.last_look = now
        self.room = self.pool.room()
        self.wanted = self._wanted()
        self._give_up(now)
        deadline_s = self.policy.deadline_s or adaptive_deadline_s(self.slowest_s)
        for worker, queue in list(self.queues.items()):
            if queue and now - self.begun[worker] > deadline_s:
                yield from self._died(Died(worker, f"no answer for {deadline_s:g} s"))

    def _give_up(self, now: float) -> None:
        """Ends what nobody works at, and nobody will.

        Raises:
            JobError: if no machine has had room for a worker for too long, or none has come up where there is room.
        """
        if self.queues:
            self.last_workers_at = now
        if self.queues or self.room:
            self.last_room_at = now
        patience_s = self.policy.patience_s
        has_no_room = not self.has_started and now - self.last_room_at > patience_s
        if has_no_room or now - self.last_workers_at > max(patience_s, SLOWEST_START_S):
            raise JobError(
                f"no worker {'is left' if self.has_started else 'came up'} after {now - self.last_workers_at:.0f} s: "
                f"{self.pool.needs()}; ask for less, join a larger cluster by RAY_ADDRESS, or, where the cluster is "
                "still to grow, wait longer (`workers.patience_s`)"
            )


def adaptive_deadline_s(slowest_s: float) -> float:
    """How long a shard may take where the job does not say: by the slowest one so far.

    >>> adaptive_deadline_s(0.0), adaptive_deadline_s(600.0)
    (1800.0, 12000.0)
    """
    return max(SHORTEST_DEADLINE_S, SLOWER * slowest_s)
