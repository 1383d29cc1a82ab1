"""How far a run is, from its folder alone: by done records, failures, and the traces of what is at work."""

from __future__ import annotations

import time
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from polyscan.pipeline import STAGES
from polyscan.results import Results
from polyscan.run import Run
from polyscan.run.records import Done, Running
from polyscan.scheduling import adaptive_deadline_s

FEWEST = 20
"""Rates are of so many shards that were done last, or of two for each that is at work, where that is more."""


@dataclass(frozen=True)
class Throughput:
    """How fast a stage goes: what its last shards took, all workers together."""

    shards_per_minute: float
    items_per_minute: float


@dataclass(frozen=True)
class Stale:
    """A shard that has been at work for longer than its deadline: its worker hangs, or is gone with its driver."""

    trace: Running
    seconds: float
    deadline_s: float


@dataclass(frozen=True)
class StageStatus:
    """One stage.

    Args:
        stage: its name.
        done: shards that are done.
        total: of how many; None before it began.
        rows: of the shards that are done.
        seconds: of work on them.
        failures: records of those that failed.
        running: traces of those that are at work.
        stale: those of longer than their deadline.
        halved: how many were done with smaller batches, because memory ran out.
        rate: of the last ones; None while there are too few to tell.
    """

    stage: str
    done: int
    total: int | None
    rows: int
    seconds: float
    failures: list[dict[str, Any]]
    running: list[Running]
    stale: list[Stale]
    halved: int
    rate: Throughput | None

    @property
    def seconds_left(self) -> float | None:
        """At the present rate; None where nothing is at work or nobody can tell."""
        if self.total is None or self.rate is None or not self.running:
            return None
        return 60.0 * (self.total - self.done) / self.rate.shards_per_minute


def status_of(address: str) -> list[StageStatus]:
    """Each stage's status.

    Raises:
        TableError: if there is no run at this address.
    """
    run = Results(address).run
    deadline_s = _deadline_s(run)
    return [_stage_status(run, stage.name, deadline_s) for stage in STAGES]


def _deadline_s(run: Run) -> float | None:
    """The job's own, if it has one."""
    try:
        deadline_s = tomllib.loads(run.storage.read("job.toml").decode())["workers"]["deadline_s"]
    except (FileNotFoundError, ValueError, LookupError, TypeError):  # none was set, or the file is damaged
        return None
    return deadline_s if isinstance(deadline_s, int | float) else None


def _stage_status(run: Run, stage: str, deadline_s: float | None) -> StageStatus:
    traces = run.ledger.running(stage)  # before the done records, or what ends meanwhile would be in neither
    done = run.ledger.done(stage)
    slowest_s = max((record.seconds for record in done.values()), default=0.0)
    deadline_s = deadline_s or adaptive_deadline_s(slowest_s)
    now = time.time()
    traces = [trace for trace in traces if trace.index not in done]
    stale = [Stale(trace, now - trace.since, deadline_s) for trace in traces if now - trace.since > deadline_s]
    late = {each.trace.index for each in stale}
    running = [trace for trace in traces if trace.index not in late]
    return StageStatus(
        stage=stage,
        done=len(done),
        total=run.ledger.planned(stage),
        rows=sum(record.rows for record in done.values()),
        seconds=sum(record.seconds for record in done.values()),
        failures=[failure for failure in run.ledger.failures(stage) if failure.get("index") not in done],
        running=running,
        stale=stale,
        halved=sum(bool(record.batch) for record in done.values()),
        rate=throughput_of(list(done.values()), since=run.ledger.began(stage), n_running=len(running)),
    )


def throughput_of(done: Sequence[Done], *, since: float | None, n_running: int) -> Throughput | None:
    """The rate of the shards that were done last.

    Args:
        done: records of a stage, in any order.
        since: when work on it last began; what was done before is not counted, unless nothing was done after.
        n_running: shards at work.
    """
    timed = sorted(
        ((record.at, record) for record in done if record.at is not None), key=lambda each: (each[0], each[1].index)
    )
    timed = [each for each in timed if since is None or each[0] >= since] or timed
    last = timed[-max(FEWEST, 2 * n_running) :]
    if not last:
        return None
    before = timed[: -len(last)]
    begin = before[-1][0] if before else min(at - record.seconds for at, record in last)
    minutes = (last[-1][0] - begin) / 60.0
    if minutes <= 0.0:
        return None
    items = sum(record.stop - record.start for _, record in last)
    return Throughput(len(last) / minutes, items / minutes)
