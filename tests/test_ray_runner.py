"""Law 1: the same bytes whatever runs it. The loop with a fake pool, then real workers that really die."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import toy
from sabotage import hashes, sabotaged

from polyscan import pipeline
from polyscan.errors import JobError
from polyscan.ray_runner import DEATHS, IN_FLIGHT, Died, ray_runner, schedule
from polyscan.run import Run
from polyscan.shards import Failure, Outcome, Receipt, Resources, Shard, split


class FakePool:
    """Workers that do shards at random times and die where told; checks the runner's promises on the way."""

    def __init__(self, *, dies: Callable[[Shard, int], bool] = lambda _, __: False, seed: int = 0) -> None:
        self.dies = dies
        self.random = random.Random(seed)
        self.queues: dict[int, deque[Shard]] = {}
        self.started = 0
        self.attempts: dict[int, int] = {}
        self.most_in_flight = 0
        self.most_workers = 0

    def start(self) -> int:
        self.queues[self.started] = deque()
        self.started += 1
        self.most_workers = max(self.most_workers, len(self.queues))
        return self.started - 1

    def submit(self, worker: int, shard: Shard) -> None:
        self.queues[worker].append(shard)
        self.most_in_flight = max(self.most_in_flight, len(self.queues[worker]))

    def wait(self) -> tuple[int, Shard, Outcome | Died]:
        worker = self.random.choice([worker for worker, queue in self.queues.items() if queue])
        shard = self.queues[worker][0]
        self.attempts[shard.index] = self.attempts.get(shard.index, 0) + 1
        if self.dies(shard, self.attempts[shard.index]):
            return worker, shard, Died("told to")
        self.queues[worker].popleft()
        return worker, shard, Receipt(shard, 1, 0.0)

    def drop(self, worker: int) -> None:
        del self.queues[worker]


@pytest.mark.parametrize("n_workers", [1, 3, 50])
def test_each_shard_comes_once_and_at_most_two_are_in_flight_per_worker(n_workers: int) -> None:
    shards, pool = split("collect", 20, 1), FakePool()
    outcomes = list(schedule(pool, shards, n_workers))
    assert sorted(outcome.shard.index for outcome in outcomes) == list(range(20))
    assert pool.most_in_flight <= IN_FLIGHT
    assert pool.most_workers == min(n_workers, 20)
    assert not any(pool.queues.values())


def test_a_worker_that_dies_is_replaced_and_only_the_shard_at_its_head_is_charged() -> None:
    shards = split("collect", 12, 1)
    pool = FakePool(dies=lambda shard, attempt: shard.index == 4 and attempt < DEATHS)
    outcomes = list(schedule(pool, shards, 2))
    assert sorted(outcome.shard.index for outcome in outcomes) == list(range(12))
    assert all(isinstance(outcome, Receipt) for outcome in outcomes)
    assert pool.attempts[4] == DEATHS
    assert {index: n for index, n in pool.attempts.items() if index != 4} == dict.fromkeys(
        [index for index in range(12) if index != 4], 1
    )
    assert pool.most_workers == 2


def test_a_shard_that_kills_three_workers_is_a_final_failure_and_the_rest_is_done() -> None:
    pool = FakePool(dies=lambda shard, _: shard.index == 0)
    outcomes = list(schedule(pool, split("collect", 6, 1), 2))
    failures = [outcome for outcome in outcomes if isinstance(outcome, Failure)]
    assert [failure.shard.index for failure in failures] == [0]
    assert failures[0].is_final
    assert "died 3 times (told to)" in failures[0].cause
    assert sorted(outcome.shard.index for outcome in outcomes) == list(range(6))
    assert pool.attempts[0] == DEATHS


def test_many_random_deaths_lose_and_repeat_nothing() -> None:
    for seed in range(20):
        chance = random.Random(seed)
        pool = FakePool(dies=lambda _, attempt, c=chance: attempt < DEATHS and c.random() < 0.3, seed=seed)
        outcomes = list(schedule(pool, split("collect", 40, 1), 4))
        assert sorted(outcome.shard.index for outcome in outcomes) == list(range(40))
        assert all(isinstance(outcome, Receipt) for outcome in outcomes)


def test_no_shards_start_no_worker() -> None:
    pool = FakePool()
    assert list(schedule(pool, [], 3)) == []
    assert pool.started == 0


@pytest.fixture(scope="module", autouse=True)
def _no_maps() -> Iterator[None]:
    """What runs elsewhere are stages; drawing takes longer than all of them here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline.show, "draw", lambda *_: None)
        yield


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    folder = tmp_path_factory.mktemp("reference")
    pipeline.scan(toy.job(folder / "images"), Run(str(folder / "run")), pipeline.in_process)
    return folder / "images", hashes(str(folder / "run"))


@pytest.mark.ray
@pytest.mark.parametrize("n_workers", [1, 2])
def test_ray_gives_the_same_bytes(
    ray_session: None, reference: tuple[Path, dict[str, str]], tmp_path: Path, n_workers: int
) -> None:
    images, expected = reference
    pipeline.scan(toy.job(images), Run(str(tmp_path / "run")), ray_runner(n_workers))
    assert hashes(str(tmp_path / "run")) == expected


@pytest.mark.ray
def test_a_killed_worker_changes_no_byte_and_no_other_shard_is_repeated(
    ray_session: None, reference: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    images, expected = reference
    counts = tmp_path / "counts"
    runner = sabotaged(ray_runner(2), counts, stage="visualize", index=1, times=2, fault="kill")
    pipeline.scan(toy.job(images), Run(str(tmp_path / "run")), runner)
    assert hashes(str(tmp_path / "run")) == expected
    assert len(list(counts.glob("strike-*"))) == 2
    done = [path.name.rsplit("-", 1)[0] for path in counts.glob("did-*")]
    assert len(done) == len(set(done)), "a shard that was done was done again"


@pytest.mark.ray
def test_a_shard_that_kills_every_worker_is_named_after_three(
    ray_session: None, reference: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    images, _ = reference
    runner = sabotaged(ray_runner(2), tmp_path / "c", stage="collect", index=0, times=99, fault="kill")
    run = Run(str(tmp_path / "run"))
    with pytest.raises(pipeline.ShardError, match="shard 0 of `collect` failed: its worker died 3 times"):
        pipeline.scan(toy.job(images), run, runner)
    # A death may swallow the outcome of the shard done just before, which is then charged in its place, once each.
    assert DEATHS <= len(list((tmp_path / "c").glob("strike-*"))) <= DEATHS + 2
    assert sorted(run.done("collect")) == [1, 2]


@pytest.mark.ray
def test_more_threads_than_the_cluster_has_are_refused_at_once(ray_session: None) -> None:
    with pytest.raises(JobError, match="a worker needs 64 CPUs"):
        list(ray_runner()(lambda: lambda shard: Receipt(shard, 0, 0.0), split("collect", 1, 1), Resources(cpus=64)))


@pytest.mark.ray
@pytest.mark.slow
def test_a_killed_ray_driver_is_resumed_and_ray_address_joins_the_cluster(
    ray_session: None, reference: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    """Two drivers on this session's cluster, found by RAY_ADDRESS: the first is killed, the second finishes."""
    import ray  # noqa: TID251

    images, expected = reference
    job_file = tmp_path / "job.toml"
    job_file.write_text(toy.job(images).to_toml())
    run = tmp_path / "run"
    command = [sys.executable, "-m", "polyscan", "scan", str(job_file), "--run", str(run), "--quiet", "--workers", "2"]
    address = ray.get_runtime_context().gcs_address
    paths = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "RAY_ADDRESS": address, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
    with subprocess.Popen(command, env=environment, cwd=tmp_path) as driver:
        deadline = time.monotonic() + 90
        while not list((run / "done" / "visualize").glob("*.json")):
            assert driver.poll() is None, "the driver ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.005)
        driver.send_signal(signal.SIGKILL)
    time.sleep(1)  # its workers end a moment after it; a shard in flight may still be filed, and that is no harm
    before = {path: path.stat().st_mtime_ns for path in (run / "done").rglob("*.json")}
    subprocess.run(command, env=environment, check=True, cwd=tmp_path, timeout=180)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert hashes(str(run)) == expected
