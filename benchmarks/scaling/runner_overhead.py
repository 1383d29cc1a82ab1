"""What the Ray runner adds to shards of one second: `python -m benchmarks.scaling.runner_overhead`.

Shards that do nothing but sleep, or keep a core busy, for a second each on real Ray workers; from the first shard's end
to the last one's, against the seconds that they asked for. Busy workers share the cores with the driver and Ray's own
processes, as they do in a scan on one machine.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

from polyscan.ray_runner import connected, ray_runner
from polyscan.scheduling import WorkerPolicy
from polyscan.shards import Outcome, Receipt, Resources, Shard, Work, split

SHARDS_PER_WORKER, SECONDS = 30, 1.0


def slept() -> Work:
    """Work that takes a second and no core."""

    def work(shard: Shard) -> Outcome:
        time.sleep(SECONDS)
        return Receipt(shard, 1, SECONDS)

    return work


def busied() -> Work:
    """Work that takes a second of a core."""

    def work(shard: Shard) -> Outcome:
        end = time.process_time() + SECONDS
        while time.process_time() < end:
            pass
        return Receipt(shard, 1, SECONDS)

    return work


def overhead(make_work: Callable[[], Work], n_workers: int) -> float:
    """The share that is added to what the shards take by themselves."""
    shards = split("collect", (SHARDS_PER_WORKER + 1) * n_workers, 1)
    outcomes = ray_runner(WorkerPolicy(n_workers))(make_work, shards, Resources())
    ends = [time.perf_counter() for _ in outcomes]
    first = ends[n_workers - 1]  # each worker has ended one
    return (ends[-1] - first) / (SHARDS_PER_WORKER * SECONDS) - 1.0


def main() -> None:
    """Prints a line for each case."""
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    cores = len(os.sched_getaffinity(0))
    with connected(n_cpus=8):
        for name, make_work, n_workers in (
            ("asleep", slept, 1),
            ("asleep", slept, 8),
            ("busy", busied, 1),
            ("busy", busied, cores),
        ):
            sys.stdout.write(f"{n_workers} workers, {name}: {overhead(make_work, n_workers):+.2%}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
