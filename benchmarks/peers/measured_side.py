"""Plans a job, or does stages of a scan, in a process that does nothing else: what was foretold, or what it took."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from benchmarks.peers.orders import carry_out
from benchmarks.stages import do
from polyscan.job import Job
from polyscan.run import Run
from polyscan.shards import Outcome, Resources, Shard, Work
from polyscan.studies.plan import measuring, plan
from polyscan.studies.plan.measuring import watched


def answer(order: dict[str, Any]) -> dict[str, Any]:
    """The rows of the plan where no stages are named; else what each of them took."""
    job = Job.model_validate(order["job"])
    if not order.get("stages"):
        return foretold(job)
    return {stage: did(job, Run(order["run"]), stage) for stage in order["stages"]}


def foretold(job: Job) -> dict[str, Any]:
    """The plan in CPU seconds, and how long planning took."""
    measuring.clock = time.process_time
    started = time.perf_counter()
    outlined = plan(job)
    rows = {row.stage: asdict(row) | {"peak_mib": row.memory and row.memory / 2**20} for row in outlined.rows}
    return {"clock_seconds": time.perf_counter() - started, "rows": rows}


def did(job: Job, run: Run, stage: str) -> dict[str, Any]:
    """What the stage filed, its worker's seconds (CPU's, and the clock's by the run's records) and its peak memory."""
    cpu: list[float] = []

    def runner(make_work: Callable[[], Work], shards: Sequence[Shard], resources: Resources) -> Iterator[Outcome]:
        work = make_work()
        for shard in shards:
            started = time.process_time()
            outcome = work(shard)
            cpu.append(time.process_time() - started)
            yield outcome

    with watched() as peak:
        do(job, run, stage, runner)
    done = run.ledger.done(stage).values()
    return {
        "shards": len(done),
        "rows": sum(record.rows for record in done),
        "bytes": sum(part.bytes for record in done for part in record.parts),
        "seconds": sum(cpu),
        "clock_seconds": sum(record.seconds for record in done),
        "peak_mib": peak.process and peak.process / 2**20,
    }


if __name__ == "__main__":
    carry_out(answer)
