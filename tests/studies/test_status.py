"""How far a run is, from its folder alone: what is at work, what hangs, how fast it goes, when it will be done."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import toy

from polyscan import cli, pipeline
from polyscan.job import Job
from polyscan.run import Run
from polyscan.run.records import Done
from polyscan.shards import Shard
from polyscan.studies.status import FEWEST, StageStatus, Throughput, status_of, throughput_of

ITEMS = 5


def record(index: int, *, at: float | None, seconds: float = 6.0, batch: dict[str, int] | None = None) -> Done:
    """Of a shard of five items."""
    return Done("collect", index, 100, ITEMS * index, ITEMS * (index + 1), "print", (), seconds, at, batch)


# ---- rates ---------------------------------------------------------------------------------------------------------


def test_the_rate_is_that_of_the_clock_whoever_works() -> None:
    one = [record(n, at=100.0 + 6 * n) for n in range(1, 11)]
    assert throughput_of(one, since=None, n_running=1) == Throughput(10.0, 50.0)
    three = [record(n, at=100.0 + 6 * (n // 3)) for n in range(3, 12)]
    rate = throughput_of(three, since=None, n_running=3)
    assert rate is not None
    assert rate.shards_per_minute == pytest.approx(30.0)


def test_the_rate_is_that_of_the_last_shards() -> None:
    slow = [record(n, at=60.0 * n, seconds=60.0) for n in range(50)]
    fast = [record(50 + n, at=60.0 * 49 + n, seconds=1.0) for n in range(1, FEWEST + 1)]
    rate = throughput_of([*fast, *slow], since=None, n_running=1)
    assert rate == Throughput(60.0, 300.0)
    of_twice_as_many = throughput_of([*fast, *slow], since=None, n_running=FEWEST)
    assert of_twice_as_many is not None
    assert of_twice_as_many.shards_per_minute < 3


def test_a_night_between_two_scans_is_not_counted() -> None:
    evening, morning = [record(n, at=6.0 * n) for n in range(1, 11)], [record(n, at=5e4 + 6 * n) for n in range(11, 16)]
    rate = throughput_of([*evening, *morning], since=5e4 + 60.0, n_running=1)
    assert rate is not None
    assert rate.shards_per_minute == pytest.approx(10.0)
    assert throughput_of(evening, since=5e4, n_running=1) == Throughput(10.0, 50.0), "nothing new yet: as it was"


@pytest.mark.parametrize("done", [[], [record(0, at=None)], [record(0, at=5.0, seconds=0.0)]])
def test_nobody_can_tell(done: list[Done]) -> None:
    assert throughput_of(done, since=None, n_running=1) is None


# ---- a folder ------------------------------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run whose `collect` is at work: 4 of 10 shards done, 2 at work, one for an hour, one that failed."""
    run = Run(str(tmp_path / "run"))
    run.save_manifest({"stages": {}})
    now = time.time()
    run.storage.put("plan/collect.json", json.dumps({"shards": 10, "since": now - 60.0}).encode())
    for index in range(4):
        put(run, record(index, at=now - 40 + 10 * index, seconds=10.0, batch={"collect.batch": 4} if index else None))
    for index, since in ((3, now - 30), (4, now - 1), (5, now - 2), (6, now - 3600)):
        trace = {"index": index, "host": "node-7", "pid": 99, "since": since}
        run.storage.put(f"running/collect/{index:05d}-of-00010.json", json.dumps(trace).encode())
    run.ledger.write_failure(Shard("collect", 7, 10, 35, 40), cause="no memory [at all]", traceback="Traceback")
    return run


def put(run: Run, done: Done) -> None:
    from dataclasses import asdict

    run.storage.put(f"done/collect/{done.index:05d}-of-00010.json", json.dumps(asdict(done)).encode())


def collect_of(run: Run) -> StageStatus:
    (status,) = (status for status in status_of(run.address) if status.stage == "collect")
    return status


def test_what_is_at_work_and_when_it_will_be_done(run: Run) -> None:
    status = collect_of(run)
    assert (status.done, status.total, status.halved) == (4, 10, 3)
    assert [trace.index for trace in status.running] == [4, 5], "shard 3 is done; its worker died before it tidied up"
    assert [late.trace.index for late in status.stale] == [6]
    assert status.stale[0].deadline_s == 1800.0
    assert status.stale[0].seconds == pytest.approx(3600, abs=60)
    assert status.rate is not None
    assert status.rate.shards_per_minute == pytest.approx(6.0)
    assert status.rate.items_per_minute == pytest.approx(6.0 * ITEMS)
    assert status.seconds_left == pytest.approx(60.0)


def test_the_jobs_own_deadline_says_what_hangs(run: Run) -> None:
    run.storage.put("job.toml", b"[workers]\ndeadline_s = 1.5\n")
    assert [late.trace.index for late in collect_of(run).stale] == [5, 6]
    run.storage.put("job.toml", b"[workers]\ndeadline_s = 7200\n")
    assert collect_of(run).stale == []


def test_the_slowest_shard_says_what_hangs_where_the_job_does_not(run: Run) -> None:
    put(run, record(0, at=time.time(), seconds=200.0))
    (status,) = (status for status in status_of(run.address) if status.stage == "collect")
    assert status.stale == []


def test_where_nothing_is_at_work_nobody_says_when_it_will_be_done(run: Run) -> None:
    run.ledger.clear_running("collect")
    status = collect_of(run)
    assert status.rate is not None
    assert status.seconds_left is None


def test_the_command_tells_it(run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["polyscan", "status", run.address])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 3
    out = capsys.readouterr().out
    (line,) = (line for line in out.splitlines() if line.startswith("collect\t"))
    cells = line.split("\t")
    assert cells == ["collect", "4", "10", "2", "1", "3", "0", "40 s"]
    assert "collect: 6 shards, 30 items per minute; 60 s left" in out
    assert "shard 7 of collect: no memory [at all]" in out
    assert "shard 6 of collect: running on node-7 (process 99) for 60 min, longer than its deadline of 30 min" in out


# ---- a scan --------------------------------------------------------------------------------------------------------


def looking(monkeypatch: pytest.MonkeyPatch, look: Callable[[Run], None]) -> None:
    """`collect`'s worker looks at the run while it is at work."""
    real = pipeline.collect.Worker

    def make(job: Job, run: Run) -> Callable[[Shard], dict[str, Any]]:
        work = real(job, run)

        def does(shard: Shard) -> dict[str, Any]:
            look(run)
            return work(shard)

        return does

    monkeypatch.setattr(pipeline.collect, "Worker", make)
    monkeypatch.setattr(pipeline.report, "draw", lambda *_: None)


def test_a_shard_leaves_a_trace_while_it_is_at_work_and_none_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[StageStatus] = []
    looking(monkeypatch, lambda run: seen.append(collect_of(run)))
    run = Run(str(tmp_path / "run"))
    begin = time.time()
    pipeline.scan(toy.job(tmp_path / "images", visualize__enabled=False), run, pipeline.in_process)
    assert [status.done for status in seen] == [0, 1, 2]
    for index, status in enumerate(seen):
        (trace,) = status.running
        assert (trace.index, trace.host, trace.pid) == (index, platform.node(), os.getpid())
        assert begin <= trace.since <= time.time()
    assert run.storage.files("running") == []
    assert all(status.seconds_left is None for status in status_of(run.address))


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_a_scan_that_ends_early_leaves_no_trace_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    def interrupt(run: Run) -> None:
        raise error

    looking(monkeypatch, interrupt)
    run = Run(str(tmp_path / "run"))
    run.storage.put("running/collect/00009-of-00003.json", b'{"index": 9, "host": "", "pid": 1, "since": 0}')
    with pytest.raises((KeyboardInterrupt, pipeline.ShardError)):
        pipeline.scan(toy.job(tmp_path / "images", visualize__enabled=False), run, pipeline.in_process)
    assert run.storage.files("running") == []
