"""Runs shards on Ray actors; `scheduling` decides which actor runs which shard.

Actors are never restarted by Ray (`max_restarts=0`): a shard queued after the one that killed the worker must not be
charged with the death, and Ray's own restart cannot distinguish the two.
"""

from __future__ import annotations

import logging
import os
import pickle
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import ray
from ray import cloudpickle
from ray.exceptions import RayActorError, RayError, RayTaskError
from ray.util import metrics

from polyscan.scheduling import Died, Ended, Event, Ready, WorkerPolicy, schedule
from polyscan.shards import Failure, Outcome, Receipt, Resources, Runner, Shard, Work

OTHERS_SHARE = 0.5
"""Workers of other stages are kept, with all they have loaded, while they hold at most this share of the CPUs."""


class _Actor:
    """Runs in a worker process and holds the large objects of one stage at a time."""

    def __init__(self) -> None:
        self._work: Work | None = None

    def hello(self, make_work: bytes) -> str:
        """Imports what the stage needs before the time of its first shard counts; returns the id of its machine."""
        self._work = None  # frees the last stage's network before this one's is loaded
        make: Callable[[], Work] = pickle.loads(make_work)
        self._work = make()
        return ray.get_runtime_context().get_node_id()

    def run(self, shard: Shard) -> Outcome:
        """Runs a shard."""
        assert self._work is not None, "`run` was called before `hello`"
        return self._work(shard)


@dataclass
class _Member:
    """An actor of a pool, and its open calls, oldest first (None: a call of `hello`)."""

    actor: Any
    calls: dict[Any, Shard | None] = field(default_factory=dict[Any, "Shard | None"])
    machine: str = ""

    @property
    def is_starting(self) -> bool:
        """Whether its only open call is that of `hello`."""
        return bool(self.calls) and all(shard is None for shard in self.calls.values())


class RayPool:
    """A pool of Ray actors, which outlive a stage: a process that has loaded torch is worth keeping.

    Args:
        resources: resources of one worker.
    """

    def __init__(self, resources: Resources) -> None:
        self.resources = resources
        self._held: Mapping[str, float] = {}
        self._make_work = b""
        self._members: dict[int, _Member] = {}
        self._idle: list[_Member] = []
        self._events: deque[Event] = deque()
        self._n_started = 0

    def begin(self, make_work: Callable[[], Work], held: Mapping[str, float]) -> None:
        """Sets the work of the next stage, and the number of CPUs of each machine that other workers hold."""
        self._make_work = cloudpickle.dumps(make_work)  # pyright: ignore[reportPrivateImportUsage]
        self._held = held

    @property
    def n_workers(self) -> int:
        """Number of actors that are alive or requested."""
        return len(self._members) + len(self._idle)

    def machines(self) -> list[str]:
        """The machine of each actor that has started."""
        return [member.machine for member in (*self._members.values(), *self._idle) if member.machine]

    def room(self) -> int:
        """How many actors fit on the machines that are alive, besides what other workers hold there."""
        return fitting(self.resources, self._held)

    def needs(self) -> str:
        """What a worker needs and what the cluster has, in words."""
        machines = _machines().values()
        cpus, gpus = (sum(has.get(kind, 0.0) for has in machines) for kind in ("CPU", "GPU"))
        return (
            f"a worker needs {self.resources.cpus} CPUs and {self.resources.gpus:g} GPUs on one machine, the Ray "
            f"cluster has {cpus:g} and {gpus:g} on {len(machines)} machines"
        )

    def now(self) -> float:
        """Seconds on a monotonic clock."""
        return time.monotonic()

    def start(self) -> int:
        """Takes an idle actor or a new one; it loads the network with its first shard."""
        self._n_started += 1
        member = self._members[self._n_started] = self._idle.pop() if self._idle else _Member(self._new_actor())
        self._call_hello(member)
        return self._n_started

    def _call_hello(self, member: _Member) -> None:
        member.calls[member.actor.hello.remote(self._make_work)] = None

    def _new_actor(self) -> Any:
        remote: Any = ray.remote(max_restarts=0, max_task_retries=0)(_Actor)
        return remote.options(num_cpus=self.resources.cpus, num_gpus=self.resources.gpus).remote()

    def submit(self, worker: int, shard: Shard) -> None:
        """Queues a shard on its actor."""
        member = self._members[worker]
        member.calls[member.actor.run.remote(shard)] = shard

    def wait(self, timeout_s: float) -> Event | None:
        """Blocks until a call has ended; if several calls have, their events follow one by one."""
        if not self._events:
            calls = [call for member in self._members.values() for call in member.calls]
            if not calls:
                time.sleep(timeout_s)
                return None
            ended, _ = ray.wait(calls, num_returns=1, timeout=timeout_s)
            if ended:
                ended, _ = ray.wait(calls, num_returns=len(calls), timeout=0)  # others may have ended, too
            self._collect(set(ended))
        return self._events.popleft() if self._events else None

    def _collect(self, ended: set[Any]) -> None:
        for worker, member in self._members.items():
            # Oldest first: a shard that was done just before its worker died is reported before the death.
            for call, shard in list(member.calls.items()):
                if call not in ended:
                    continue
                del member.calls[call]
                event = self._event(worker, member, call, shard)
                if event is not None:
                    self._events.append(event)
                if isinstance(event, Died):
                    member.calls.clear()
                    break

    def _event(self, worker: int, member: _Member, call: Any, shard: Shard | None) -> Event | None:
        try:
            answer: Any = ray.get(call)
        except RayTaskError as error:  # the work never raises: it could not be made, or was interrupted
            cause = _last_line(error)
            return Ended(worker, shard, Failure(shard, cause, str(error))) if shard else Died(worker, cause, str(error))
        except RayError as error:  # the actor died, its machine went, or the machine ran out of memory
            if shard is None and member.machine:  # it was lost while idle: no shard is affected
                self._renew(member)
                return None
            is_gone = getattr(error, "preempted", False) or (member.machine and member.machine not in _machines())
            return Died(worker, _cause(error), str(error), with_machine=bool(is_gone))
        if shard is None:
            member.machine = answer
            return Ready(worker)
        return Ended(worker, shard, answer)

    def _renew(self, member: _Member) -> None:
        member.actor, member.machine = self._new_actor(), ""
        self._call_hello(member)

    def drop(self, worker: int) -> None:
        """Ends an actor and forgets its calls; an actor that is still starting is kept for the next stage."""
        self._events = deque(event for event in self._events if event.worker != worker)
        member = self._members.pop(worker)
        if member.is_starting:
            # A short stage may end before its last actors have started; if ended, the next stage would start them anew.
            member.calls.clear()
            self._idle.append(member)
        else:
            ray.kill(member.actor)

    def rest(self) -> None:
        """Ends the actors that are still running; the others are kept for the next stage."""
        for worker, member in list(self._members.items()):
            if member.calls:
                self.drop(worker)
            else:
                self._idle.append(self._members.pop(worker))
        self._events.clear()

    def close(self) -> None:
        """Ends all actors."""
        self.rest()
        for member in self._idle:
            ray.kill(member.actor)
        self._idle.clear()


def fitting(resources: Resources, held: Mapping[str, float]) -> int:
    """How many workers fit on the machines, besides the CPUs that others hold there."""
    return sum(
        resources.fitting(has.get("CPU", 0.0) - held.get(machine, 0.0), has.get("GPU", 0.0))
        for machine, has in _machines().items()
    )


def _machines() -> dict[str, dict[str, float]]:
    """Resources of each machine that is alive, by node id."""
    return {machine["NodeID"]: machine["Resources"] for machine in ray.nodes() if machine["Alive"]}


def _cause(error: RayError) -> str:
    """Ray's explanation of a death in one line: the line after its list of names and ids."""
    if isinstance(error, RayActorError) and error.actor_init_failed:
        return _last_line(error)
    lines = [line.strip() for line in str(error).splitlines() if line.strip() and not line.startswith("\t")]
    return lines[1] if len(lines) > 1 else "".join(lines)


def _last_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1]


def ray_runner(policy: WorkerPolicy | None = None) -> Runner:
    """A runner on the connected cluster; its actors end with the connection.

    Args:
        policy: how many workers to request, and how long to wait for them; default: as many as fit.
    """
    policy = policy or WorkerPolicy()
    pools: dict[Resources, RayPool] = {}

    def run(make_work: Callable[[], Work], shards: Sequence[Shard], resources: Resources) -> Generator[Outcome]:
        if not shards:
            return
        request = _request(resources)
        _make_room(pools, request)
        pool = pools.setdefault(request, RayPool(request))
        pool.begin(make_work, _held(pools, request))
        meter = _Meter(shards[0].stage)
        try:
            for outcome in schedule(pool, shards, policy):
                meter.count(outcome, pool.n_workers)
                yield outcome
        finally:
            pool.rest()

    return run


def _request(resources: Resources) -> Resources:
    """The resources to request for a worker: an optional GPU only if the cluster has GPUs."""
    has_gpus = any(has.get("GPU", 0.0) > 0 for has in _machines().values())
    return resources if has_gpus or not resources.gpus_are_optional else Resources(resources.cpus)


def _held(pools: Mapping[Resources, RayPool], request: Resources) -> Counter[str]:
    """Number of CPUs, by machine, that the workers of other pools hold."""
    held: Counter[str] = Counter()
    for other, pool in pools.items():
        if other != request:
            held.update({machine: n * other.cpus for machine, n in Counter(pool.machines()).items()})
    return held


def _make_room(pools: dict[Resources, RayPool], request: Resources) -> None:
    """Ends other stages' workers if they hold a GPU that is needed, or the CPUs next to one, or too many CPUs."""
    held = _held(pools, request)
    is_crowded = held.total() > OTHERS_SHARE * sum(has.get("CPU", 0.0) for has in _machines().values())
    blocks_gpus = bool(request.gpus) and fitting(request, held) < fitting(request, {})
    for other in [key for key in pools if key != request]:
        if is_crowded or blocks_gpus or (other.gpus and request.gpus):
            pools.pop(other).close()


class _Meter:
    """Metrics of a stage for Ray's own dashboard."""

    def __init__(self, stage: str) -> None:
        self._tags = {"stage": stage}
        keys = tuple(self._tags)
        self._shards = metrics.Counter("polyscan_shards", "shards that are done", tag_keys=keys)
        self._items = metrics.Counter("polyscan_items", "images, units or crops that are done", tag_keys=keys)
        self._failures = metrics.Counter("polyscan_failures", "shards that failed, tried again or not", tag_keys=keys)
        self._workers = metrics.Gauge("polyscan_workers", "workers", tag_keys=keys)

    def count(self, outcome: Outcome, n_workers: int) -> None:
        """Counts one outcome."""
        self._workers.set(n_workers, self._tags)
        if isinstance(outcome, Receipt):
            self._shards.inc(1, self._tags)
            self._items.inc(max(1, len(outcome.shard)), self._tags)
        else:
            self._failures.inc(1, self._tags)


@contextmanager
def connected(n_cpus: int | None = None) -> Generator[None]:
    """Connects to the cluster at RAY_ADDRESS, or starts one on this machine; ends only a cluster that it started.

    Args:
        n_cpus: CPUs of a cluster started here; default: the machine's.
    """
    if ray.is_initialized():
        yield
        return
    is_local = not os.environ.get("RAY_ADDRESS")
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.WARNING}
    if is_local:
        # "local": by default Ray would connect to any cluster that is still running on this machine.
        ray.init("local", num_cpus=n_cpus, include_dashboard=False, **quiet)
    else:
        ray.init(**quiet)
    try:
        yield
    finally:
        ray.shutdown()
