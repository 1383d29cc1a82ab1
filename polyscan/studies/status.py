"""The progress of a run, read from its folder alone: done records, failures, and traces of running shards."""

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
"""A rate counts this many of the last shards done, or two for each running shard, if that is more."""


@dataclass(frozen=True)
class Throughput:
    """How fast a stage goes: the rate of its last shards, all workers together."""

    shards_per_minute: float
    items_per_minute: float


@dataclass(frozen=True)
class Stale:
    """A shard that has been running for longer than its deadline: its worker hangs or has died."""

    trace: Running
    seconds: float
    deadline_s: float


@dataclass(frozen=True)
class StageStatus:
    """The progress of one stage.

    Args:
        stage: its name.
        done: shards that are done.
        total: all its shards; None before the stage began.
        rows: rows of the shards that are done.
        seconds: worker time of the shards that are done.
        failures: records of the shards that failed.
        running: traces of the shards that are running in time.
        stale: shards that are running for longer than their deadline.
        halved: how many shards were done with smaller batches, because memory ran out.
        rate: of the last shards; None while there are too few to tell.
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
        """Time left at the present rate; None if no shard is running or the rate is unknown."""
        if self.total is None or self.rate is None or not self.running:
            return None
        return 60.0 * (self.total - self.done) / self.rate.shards_per_minute


def status_of(address: str) -> list[StageStatus]:
    """The status of each stage.

    Raises:
        TableError: if there is no run at this address.
    """
    run = Results(address).run
    deadline_s = _deadline_s(run)
    return [_stage_status(run, stage.name, deadline_s) for stage in STAGES]


def _deadline_s(run: Run) -> float | None:
    """The deadline in the job file; None if it has none."""
    try:
        deadline_s = tomllib.loads(run.storage.read("job.toml").decode())["workers"]["deadline_s"]
    except (FileNotFoundError, ValueError, LookupError, TypeError):  # no deadline, or the file is damaged
        return None
    return deadline_s if isinstance(deadline_s, int | float) else None


def _stage_status(run: Run, stage: str, deadline_s: float | None) -> StageStatus:
    traces = run.ledger.running(stage)  # read before the done records: a shard that ends in between is in one of them
    done = run.ledger.done(stage)
    slowest_s = max((record.seconds for record in done.values()), default=0.0)
    unfinished = [trace for trace in traces if trace.index not in done]
    running, stale = _split_by_deadline(unfinished, deadline_s or adaptive_deadline_s(slowest_s))
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


def _split_by_deadline(traces: Sequence[Running], deadline_s: float) -> tuple[list[Running], list[Stale]]:
    """The shards that are running in time, and those that are running for longer than the deadline."""
    now = time.time()
    stale = [Stale(trace, now - trace.since, deadline_s) for trace in traces if now - trace.since > deadline_s]
    stale_shards = {shard.trace.index for shard in stale}
    return [trace for trace in traces if trace.index not in stale_shards], stale


def throughput_of(done: Sequence[Done], *, since: float | None, n_running: int) -> Throughput | None:
    """The rate of the shards that were done last.

    Args:
        done: records of a stage, in any order.
        since: when work on the stage last began; earlier shards are not counted, unless no shard was done since.
        n_running: how many shards are running.
    """
    timed = sorted(
        ((record.at, record) for record in done if record.at is not None), key=lambda pair: (pair[0], pair[1].index)
    )
    timed = [pair for pair in timed if since is None or pair[0] >= since] or timed
    last = timed[-max(FEWEST, 2 * n_running) :]
    if not last:
        return None
    earlier = timed[: -len(last)]
    begin = earlier[-1][0] if earlier else min(at - record.seconds for at, record in last)
    minutes = (last[-1][0] - begin) / 60.0
    if minutes <= 0.0:
        return None
    items = sum(record.stop - record.start for _, record in last)
    return Throughput(len(last) / minutes, items / minutes)
