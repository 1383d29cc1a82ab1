"""The loop that hands out shards, against a pool with a clock of its own: machines, workers and faults as told."""

from __future__ import annotations

import heapq
import itertools
import logging
import math
import random
import subprocess
import sys
import time
import tracemalloc
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import pytest

from benchmarks.scaling.schedule_many import Steady
from polyscan.errors import JobError
from polyscan.scheduling import (
    DEATHS,
    IN_FLIGHT,
    LOOK_S,
    LOST,
    SHORTEST_DEADLINE_S,
    SLOWER,
    SLOWEST_START_S,
    Died,
    Ended,
    Event,
    Ready,
    WorkerPolicy,
    schedule,
)
from polyscan.shards import Failure, Outcome, Receipt, Shard, split

NEVER = math.inf
FOR_EVER = 1e6  # seconds on the fake clock: nothing here takes so long, so the loop waits for what never comes
LATE = 1000.0

Fate = Literal["done", "fails", "dies", "hangs", "done, then dies", "done, dies untold", "answers late"]


@dataclass
class Machine:
    """So many workers fit on it, from one time to another."""

    slots: int
    joins: float = 0.0
    leaves: float = NEVER


@dataclass(eq=False)
class FakeWorker:
    """A worker that is asked for, at work, or gone."""

    number: int
    machine: Machine | None = None
    is_ready: bool = False
    is_alive: bool = True
    was_dropped: bool = False
    queue: deque[Shard] = field(default_factory=deque)


class FakePool:
    """Keeps the promises of a pool, holds the loop to its own, and lets happen what it is told.

    Args:
        machines: where workers live.
        fate: what becomes of a shard at its nth beginning.
        takes: how many seconds it takes.
        birth: how long the nth worker takes to come up once it has a place; negative: it dies instead.
    """

    def __init__(
        self,
        *machines: Machine,
        fate: Callable[[Shard, int], Fate] = lambda *_: "done",
        takes: Callable[[Shard], float] = lambda _: 1.0,
        birth: Callable[[int], float] = lambda _: 2.0,
    ) -> None:
        self.machines = machines
        self.fate, self.takes, self.birth = fate, takes, birth
        self.clock = 0.0
        self.agenda: list[tuple[float, int, Callable[[], None]]] = []
        self.numbers = itertools.count()
        self.heard: deque[Event] = deque()
        self.workers: list[FakeWorker] = []
        self.pending: deque[FakeWorker] = deque()
        self.begun: Counter[int] = Counter()
        self.filed: set[int] = set()
        self.told: set[int] = set()
        self.submitted: list[tuple[int, int]] = []
        self.given: dict[int, deque[int]] = {}
        self.charged: Counter[int] = Counter()
        self.most_in_flight = self.most_alive = self.told_late = 0
        for machine in machines:
            if 0 < machine.joins < NEVER:
                self.at(machine.joins, self._place)
            if machine.leaves < NEVER:
                self.at(machine.leaves, lambda machine=machine: self._leave(machine))

    def at(self, when: float, happen: Callable[[], None]) -> None:
        heapq.heappush(self.agenda, (max(when, self.clock), next(self.numbers), happen))

    # ---- what the loop sees --------------------------------------------------------------------------------------

    def now(self) -> float:
        return self.clock

    def room(self) -> int:
        return sum(machine.slots for machine in self.machines if machine.joins <= self.clock < machine.leaves)

    def needs(self) -> str:
        return "a worker needs a slot"

    def start(self) -> int:
        worker = FakeWorker(len(self.workers))
        self.workers.append(worker)
        self.pending.append(worker)
        self._place()
        return worker.number

    def submit(self, worker: int, shard: Shard) -> None:
        to = self.workers[worker]
        assert to.is_ready, "a shard for a worker that has not come up"
        assert not to.was_dropped, "a shard for a worker that was let go"
        assert shard.index not in self.told, "a shard whose outcome was told is done again"
        assert all(shard not in other.queue for other in self.workers if other.is_alive), "a shard is at two workers"
        self.submitted.append((worker, shard.index))
        self.given.setdefault(worker, deque()).append(shard.index)
        to.queue.append(shard)
        self.most_in_flight = max(self.most_in_flight, len(to.queue))
        if to.is_alive and len(to.queue) == 1:
            self._begin(to)

    def wait(self, timeout_s: float) -> Event | None:
        until = self.clock + timeout_s
        assert until < FOR_EVER, "the loop waits for what never comes"
        while not self.heard:
            if not self.agenda or self.agenda[0][0] > until:
                self.clock = until
                return None
            self.clock, _, happen = heapq.heappop(self.agenda)
            happen()
        event = self.heard.popleft()
        if isinstance(event, Ended) and not self.workers[event.worker].was_dropped:
            self.told.add(event.shard.index)
            self.given[event.worker].remove(event.shard.index)
        if isinstance(event, Died):
            self._charge(event.worker, 0 if event.with_machine else 1)
        return event

    def _charge(self, worker: int, deaths: int) -> None:
        """As far as the loop can know, a worker dies of the oldest shard whose outcome it has not told."""
        if given := self.given.pop(worker, None):
            self.charged[given[0]] += deaths

    def drop(self, worker: int) -> None:
        gone = self.workers[worker]
        assert not gone.was_dropped, "let go twice"
        gone.was_dropped = True
        self._charge(worker, 1)  # it hangs, if its death was not told before
        self._free(gone)

    # ---- what happens behind its back ----------------------------------------------------------------------------

    @property
    def alive(self) -> list[FakeWorker]:
        return [worker for worker in self.workers if worker.is_alive and worker.machine is not None]

    def _place(self) -> None:
        """Workers that are asked for onto machines that have room."""
        taken = Counter(id(worker.machine) for worker in self.alive)
        for machine in self.machines:
            while self.pending and machine.joins <= self.clock < machine.leaves and taken[id(machine)] < machine.slots:
                worker = self.pending.popleft()
                worker.machine = machine
                taken[id(machine)] += 1
                seconds = self.birth(worker.number)
                if seconds < NEVER:
                    self.at(self.clock + abs(seconds), lambda w=worker, dies=seconds < 0: self._come_up(w, dies=dies))
        self.most_alive = max(self.most_alive, len(self.alive))

    def _come_up(self, worker: FakeWorker, *, dies: bool) -> None:
        if dies:
            self.kill(worker)
        elif worker.is_alive:
            worker.is_ready = True
            self.heard.append(Ready(worker.number))

    def kill(self, worker: FakeWorker, *, with_machine: bool = False) -> None:
        if worker.is_alive:
            self._free(worker)
            self.heard.append(Died(worker.number, "told to", "what is known of it", with_machine=with_machine))

    def _free(self, worker: FakeWorker) -> None:
        worker.is_alive = False
        if worker in self.pending:
            self.pending.remove(worker)
        self._place()

    def _leave(self, machine: Machine) -> None:
        for worker in self.alive:
            if worker.machine is machine:
                self.kill(worker, with_machine=True)

    def _begin(self, worker: FakeWorker) -> None:
        shard = worker.queue[0]
        self.begun[shard.index] += 1
        if shard.index in self.filed:  # as a real worker finds it
            self.at(self.clock, lambda: self._end(worker, shard, "done"))
            return
        fate = self.fate(shard, self.begun[shard.index])
        if fate == "hangs":
            return
        seconds = LATE if fate == "answers late" else self.takes(shard)
        self.at(self.clock + seconds, lambda: self._end(worker, shard, fate))

    def _end(self, worker: FakeWorker, shard: Shard, fate: Fate) -> None:
        if fate == "answers late":
            assert worker.was_dropped, "it should have been taken back"
            self.heard.append(Ended(worker.number, shard, Failure(shard, "too late", "")))
            self.told_late += 1
        if not worker.is_alive:
            return
        if fate == "dies":
            self.kill(worker)
            return
        if fate != "fails":
            self.filed.add(shard.index)
        if fate == "done, dies untold":
            self.kill(worker)
            return
        worker.queue.popleft()
        outcome = Failure(shard, "no luck", "Traceback") if fate == "fails" else Receipt(shard, 1, 1.0)
        self.heard.append(Ended(worker.number, shard, outcome))
        if fate == "done, then dies":
            self.kill(worker)
        elif worker.queue:
            self._begin(worker)


def done_once(outcomes: list[Outcome], n: int) -> bool:
    """Whether each shard's outcome is there once, and good."""
    return sorted(o.shard.index for o in outcomes) == list(range(n)) and all(isinstance(o, Receipt) for o in outcomes)


def failures(outcomes: list[Outcome]) -> list[Failure]:
    return [outcome for outcome in outcomes if isinstance(outcome, Failure)]


def at(index: int, fate: Fate, times: int = 10**6) -> Callable[[Shard, int], Fate]:
    """Something happens to one shard, so many times."""
    return lambda shard, attempt: fate if shard.index == index and attempt <= times else "done"


# ---- who gets what -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_workers", [1, 3, 50])
def test_each_shard_comes_once_and_at_most_two_are_in_flight_per_worker(n_workers: int) -> None:
    pool = FakePool(Machine(100))
    outcomes = list(schedule(pool, split("collect", 20, 1), WorkerPolicy(n_workers)))
    assert done_once(outcomes, 20)
    assert pool.most_in_flight <= IN_FLIGHT
    assert pool.most_alive == min(n_workers, 20)


def test_a_worker_has_its_next_shard_before_it_is_done_with_one() -> None:
    pool = FakePool(Machine(1))
    assert done_once(list(schedule(pool, split("collect", 20, 1), WorkerPolicy())), 20)
    assert pool.most_in_flight == IN_FLIGHT


def test_all_workers_get_one_before_any_gets_two() -> None:
    """Also those that are still to come: a few shards are not shared out among the first to be there."""
    pool = FakePool(Machine(4), takes=lambda _: 10.0, birth=float)
    assert done_once(list(schedule(pool, split("collect", 5, 1), WorkerPolicy())), 5)
    assert [worker for worker, _ in pool.submitted[:4]] == [0, 1, 2, 3]


def test_the_last_shards_go_to_whoever_is_free_first() -> None:
    """Shard 0 takes as long as all others: none of them may wait behind it."""
    pool = FakePool(Machine(2), takes=lambda shard: 10.0 if shard.index == 0 else 1.0, birth=lambda _: 0.0)
    assert done_once(list(schedule(pool, split("collect", 3, 1), WorkerPolicy())), 3)
    assert pool.clock == pytest.approx(10.0)


def test_no_shards_start_no_worker() -> None:
    pool = FakePool(Machine(3))
    assert list(schedule(pool, [], WorkerPolicy(3))) == []
    assert pool.workers == []


def test_one_shard_starts_one_worker() -> None:
    pool = FakePool(Machine(3))
    assert done_once(list(schedule(pool, split("collect", 1, 1), WorkerPolicy(3))), 1)
    assert len(pool.workers) == 1


def test_a_failure_is_told_and_its_worker_goes_on() -> None:
    pool = FakePool(Machine(1), fate=at(2, "fails"))
    outcomes = list(schedule(pool, split("collect", 5, 1), WorkerPolicy()))
    (failure,) = failures(outcomes)
    assert (failure.shard.index, failure.traceback, failure.is_final) == (2, "Traceback", False)
    assert len(outcomes) == 5
    assert len(pool.workers) == 1


# ---- deaths --------------------------------------------------------------------------------------------------------


def test_a_worker_that_dies_is_replaced_and_only_the_shard_at_its_head_is_charged() -> None:
    pool = FakePool(Machine(2), fate=at(4, "dies", DEATHS - 1))
    assert done_once(list(schedule(pool, split("collect", 12, 1), WorkerPolicy())), 12)
    assert pool.begun == {**dict.fromkeys(range(12), 1), 4: DEATHS}
    assert pool.most_alive == 2


def test_a_shard_that_kills_three_workers_is_a_final_failure_with_what_is_known_and_the_rest_is_done() -> None:
    pool = FakePool(Machine(2), fate=at(0, "dies"))
    outcomes = list(schedule(pool, split("collect", 6, 1), WorkerPolicy()))
    (failure,) = failures(outcomes)
    assert failure.shard.index == 0
    assert failure.is_final
    assert failure.cause == "its worker died 3 times (told to)"
    assert failure.traceback == "what is known of it"
    assert sorted(outcome.shard.index for outcome in outcomes) == list(range(6))
    assert pool.begun[0] == DEATHS


def test_what_has_killed_a_worker_is_tried_alone() -> None:
    pool = FakePool(Machine(1), fate=at(0, "dies"))
    outcomes = list(schedule(pool, split("collect", 9, 1), WorkerPolicy()))
    (failure,) = failures(outcomes)
    assert failure.shard.index == 0
    for tries_it in (1, 2):
        assert [shard for worker, shard in pool.submitted if worker == tries_it] == [0]


@pytest.mark.parametrize(("fate", "begun"), [("done, then dies", 1), ("done, dies untold", 2)])
def test_a_death_right_after_a_shard_was_done_loses_nothing_and_blames_nobody(fate: Fate, begun: int) -> None:
    """All shards but the last end with their worker: none is charged three times."""
    pool = FakePool(Machine(2), fate=lambda shard, attempt: fate if shard.index < 9 else "done")
    assert done_once(list(schedule(pool, split("collect", 10, 1), WorkerPolicy())), 10)
    assert set(pool.begun[index] for index in range(9)) == {begun}


def test_an_idle_worker_that_dies_is_nobodys_loss(caplog: pytest.LogCaptureFixture) -> None:
    pool = FakePool(Machine(3), takes=lambda shard: 60.0 if shard.index == 0 else 1.0, birth=lambda _: 0.0)
    pool.at(30.0, lambda: pool.kill(next(worker for worker in pool.alive if not worker.queue)))
    assert done_once(list(schedule(pool, split("collect", 3, 1), WorkerPolicy())), 3)
    assert "an idle worker is gone (told to)" in caplog.text
    assert len(pool.workers) == 3, "nobody was needed in its place"


def test_a_worker_that_dies_before_it_is_ready_is_replaced() -> None:
    pool = FakePool(Machine(2), birth=lambda number: -1.0 if number in (0, 1, 4) else 1.0)
    assert done_once(list(schedule(pool, split("collect", 10, 1), WorkerPolicy())), 10)


def test_workers_that_all_die_before_they_are_ready_are_an_error() -> None:
    pool = FakePool(Machine(5), birth=lambda _: -1.0)
    with pytest.raises(JobError, match=r"5 consecutive workers ended before they started: told to"):
        list(schedule(pool, split("collect", 10, 1), WorkerPolicy()))
    assert len(pool.workers) <= 5 + DEATHS


def test_where_some_work_others_that_keep_dying_are_not_started_without_end() -> None:
    """A machine on which nothing comes up: it is tried again with each look, and no more often."""
    pool = FakePool(Machine(1), Machine(1), birth=lambda number: 0.0 if number == 0 else -0.01)
    assert done_once(list(schedule(pool, split("collect", 200, 1), WorkerPolicy())), 200)
    assert len(pool.workers) <= 1 + DEATHS + 200 / LOOK_S + 1


# ---- machines that come and go -------------------------------------------------------------------------------------


def test_a_machine_that_leaves_charges_nobody_with_a_death() -> None:
    """Five machines in a row take the same shard with them; three deaths would have made a failure."""
    machines = [Machine(1, joins=100.0 * n, leaves=100.0 * n + 50) for n in range(5)]
    pool = FakePool(*machines, Machine(1, joins=500.0), takes=lambda _: 60.0)
    assert done_once(list(schedule(pool, split("collect", 2, 1), WorkerPolicy())), 2)
    assert pool.begun[0] == 6


def test_a_shard_that_is_lost_with_thirty_machines_is_a_failure() -> None:
    machines = [Machine(1, joins=100.0 * n, leaves=100.0 * n + 50) for n in range(LOST + 5)]
    pool = FakePool(*machines, takes=lambda shard: 60.0 if shard.index == 0 else 1.0)
    outcomes = list(schedule(pool, split("collect", 3, 1), WorkerPolicy()))
    (failure,) = failures(outcomes)
    assert (failure.shard.index, failure.is_final) == (0, True)
    assert failure.cause == "its machine was lost 30 times (told to)"
    assert pool.begun[0] == LOST
    assert len(outcomes) == 3


def test_a_machine_that_joins_gets_work_within_a_look() -> None:
    pool = FakePool(Machine(1), Machine(4, joins=20.0), birth=lambda _: 0.0)
    assert done_once(list(schedule(pool, split("collect", 100, 1), WorkerPolicy())), 100)
    assert pool.most_alive == 5
    alone = 20.0 + LOOK_S
    assert pool.clock <= alone + math.ceil((100 - alone) / 5) + 1


def test_room_that_shrinks_lets_go_of_those_that_have_not_come_up() -> None:
    pool = FakePool(Machine(2), Machine(6, leaves=10.0), birth=lambda number: 0.0 if number < 2 else NEVER)
    assert done_once(list(schedule(pool, split("collect", 60, 1), WorkerPolicy())), 60)
    assert len(pool.alive) == 2
    assert not pool.pending


def test_workers_beyond_room_are_asked_for_all_the_same() -> None:
    """That is how a cluster learns to grow: the second machine comes because six workers wait for it."""
    pool = FakePool(Machine(2), Machine(6, joins=NEVER), birth=lambda _: 0.0)

    def grow() -> None:
        if len(pool.pending) >= 6:
            pool.machines[1].joins = pool.clock
            pool._place()

    pool.at(12.0, grow)
    assert done_once(list(schedule(pool, split("collect", 90, 1), WorkerPolicy(n_workers=8))), 90)
    assert pool.most_alive == 8
    assert len(pool.workers) == 8


def test_no_more_are_asked_for_than_there_are_shards() -> None:
    pool = FakePool(Machine(2), birth=lambda _: 0.0)
    assert done_once(list(schedule(pool, split("collect", 5, 1), WorkerPolicy(n_workers=50))), 5)
    assert len(pool.workers) == 5
    assert not [worker for worker in pool.pending if not worker.was_dropped]


# ---- patience ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_workers", [None, 4])
@pytest.mark.parametrize("patience_s", [0.0, 25.0, 1000.0])
def test_what_no_machine_has_room_for_is_an_error_when_patience_ends(n_workers: int | None, patience_s: float) -> None:
    pool = FakePool()
    with pytest.raises(JobError, match=r"no worker started after \d+ s: a worker needs a slot; request less") as caught:
        list(schedule(pool, split("collect", 3, 1), WorkerPolicy(n_workers, patience_s=patience_s)))
    assert patience_s < pool.clock <= patience_s + LOOK_S + 1
    assert "`workers.patience_s`" in str(caught.value)


def test_the_default_patience_ends_within_thirty_seconds() -> None:
    pool = FakePool()
    with pytest.raises(JobError):
        list(schedule(pool, split("collect", 3, 1), WorkerPolicy()))
    assert pool.clock <= 30.0


def test_room_that_comes_before_patience_ends_is_used() -> None:
    pool = FakePool(Machine(2, joins=290.0))
    assert done_once(list(schedule(pool, split("collect", 5, 1), WorkerPolicy(patience_s=300.0))), 5)


def test_where_there_is_room_a_slow_start_is_waited_for_and_none_at_all_is_an_error() -> None:
    pool = FakePool(Machine(2), birth=lambda _: SLOWEST_START_S - 2 * LOOK_S)
    assert done_once(list(schedule(pool, split("collect", 5, 1), WorkerPolicy())), 5)
    pool = FakePool(Machine(2), birth=lambda _: NEVER)
    with pytest.raises(JobError, match="no worker started after 60"):
        list(schedule(pool, split("collect", 5, 1), WorkerPolicy()))


def test_when_all_machines_are_gone_their_like_are_waited_for_but_not_for_ever() -> None:
    back = FakePool(Machine(2, leaves=20.0), Machine(1, joins=20.0 + SLOWEST_START_S - 2 * LOOK_S))
    assert done_once(list(schedule(back, split("collect", 60, 1), WorkerPolicy())), 60)
    gone = FakePool(Machine(2, leaves=20.0))
    outcomes: list[Outcome] = []
    with pytest.raises(JobError, match=r"no worker is left after \d+ s: a worker needs a slot"):
        outcomes.extend(schedule(gone, split("collect", 60, 1), WorkerPolicy()))
    assert SLOWEST_START_S <= gone.clock - 20.0 <= SLOWEST_START_S + 2 * LOOK_S


# ---- hangs ---------------------------------------------------------------------------------------------------------


def test_a_shard_that_hangs_past_its_deadline_is_taken_back_and_done_elsewhere(
    caplog: pytest.LogCaptureFixture,
) -> None:
    pool = FakePool(Machine(2), fate=at(3, "hangs", 1))
    assert done_once(list(schedule(pool, split("collect", 10, 1), WorkerPolicy(deadline_s=60.0))), 10)
    assert 60.0 < pool.clock < 60.0 + 4 * LOOK_S
    assert "a worker is gone at shard 3 of `collect` (no answer for 60 s)" in caplog.text
    assert len(pool.workers) == 3


def test_a_shard_that_always_hangs_is_a_failure_and_what_waited_behind_it_is_not() -> None:
    pool = FakePool(Machine(1), fate=at(0, "hangs"))
    outcomes = list(schedule(pool, split("collect", 10, 1), WorkerPolicy(deadline_s=60.0)))
    (failure,) = failures(outcomes)
    assert failure.cause == "its worker died 3 times (no answer for 60 s)"
    assert len(outcomes) == 10


def test_without_a_deadline_of_its_own_a_shard_has_twenty_times_the_slowest_or_half_an_hour() -> None:
    pool = FakePool(Machine(1), fate=at(9, "hangs", 1))
    assert done_once(list(schedule(pool, split("collect", 10, 1), WorkerPolicy())), 10)
    assert SHORTEST_DEADLINE_S < pool.clock < SHORTEST_DEADLINE_S + 60
    slow = FakePool(Machine(1), fate=at(9, "hangs", 1), takes=lambda _: 300.0)
    assert done_once(list(schedule(slow, split("collect", 10, 1), WorkerPolicy())), 10)
    assert 10 * 300 + SLOWER * 300 < slow.clock < 10 * 300 + SLOWER * 300 + 60


def test_waiting_behind_another_shard_is_no_hanging() -> None:
    pool = FakePool(Machine(1), takes=lambda _: 50.0)
    assert done_once(list(schedule(pool, split("collect", 6, 1), WorkerPolicy(deadline_s=60.0))), 6)
    assert len(pool.workers) == 1


def test_a_late_answer_of_a_worker_that_was_let_go_is_not_heard() -> None:
    """It would be the shard's second outcome: the others take long enough that the loop still listens."""
    pool = FakePool(Machine(2), fate=at(0, "answers late", 1), takes=lambda _: 50.0)
    assert done_once(list(schedule(pool, split("collect", 100, 1), WorkerPolicy(deadline_s=60.0))), 100)
    assert pool.told_late == 1


# ---- all at once ---------------------------------------------------------------------------------------------------

FATES: tuple[Fate, ...] = ("fails", "dies", "hangs", "done, then dies", "done, dies untold", "answers late")


def _history(seed: int) -> tuple[FakePool, list[Shard], WorkerPolicy, int]:
    """Machines, faults and terms at random; shard `poison` kills whatever it meets."""
    chance = random.Random(seed)
    n, poison = chance.randrange(1, 60), chance.randrange(120)
    rate = chance.choice([0.0, 0.1, 0.4])
    machines = [Machine(chance.randrange(1, 4))]
    for _ in range(chance.randrange(4)):
        joins = chance.choice([0.0, chance.uniform(0, 300)])
        machines.append(Machine(chance.randrange(1, 4), joins, joins + chance.choice([NEVER, chance.uniform(1, 200)])))

    def fate(shard: Shard, attempt: int) -> Fate:
        if shard.index == poison:
            return "dies"
        return chance.choice(FATES) if attempt < DEATHS and chance.random() < rate else "done"

    def birth(number: int) -> float:
        return -1.0 if rate and number % 5 == 1 else chance.uniform(0, 10)

    pool = FakePool(*machines, fate=fate, takes=lambda _: chance.uniform(0.1, 30.0), birth=birth)
    for _ in range(chance.randrange(4)):
        pool.at(chance.uniform(0, 300), lambda: pool.kill(chance.choice(pool.alive)) if pool.alive else None)
    terms = WorkerPolicy(chance.choice([None, 1, 3, 20]), deadline_s=chance.choice([40.0, 200.0]))
    return pool, split("collect", n, 1), terms, poison


@pytest.mark.parametrize("decade", range(30))
def test_over_random_histories_no_shard_is_lost_and_none_is_told_twice(decade: int) -> None:
    """Every fault at once, three hundred times. One machine stays, so all can be done."""
    for seed in range(10 * decade, 10 * decade + 10):
        pool, shards, terms, poison = _history(seed)
        outcomes = list(schedule(pool, shards, terms))
        assert sorted(outcome.shard.index for outcome in outcomes) == [shard.index for shard in shards], seed
        assert pool.most_in_flight <= IN_FLIGHT, seed
        final = {failure.shard.index for failure in failures(outcomes) if failure.is_final}
        assert {poison} & {shard.index for shard in shards} <= final, seed
        assert final == {index for index, deaths in pool.charged.items() if deaths == DEATHS}, seed
        done = {outcome.shard.index for outcome in outcomes if isinstance(outcome, Receipt)}
        assert done <= pool.filed, seed


# ---- what it knows -------------------------------------------------------------------------------------------------


def test_the_loop_loads_nothing_heavy() -> None:
    heavy = "ray torch pyarrow pandas numpy fsspec"
    code = f"import polyscan.scheduling, sys; print(*(name for name in '{heavy}'.split() if name in sys.modules))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert ended.stdout.split() == []


# ---- large ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dies_every", [0, 10])
def test_what_the_loop_holds_does_not_grow_with_what_is_done(dies_every: int, quiet: None) -> None:
    shards = split("collect", 20_000, 1)
    held: list[int] = []
    tracemalloc.start()
    for number, _ in enumerate(schedule(Steady(20, dies_every), shards, WorkerPolicy())):
        if number % 2000 == 1999:
            held.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert len(held) == 10
    assert max(held[1:]) - held[0] < 10_000, "bytes"


@pytest.mark.parametrize("dies_every", [0, 100])
def test_a_thousand_workers_do_a_hundred_thousand_shards(dies_every: int, quiet: None) -> None:
    n = 100_000
    told = bytearray(n)
    start = time.process_time()
    for outcome in schedule(Steady(1000, dies_every), split("collect", n, 1), WorkerPolicy()):
        told[outcome.shard.index] += 1
    took = time.process_time() - start
    assert told == b"\x01" * n
    sys.stdout.write(f"{n:,} shards over 1,000 workers: {took:.1f} CPU s\n")


@pytest.fixture
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """pytest keeps every line of a log, which would be all that grows."""
    caplog.set_level(logging.ERROR, logger="polyscan.workers")
