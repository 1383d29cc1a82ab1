"""Assigns shards to workers in a plain loop that knows neither Ray nor what a shard computes.

Law: each shard's outcome is yielded once, whatever workers and machines do. The pool reports events; the scheduler
decides. So tests can cover deaths, hangs, late answers, and machines that join or leave, without real ones.
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
"""Shards per worker: one running, one queued, so that no worker waits for the driver."""
DEATHS = 3
"""A shard fails for good when this many workers have died of it."""
LOST = 30
"""A shard fails for good when it was lost this often with its machine, for which it is not to blame."""
SLOWEST_START_S = 600.0
"""How long to wait for a worker if there is or was room for one: disks may be cold, and lost nodes may come back."""
LOOK_S = 5.0
"""Seconds between checks of the clock and of the machines, if nothing happens."""
SHORTEST_DEADLINE_S, SLOWER = 1800.0, 20
"""Without a deadline in the job, a shard may take this long, or this many times as long as the slowest so far."""


@dataclass(frozen=True)
class Ready:
    """A worker has started."""

    worker: int


@dataclass(frozen=True)
class Ended:
    """A worker has finished a shard, or failed at it."""

    worker: int
    shard: Shard
    outcome: Outcome


@dataclass(frozen=True)
class Died:
    """A worker is gone, with all shards in its queue.

    Args:
        worker: its number.
        cause: one line on what happened.
        traceback: all that is known about it.
        with_machine: whether its whole machine is gone, for which the shard is not to blame.
    """

    worker: int
    cause: str
    traceback: str = ""
    with_machine: bool = False


Event = Ready | Ended | Died


class Pool(Protocol):
    """A pool of workers, which have numbers."""

    def room(self) -> int:
        """How many workers fit on the machines that are alive, including the workers of this pool."""
        ...

    def start(self) -> int:
        """Requests a new worker and returns its number; a `Ready` or `Died` event follows."""
        ...

    def submit(self, worker: int, shard: Shard) -> None:
        """Queues a shard for a worker, which runs its shards in order."""
        ...

    def wait(self, timeout_s: float) -> Event | None:
        """The next event, or None after `timeout_s`; a death is reported once."""
        ...

    def drop(self, worker: int) -> None:
        """Ends a worker, whatever it is doing; no event of it follows."""
        ...

    def now(self) -> float:
        """Seconds on a monotonic clock."""
        ...

    def needs(self) -> str:
        """What a worker needs and what the machines have, for the error message if no worker starts."""
        ...


@dataclass(frozen=True)
class WorkerPolicy:
    """How many workers to request, and how long to wait for them and their shards.

    Args:
        n_workers: number of workers, requested even if there is no room yet, so that a cluster can grow. None: as many
            as there is room for, checked repeatedly.
        deadline_s: a shard that takes longer is taken back and its worker ended; None: 20 times the slowest so far,
            at least half an hour.
        patience_s: how long to wait for the first worker if no machine has room for one.
    """

    n_workers: int | None = None
    deadline_s: float | None = None
    patience_s: float = 25.0


def schedule(pool: Pool, shards: Sequence[Shard], policy: WorkerPolicy) -> Iterator[Outcome]:
    """Each shard's outcome once, in finishing order, with at most two shards in flight per worker.

    When a worker dies, the first shard of its queue is charged with the death (three deaths make a failure); the others
    are taken back without a charge. A death right after a shard was finished may lose its outcome; that shard is then
    charged once, tried again, and turns out to be done. A worker that hangs is ended and counts as dead. Idle workers
    stay with the pool.

    Raises:
        JobError: if no worker starts, or all are lost and no new one starts.
    """
    scheduler = _Scheduler(pool, shards, policy)
    while scheduler.n_open:
        scheduler.start_workers()
        scheduler.assign()
        event = pool.wait(LOOK_S)
        yield from scheduler.handle(event)
        yield from scheduler.check_workers()


class _Scheduler:
    """Assigns shards to workers; holds the open shards only."""

    def __init__(self, pool: Pool, shards: Sequence[Shard], policy: WorkerPolicy) -> None:
        self.pool = pool
        self.policy = policy
        self.waiting = deque(shards)
        self.n_open = len(shards)
        self.starting: dict[int, None] = {}
        self.queues: dict[int, deque[Shard]] = {}
        self.by_queue_length: tuple[dict[int, None], ...] = tuple({} for _ in range(IN_FLIGHT))
        self.began_at: dict[int, float] = {}
        self.deaths: Counter[int] = Counter()
        self.lost: Counter[int] = Counter()
        self.has_started, self.n_failed_starts = False, 0
        self.last_check_at = self.last_workers_at = self.last_room_at = pool.now()
        self.slowest_s = 0.0
        self.room = pool.room()
        self.n_requested = self._n_requested()

    # ---- workers -------------------------------------------------------------------------------------------------

    def _n_requested(self) -> int:
        return self.policy.n_workers or self.room

    def start_workers(self) -> None:
        """Starts workers up to the requested number, or drops workers that are starting if fewer have work to do."""
        target = min(self.n_requested, self.n_open)
        while len(self.queues) + len(self.starting) < target:
            self.starting[self.pool.start()] = None
        while self.starting and len(self.queues) + len(self.starting) > target:
            worker, _ = self.starting.popitem()
            self.pool.drop(worker)

    def assign(self) -> None:
        """Gives shards to idle workers, then to those with one shard; the last shards wait for a free worker."""
        for length, workers in enumerate(self.by_queue_length):
            for worker in list(workers):
                if not self.waiting or (length and len(self.waiting) <= len(self.queues) + len(self.starting)):
                    return
                if length and self._is_suspect(worker):
                    continue
                self._submit(worker)

    def _is_suspect(self, worker: int) -> bool:
        """Whether a shard has killed a worker before: it runs alone, so that a second death is charged to no other."""
        return bool(self.deaths) and any(self.deaths[shard.index] for shard in (*self.queues[worker], self.waiting[0]))

    def _submit(self, worker: int) -> None:
        queue, shard = self.queues[worker], self.waiting.popleft()
        if not queue:
            self.began_at[worker] = self.pool.now()
        self.pool.submit(worker, shard)
        queue.append(shard)
        self._index(worker)

    def _index(self, worker: int) -> None:
        """Updates a worker's entry in `by_queue_length`."""
        for workers in self.by_queue_length:
            workers.pop(worker, None)
        if worker in self.queues and (length := len(self.queues[worker])) < IN_FLIGHT:
            self.by_queue_length[length][worker] = None

    # ---- events --------------------------------------------------------------------------------------------------

    def handle(self, event: Event | None) -> Iterator[Outcome]:
        """Handles an event; events of dropped workers are ignored."""
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
        self.slowest_s = max(self.slowest_s, now - self.began_at[event.worker])
        self.began_at[event.worker] = now
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
        log.warning("a worker ended before it started (%s)", event.cause)
        if self.n_failed_starts >= DEATHS:
            self.n_requested = len(self.queues) + len(self.starting)  # no more until the next check
        if self.n_failed_starts >= max(DEATHS, self.room) and not self.queues:
            raise JobError(f"{self.n_failed_starts} consecutive workers ended before they started: {event.cause}")

    def _died(self, event: Died) -> Iterator[Outcome]:
        queue = self.queues.pop(event.worker)
        self._index(event.worker)
        self.began_at.pop(event.worker, None)
        self.pool.drop(event.worker)
        if not queue:
            log.warning("an idle worker is gone (%s)", event.cause)
            return
        running, *queued = queue
        self.waiting.extendleft(reversed(queued))
        yield from self._charge(running, event)

    def _charge(self, shard: Shard, event: Died) -> Iterator[Outcome]:
        """Charges a death to the shard that was running: it waits to be tried again, or has failed for good."""
        subject = "a machine" if event.with_machine else "a worker"
        log.warning("%s is gone at shard %d of `%s` (%s)", subject, shard.index, shard.stage, event.cause)
        charges, most = (self.lost, LOST) if event.with_machine else (self.deaths, DEATHS)
        charges[shard.index] += 1
        if charges[shard.index] < most:
            self.waiting.appendleft(shard)
            return
        self._close(shard)
        cause = f"its machine was lost {most} times" if event.with_machine else f"its worker died {most} times"
        yield Failure(shard, f"{cause} ({event.cause})", event.traceback, is_final=True)

    # ---- regular checks ------------------------------------------------------------------------------------------

    def check_workers(self) -> Iterator[Outcome]:
        """Counts the machines again, gives up if there is no hope of a worker, and ends workers that hang."""
        now = self.pool.now()
        if now - self.last_check_at < LOOK_S:
            return
        self.last_check_at = now
        self.room = self.pool.room()
        self.n_requested = self._n_requested()
        self._give_up(now)
        deadline_s = self.policy.deadline_s or adaptive_deadline_s(self.slowest_s)
        for worker, queue in list(self.queues.items()):
            if queue and now - self.began_at[worker] > deadline_s:
                yield from self._died(Died(worker, f"no answer for {deadline_s:g} s"))

    def _give_up(self, now: float) -> None:
        """Raises an error if there is no worker and no prospect of one.

        Raises:
            JobError: if no machine has had room for a worker for too long, or no worker has started despite room.
        """
        if self.queues:
            self.last_workers_at = now
        if self.queues or self.room:
            self.last_room_at = now
        patience_s = self.policy.patience_s
        has_no_room = not self.has_started and now - self.last_room_at > patience_s
        if has_no_room or now - self.last_workers_at > max(patience_s, SLOWEST_START_S):
            raise JobError(
                f"no worker {'is left' if self.has_started else 'started'} after {now - self.last_workers_at:.0f} s: "
                f"{self.pool.needs()}; request less, connect to a larger cluster with RAY_ADDRESS, or, if the cluster "
                "has yet to grow, wait longer (`workers.patience_s`)"
            )


def adaptive_deadline_s(slowest_s: float) -> float:
    """How long a shard may take if the job sets no deadline, from the slowest one so far.

    >>> adaptive_deadline_s(0.0), adaptive_deadline_s(600.0)
    (1800.0, 12000.0)
    """
    return max(SHORTEST_DEADLINE_S, SLOWER * slowest_s)
