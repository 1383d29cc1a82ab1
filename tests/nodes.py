"""A scan on a Ray of several nodes, one of which joins late and is then lost. `test_nodes.py` runs it as a process.

Its own process, because it starts and kills parts of a Ray: what happens here can't disturb the tests' own session.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import toy

from polyscan import pipeline
from polyscan.run import Run
from polyscan.scheduling import WorkerPolicy
from polyscan.shards import Outcome, Resources, Runner, Shard, Work

STAGE, SECONDS = "embed", 0.8
STORE = 80_000_000


@dataclass
class Signed:
    """Wraps what makes workers: each shard of one stage takes a while and says on which node it begins."""

    make_work: Callable[[], Work]
    folder: Path

    def __call__(self) -> Work:
        import ray  # noqa: TID251

        work = self.make_work()
        node = ray.get_runtime_context().get_node_id()

        def signed(shard: Shard) -> Outcome:
            if shard.stage == STAGE:
                (self.folder / f"{shard.index}-{node}-{os.urandom(4).hex()}").touch()
                time.sleep(SECONDS)
            return work(shard)

        return signed


def signed(runner: Runner, folder: Path) -> Runner:
    """A runner whose workers sign."""

    def run(make_work: Callable[[], Work], shards: Sequence[Shard], resources: Resources) -> Generator[Outcome]:
        with closing(runner(Signed(make_work, folder), shards, resources)) as outcomes:
            yield from outcomes

    return run


def begun_on(folder: Path, node: str) -> list[int]:
    """Shards of the stage in the order in which they were begun on a node."""
    signs = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime_ns)
    return [int(path.name.split("-")[0]) for path in signs if path.name.split("-")[1] == node]


def until(is_so: Callable[[], object], what: str, timeout_s: float = 120.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not is_so():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} after {timeout_s:g} s")
        time.sleep(0.05)


class Late:
    """Watches a scan: a node joins when the stage has begun; at its third shard its raylet is killed."""

    def __init__(self, cluster: Any, folder: Path) -> None:
        self.cluster, self.folder = cluster, folder
        self.node: Any = None
        self.was_killed = False
        self.killer = threading.Thread(target=self.kill, daemon=True)

    def begin(self, stage: str, *, done: int, total: int) -> None: ...

    def outcome(self, outcome: Outcome) -> None:
        if outcome.shard.stage == STAGE and self.node is None:
            self.node = self.cluster.add_node(num_cpus=1, object_store_memory=STORE)
            self.killer.start()

    def kill(self) -> None:
        until(lambda: len(begun_on(self.folder, self.node.node_id)) >= 3, "the node that joined got no work")
        os.kill(self.node.all_processes["raylet"][0].process.pid, signal.SIGKILL)
        self.was_killed = True


def main(folder: Path, images: str) -> None:
    """Prints what happened as one line of JSON."""
    from ray.cluster_utils import Cluster  # noqa: TID251

    from polyscan.ray_runner import connected, ray_runner

    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    pipeline.report.draw = lambda *_: None  # type: ignore[assignment]
    signs = folder / "signs"
    signs.mkdir()
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": STORE})
    try:
        cluster.add_node(num_cpus=1, object_store_memory=STORE)
        os.environ["RAY_ADDRESS"] = cluster.address
        late = Late(cluster, signs)
        with connected():
            job = toy.job(Path(images), **CHANGES)
            pipeline.scan(job, Run(str(folder / "run")), signed(ray_runner(WorkerPolicy()), signs), watcher=late)
        begun = sorted(int(path.name.split("-")[0]) for path in signs.iterdir())
        told = {"was_killed": late.was_killed, "begun": begun, "there": begun_on(signs, late.node.node_id)}
    finally:
        cluster.shutdown()
    sys.stdout.write(json.dumps(told) + "\n")


CHANGES: dict[str, Any] = {"embed__crops_per_shard": 8}
"""More shards of the stage, so that it lasts while a node comes and goes."""

if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
