"""Shards on Ray actors: a bounded queue that survives dead workers. Knows nothing of what a shard is about.

The scheduling is a plain loop over a small pool protocol, so that deaths are tested without Ray; `RayPool` is the
real one. Actors are never restarted by Ray (`max_restarts=0`): a shard behind the one that killed its worker must
not be charged with the death, and Ray's own restart can't tell them apart.
"""

from __future__ import annotations

import logging
import os
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import ray
from ray.exceptions import RayError, RayTaskError

from polyscan.errors import JobError
from polyscan.shards import Failure, Outcome, Resources, Runner, Shard, Work

log = logging.getLogger("polyscan.ray")

IN_FLIGHT = 2  # per worker: one at work, one waiting, so that no worker waits for the driver
DEATHS = 3


@dataclass(frozen=True)
class Died:
    """A worker is gone with all that it had been given."""

    cause: str


class Pool(Protocol):
    """Workers by number."""

    def start(self) -> int:
        """A new worker."""
        ...

    def submit(self, worker: int, shard: Shard) -> None:
        """Hands it a shard; it does them in the order in which they came."""
        ...

    def wait(self) -> tuple[int, Shard, Outcome | Died]:
        """The next thing that happens: a shard's outcome, or a worker's death (told once, by the shard at its head)."""
        ...

    def drop(self, worker: int) -> None:
        """Lets a worker go."""
        ...


def schedule(pool: Pool, shards: Sequence[Shard], n_workers: int) -> Iterator[Outcome]:
    """Each shard's outcome once, with at most two shards in flight per worker; the pool's workers are left idle.

    When a worker dies, the shard at its head is charged with the death (three make a failure), those behind it are
    taken back without a charge, and a new worker takes its place. A death right after a shard was done may swallow
    its outcome; then that shard is charged once, tried again, and found done.
    """
    waiting = deque(shards)
    queues: dict[int, deque[Shard]] = {pool.start(): deque() for _ in range(min(n_workers, len(shards)))}
    deaths: Counter[int] = Counter()

    def fill() -> None:
        for depth in range(IN_FLIGHT):
            for worker, queue in queues.items():
                if not waiting or len(queue) > depth:
                    continue
                if queue and any(deaths[shard.index] for shard in (*queue, waiting[0])):
                    continue  # a suspect is tried alone, so that a second death is charged to it and no other
                queue.append(waiting.popleft())
                pool.submit(worker, queue[-1])

    fill()
    while any(queues.values()):
        worker, shard, outcome = pool.wait()
        if isinstance(outcome, Died):
            head, *behind = queues.pop(worker)
            pool.drop(worker)
            deaths[head.index] += 1
            log.warning("a worker died at shard %d of `%s` (%s)", head.index, head.stage, outcome.cause)
            if deaths[head.index] >= DEATHS:
                yield Failure(head, f"its worker died {DEATHS} times ({outcome.cause})", "", is_final=True)
            else:
                waiting.appendleft(head)
            waiting.extendleft(reversed(behind))
            if waiting:
                queues[pool.start()] = deque()
        else:
            queues[worker].remove(shard)
            yield outcome
        fill()


class _Actor:
    """Sits on a worker process and holds what is heavy, for one stage at a time."""

    def __init__(self) -> None:
        self._generation = -1
        self._work: Work | None = None

    def run(self, generation: int, make_work: Callable[[], Work], shard: Shard) -> Outcome:
        if self._work is None or generation != self._generation:
            self._work = None  # the last stage's network goes before this one's comes
            self._work, self._generation = make_work(), generation
        return self._work(shard)


@dataclass
class RayPool:
    """Ray actors as a pool. They outlive a stage: a process that has loaded torch is worth keeping."""

    resources: Resources
    _make_work: Callable[[], Work] | None = None
    _generation: int = 0
    _actors: dict[int, Any] = field(default_factory=dict[int, Any])
    _idle: list[Any] = field(default_factory=list[Any])
    _calls: dict[Any, tuple[int, Shard]] = field(default_factory=dict[Any, tuple[int, Shard]])
    _started: int = 0

    def begin(self, make_work: Callable[[], Work]) -> None:
        """What the workers are to do from now on."""
        self._make_work = make_work
        self._generation += 1

    def start(self) -> int:
        """An actor that is free, or a new one; what is heavy is loaded when its first shard comes."""
        remote: Any = ray.remote(max_restarts=0, max_task_retries=0)(_Actor)
        given = remote.options(num_cpus=self.resources.cpus, num_gpus=self.resources.gpus)
        self._actors[self._started] = self._idle.pop() if self._idle else given.remote()
        self._started += 1
        return self._started - 1

    def submit(self, worker: int, shard: Shard) -> None:
        """Queues a shard on its actor."""
        call = self._actors[worker].run.remote(self._generation, self._make_work, shard)
        self._calls[call] = (worker, shard)

    def wait(self) -> tuple[int, Shard, Outcome | Died]:
        """Blocks until a call has ended."""
        (ended, *_), _ = ray.wait(list(self._calls), num_returns=1)
        outcome = self._ended(ended)
        if isinstance(outcome, Died):
            # A shard may have been done just before the one that its worker died of: it is told first, so that the
            # death is charged to the right one.
            ended, outcome = self._earlier(ended) or (ended, outcome)
        return *self._calls.pop(ended), outcome

    def _earlier(self, ended: Any) -> tuple[Any, Outcome] | None:
        worker = self._calls[ended][0]
        mine = [call for call, (other, _) in self._calls.items() if other == worker]
        for call in mine[: mine.index(ended)]:
            done, _ = ray.wait([call], timeout=0)
            if done and not isinstance(outcome := self._ended(call), Died):
                return call, outcome
        return None

    def _ended(self, call: Any) -> Outcome | Died:
        try:
            return ray.get(call)
        except RayTaskError as error:  # the work never raises, so this is an interrupt inside the worker
            return Failure(self._calls[call][1], str(error).splitlines()[-1], str(error))
        except RayError as error:  # the actor died, its node went, or the machine ran out of memory
            return Died(str(error).splitlines()[0])

    def drop(self, worker: int) -> None:
        """Ends an actor and forgets what it was given."""
        self._calls = {call: given for call, given in self._calls.items() if given[0] != worker}
        ray.kill(self._actors.pop(worker))

    def rest(self) -> None:
        """Ends the actors that are still at work; the others wait for the next stage."""
        busy = {worker for worker, _ in self._calls.values()}
        for worker in list(self._actors):
            if worker in busy:
                self.drop(worker)
            else:
                self._idle.append(self._actors.pop(worker))

    def close(self) -> None:
        """Ends all actors."""
        self.rest()
        for actor in self._idle:
            ray.kill(actor)
        self._idle.clear()


def ray_runner(n_workers: int | None = None) -> Runner:
    """A runner on the connected cluster; its actors end with the connection.

    Args:
        n_workers: how many workers; default: as many as fit.
    """
    pools: dict[Resources, RayPool] = {}

    def run(make_work: Callable[[], Work], shards: Sequence[Shard], resources: Resources) -> Iterator[Outcome]:
        fitting, given = _fitting(resources)
        for other in [key for key in pools if key != given]:
            pools.pop(other).close()  # they hold CPUs that these workers need
        pool = pools.setdefault(given, RayPool(given))
        pool.begin(make_work)
        try:
            yield from schedule(pool, shards, min(n_workers or fitting, fitting))
        finally:
            pool.rest()

    return run


def _fitting(resources: Resources) -> tuple[int, Resources]:
    """How many workers fit into the cluster; a GPU is asked for only where there are some.

    Raises:
        JobError: if not even one fits.
    """
    total: Mapping[str, float] = ray.cluster_resources()
    cpus, gpus = total.get("CPU", 0.0), total.get("GPU", 0.0)
    given = resources if gpus else Resources(resources.cpus, 0.0)
    by_cpu = int(cpus // given.cpus)
    fitting = min(by_cpu, int(gpus // given.gpus)) if given.gpus else by_cpu
    if fitting < 1:
        raise JobError(
            f"a worker needs {given.cpus} CPUs and {given.gpus:g} GPUs, the Ray cluster has {cpus:g} and {gpus:g}; "
            "set a smaller `threads`, or join a larger cluster by RAY_ADDRESS"
        )
    return fitting, given


@contextmanager
def connected(n_cpus: int | None = None) -> Generator[None]:
    """Joins the cluster that RAY_ADDRESS names, or starts one on this machine; ends only what it started.

    Args:
        n_cpus: CPUs of a cluster started here; default: the machine's.
    """
    if ray.is_initialized():
        yield
        return
    here = not os.environ.get("RAY_ADDRESS")
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.WARNING}
    if here:
        ray.init(num_cpus=n_cpus, include_dashboard=False, **quiet)
    else:
        ray.init(**quiet)
    try:
        yield
    finally:
        ray.shutdown()
