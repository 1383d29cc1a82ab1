"""Law 1: the same bytes whatever runs it. Real workers on a real Ray that really die (the loop: `test_scheduling`)."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import toy
from nodes import until
from sabotage import hashes, sabotaged, without

from polyscan import pipeline, scheduling
from polyscan.errors import JobError
from polyscan.job import WorkersSettings
from polyscan.run import Run
from polyscan.scheduling import DEATHS, LOOK_S, SLOWEST_START_S, WorkerPolicy
from polyscan.shards import Outcome, Receipt, Resources, Runner, Shard, Work, split
from polyscan.studies import scanning

pytest.importorskip("ray")
from polyscan import ray_runner as rays
from polyscan.ray_runner import RayPool, fitting, ray_runner

pytestmark = pytest.mark.ray

Reference = tuple[Path, dict[str, str]]


@pytest.fixture(scope="module", autouse=True)
def _no_maps() -> Iterator[None]:
    """What runs elsewhere are stages; drawing takes longer than all of them here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline.report, "draw", lambda *_: None)
        yield


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    folder = tmp_path_factory.mktemp("reference")
    pipeline.scan(toy.job_with_all(folder / "images"), Run(str(folder / "run")), pipeline.in_process)
    return folder / "images", hashes(str(folder / "run"))


def taking(seconds: float) -> Callable[[], Work]:
    """Work that takes so long and tells its process as rows; made here, so that it travels by value."""

    def work(shard: Shard) -> Outcome:
        time.sleep(seconds)
        return Receipt(shard, os.getpid(), seconds)

    return lambda: work


NOTHING, A_WHILE = taking(0.0), taking(0.5)


def is_gone(process: int) -> bool:
    """Whether a process ends within a while; what its parent has yet to take note of is gone, too."""
    ended = time.monotonic() + 30
    while time.monotonic() < ended:
        try:
            state = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":
            return True
        time.sleep(0.1)
    return False


def only(stage: str, runner: Runner) -> Runner:
    """One stage with this runner, the others here, which is faster."""

    def run(make_work: Callable[[], Work], shards: Sequence[Shard], resources: Resources) -> Generator[Outcome]:
        does = runner if shards and shards[0].stage == stage else pipeline.in_process
        with closing(does(make_work, shards, resources)) as outcomes:
            yield from outcomes

    return run


# ---- the same bytes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_workers", [pytest.param(1, marks=pytest.mark.faults), 2])
def test_ray_gives_the_same_bytes(ray_session: None, reference: Reference, tmp_path: Path, n_workers: int) -> None:
    images, expected = reference
    run = Run(str(tmp_path / "run"))
    pipeline.scan(toy.job_with_all(images), run, ray_runner(WorkerPolicy(n_workers)))
    assert hashes(run.address) == expected
    assert not run.storage.files("running")


@pytest.mark.faults
def test_more_workers_than_there_is_room_for_give_the_same_bytes(
    ray_session: None, reference: Reference, tmp_path: Path
) -> None:
    """Eight on two CPUs: six are asked for in vain, and wait for nodes that never come."""
    images, expected = reference
    run = without("visualize", images.parent / "run", tmp_path / "run")
    pipeline.scan(toy.job_with_all(images), run, ray_runner(WorkerPolicy(8)))
    assert hashes(run.address) == expected


def test_a_killed_worker_changes_no_byte_and_no_other_shard_is_repeated(
    ray_session: None, reference: Reference, tmp_path: Path
) -> None:
    images, expected = reference
    counts = tmp_path / "counts"
    runner = sabotaged(ray_runner(WorkerPolicy(2)), counts, stage="visualize", index=1, times=2, fault="kill")
    run = without("visualize", images.parent / "run", tmp_path / "run")
    pipeline.scan(toy.job_with_all(images), run, runner)
    assert hashes(run.address) == expected
    assert len(list(counts.glob("strike-*"))) == 2
    done = [path.name.rsplit("-", 1)[0] for path in counts.glob("did-*")]
    assert len(done) == len(set(done)), "a shard that was done was done again"


@pytest.mark.faults
@pytest.mark.parametrize("fault", ["hang", "stop"])
def test_a_worker_that_hangs_is_ended_and_its_shard_is_done_elsewhere(
    ray_session: None, reference: Reference, tmp_path: Path, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    images, expected = reference
    runner = sabotaged(ray_runner(WorkerPolicy(2, deadline_s=4.0)), tmp_path / "c", stage="embed", index=1, fault=fault)
    run = without("embed", images.parent / "run", tmp_path / "run")
    pipeline.scan(toy.job_with_all(images), run, runner)
    # A process that stops at once may not have told of shard 0, which it had just done: then that is where it hangs.
    assert re.search(r"a worker is gone at shard [01] of `embed` \(no answer for 4 s\)", caplog.text)
    assert is_gone(int((tmp_path / "c" / "strike-0").read_text())), "it would be in the way"
    assert hashes(run.address) == expected
    assert not run.storage.files("running")
    assert not run.ledger.failures("embed")


def test_a_shard_that_fails_twice_is_done_at_the_third_try(
    ray_session: None, reference: Reference, tmp_path: Path
) -> None:
    images, expected = reference
    runner = sabotaged(ray_runner(WorkerPolicy(2)), tmp_path / "c", stage="embed", index=1, times=2, fault="raise")
    run = without("embed", images.parent / "run", tmp_path / "run")
    pipeline.scan(toy.job_with_all(images), run, runner)
    assert hashes(run.address) == expected
    assert not run.ledger.failures("embed"), "a failure that has passed is no failure"


# ---- what can't be done --------------------------------------------------------------------------------------------


@pytest.mark.faults
def test_a_shard_that_kills_every_worker_is_named_after_three(
    ray_session: None, reference: Reference, tmp_path: Path
) -> None:
    images, _ = reference
    runner = only(
        "collect",
        sabotaged(ray_runner(WorkerPolicy(2)), tmp_path / "c", stage="collect", index=0, times=99, fault="kill"),
    )
    run = Run(str(tmp_path / "run"))
    with pytest.raises(pipeline.ShardError, match="shard 0 of `collect` failed: its worker died 3 times") as caught:
        pipeline.scan(toy.job_with_all(images), run, runner)
    assert "worker process has died" in str(caught.value)
    (filed,) = run.ledger.failures("collect")
    assert "SYSTEM_ERROR" in filed["traceback"], "all that Ray knows of the last death"
    # A death may swallow the outcome of the shard done just before, which is then charged in its place, once each.
    assert DEATHS <= len(list((tmp_path / "c").glob("strike-*"))) <= DEATHS + 2
    assert sorted(run.ledger.done("collect")) == [1, 2]
    assert not run.storage.files("running")


def test_a_shard_that_always_fails_is_filed_with_its_traceback_and_the_rest_is_done(
    ray_session: None, reference: Reference, tmp_path: Path
) -> None:
    images, _ = reference
    runner = only(
        "collect",
        sabotaged(ray_runner(WorkerPolicy(2)), tmp_path / "c", stage="collect", index=1, times=99, fault="raise"),
    )
    run = Run(str(tmp_path / "run"))
    with pytest.raises(pipeline.ShardError, match="shard 1 of `collect` failed: sabotage"):
        pipeline.scan(toy.job_with_all(images), run, runner)
    (filed,) = run.ledger.failures("collect")
    assert (filed["index"], filed["cause"], filed["traceback"]) == (1, "sabotage", "Traceback of a saboteur")
    assert sorted(run.ledger.done("collect")) == [0, 2]
    assert len(list((tmp_path / "c").glob("strike-*"))) == pipeline.TRIES


@pytest.mark.parametrize("n_workers", [None, 3])
def test_workers_that_no_machine_has_room_for_are_an_error_soon(
    ray_session: None, monkeypatch: pytest.MonkeyPatch, n_workers: int | None
) -> None:
    monkeypatch.setattr(scheduling, "LOOK_S", 1.0)
    start = time.monotonic()
    runner = ray_runner(WorkerPolicy(n_workers, patience_s=1.0))
    with pytest.raises(JobError, match=r"a worker needs 64 CPUs and 0 GPUs on one machine, the Ray cluster has 2 and"):
        list(runner(NOTHING, split("collect", 3, 1), Resources(cpus=64)))
    assert time.monotonic() - start < 30 - LOOK_S, "the promise that an infeasible request is an error within 30 s"
    with pytest.raises(JobError, match="a worker needs 1 CPUs and 1 GPUs"):
        list(runner(NOTHING, split("collect", 3, 1), Resources(gpus=1.0)))


def test_work_that_cannot_be_made_anywhere_is_an_error_with_its_cause(ray_session: None) -> None:
    """As where polyscan is missing on the nodes."""

    def broken() -> Any:
        raise OSError("nothing to import here")

    with pytest.raises(
        JobError, match="3 consecutive workers ended before they started: OSError: nothing to import here"
    ):
        list(ray_runner(WorkerPolicy(1))(broken, split("collect", 2, 1), Resources()))


# ---- pools ---------------------------------------------------------------------------------------------------------


def machines(monkeypatch: pytest.MonkeyPatch, **has: tuple[float, float]) -> None:
    """Machines by name with so many CPUs and GPUs, whatever Ray really has."""
    found = {name: {"CPU": cpus, "GPU": gpus} for name, (cpus, gpus) in has.items()}
    monkeypatch.setattr(rays, "_machines", lambda: found)


@pytest.mark.parametrize(
    ("resources", "room"),
    [
        (Resources(1), 12),
        (Resources(3), 2),
        (Resources(1, 1.0), 3),
        (Resources(1, 0.5), 6),
        (Resources(4, 0.5), 2),
        (Resources(1, 0.3), 8),
    ],
)
def test_room_is_counted_machine_by_machine(monkeypatch: pytest.MonkeyPatch, resources: Resources, room: int) -> None:
    machines(monkeypatch, head=(0, 0), cpus=(2, 0), one=(2, 1), two=(8, 2))
    assert RayPool(resources).room() == room
    assert "has 12 and 3 on 4 machines" in RayPool(resources).needs()


def test_what_others_hold_leaves_less_room_on_their_machine_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    machines(monkeypatch, cpus=(8, 0), gpu=(8, 1))
    assert fitting(Resources(1), {"cpus": 4.0}) == 12
    assert fitting(Resources(1, 1.0), {"cpus": 4.0}) == 1
    assert fitting(Resources(4, 1.0), {"gpu": 5.0}) == 0
    assert fitting(Resources(4), {"gone": 99.0}) == 4
    pool = RayPool(Resources(1))
    pool.begin(NOTHING, {"cpus": 4.0})
    assert pool.room() == 12


class Held(RayPool):
    """A pool whose workers sit where it is told."""

    def __init__(self, resources: Resources, *on: str) -> None:
        super().__init__(resources)
        self.on, self.is_closed = list(on), False

    def machines(self) -> list[str]:
        return self.on

    def close(self) -> None:
        self.is_closed = True


@pytest.mark.parametrize(
    ("held", "given", "is_closed"),
    [
        (Held(Resources(1, 1.0), "gpu"), Resources(1), False),  # combine, while collect's worker keeps its GPU
        (Held(Resources(1), "cpus"), Resources(1, 1.0), False),  # visualize, beside combine's worker
        (Held(Resources(2), "gpu", "gpu"), Resources(5, 1.0), True),  # who stands before the GPU
        (Held(Resources(1), *["cpus"] * 9), Resources(1, 1.0), True),  # who holds more than half of the CPUs
        (Held(Resources(1, 1.0), "gpu"), Resources(2, 0.5), True),  # who holds the GPU
    ],
)
def test_workers_of_other_stages_stay_where_they_stand_in_nobodys_way(
    monkeypatch: pytest.MonkeyPatch, held: Held, given: Resources, is_closed: bool
) -> None:
    machines(monkeypatch, cpus=(8, 0), gpu=(8, 1))
    pools: dict[Resources, RayPool] = {held.resources: held, given: RayPool(given)}
    rays._make_room(pools, given)
    assert held.is_closed == is_closed
    assert (held.resources in pools) == (not is_closed)


def test_a_gpu_is_asked_for_where_the_cluster_has_one_or_the_job_insists(monkeypatch: pytest.MonkeyPatch) -> None:
    auto, insists = Resources(2, 0.5, gpus_are_optional=True), Resources(2, 0.5)
    machines(monkeypatch, cpus=(8, 0))
    assert rays._request(auto) == Resources(2)
    assert rays._request(insists) == insists
    machines(monkeypatch, cpus=(8, 0), gpu=(8, 1))
    assert rays._request(auto) == auto


def both_at_work(folder: Path) -> Callable[[], Work]:
    """Work that goes on once two processes are at it, and tells which one it was."""
    folder.mkdir()

    def work(shard: Shard) -> Outcome:
        (folder / str(os.getpid())).touch()
        while len(list(folder.iterdir())) < 2:
            time.sleep(0.01)
        return Receipt(shard, os.getpid(), 0.0)

    return lambda: work


def test_idle_workers_are_used_again_and_one_that_was_lost_meanwhile_is_nobodys_fault(
    ray_session: None, tmp_path: Path
) -> None:
    runner = ray_runner(WorkerPolicy(2))
    collect, embed = both_at_work(tmp_path / "collect"), both_at_work(tmp_path / "embed")
    first = {o.rows for o in runner(collect, split("collect", 8, 1), Resources()) if isinstance(o, Receipt)}
    assert len(first) == 2
    again = {o.rows for o in runner(embed, split("embed", 8, 1), Resources()) if isinstance(o, Receipt)}
    assert again == first, "a process that has loaded torch is worth keeping"
    for process in first:
        os.kill(process, signal.SIGKILL)
    assert all(is_gone(process) for process in first)
    outcomes = list(runner(A_WHILE, split("score", 4, 1), Resources()))
    assert all(isinstance(outcome, Receipt) for outcome in outcomes)
    assert not {outcome.rows for outcome in outcomes if isinstance(outcome, Receipt)} & first


def test_a_runner_that_is_closed_lets_go_of_what_is_at_work(ray_session: None) -> None:
    def for_ever(shard: Shard) -> Outcome:
        if shard.index:
            time.sleep(SLOWEST_START_S)
        return Receipt(shard, os.getpid(), 0.0)

    runner = ray_runner(WorkerPolicy(1))
    with closing(runner(lambda: for_ever, split("collect", 3, 1), Resources())) as outcomes:
        process = next(iter(outcomes)).rows
    assert is_gone(process)


# ---- the driver ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("asked", "terms"), [(None, WorkerPolicy(5, 60.0, 7.0)), (2, WorkerPolicy(2, 60.0, 7.0))])
def test_the_command_lines_workers_go_before_the_jobs(
    monkeypatch: pytest.MonkeyPatch, asked: int | None, terms: WorkerPolicy
) -> None:
    @contextmanager
    def connected() -> Iterator[None]:
        yield

    monkeypatch.setattr(rays, "connected", connected)
    monkeypatch.setattr(rays, "ray_runner", lambda terms: terms)
    with scanning.runner_for("ray", asked, WorkersSettings(n=5, deadline_s=60.0, patience_s=7.0)) as runner:  # pyright: ignore
        assert runner == terms


def _environment(address: str) -> dict[str, str]:
    paths = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "RAY_ADDRESS": address, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths}


def _until_visualizing(driver: subprocess.Popen[Any], run: Path) -> None:
    deadline = time.monotonic() + 90
    while not list((run / "done" / "visualize").glob("*.json")):
        assert driver.poll() is None, "the driver ended before it could be stopped"
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.faults
def test_a_killed_ray_driver_is_resumed_and_ray_address_joins_the_cluster(
    ray_session: None, reference: Reference, tmp_path: Path
) -> None:
    """Two drivers on this session's cluster, found by RAY_ADDRESS: the first is killed, the second finishes."""
    import ray  # noqa: TID251

    images, expected = reference
    job_file = tmp_path / "job.toml"
    job_file.write_text(toy.job_with_all(images).to_toml())
    run = tmp_path / "run"
    command = [sys.executable, "-m", "polyscan", "scan", str(job_file), "--run", str(run), "--quiet", "--workers", "2"]
    environment = _environment(ray.get_runtime_context().gcs_address)
    with subprocess.Popen(command, env=environment, cwd=tmp_path) as driver:
        _until_visualizing(driver, run)
        driver.send_signal(signal.SIGKILL)
    time.sleep(1)  # its workers end a moment after it; a shard in flight may still be filed, and that is no harm
    before = {path: path.stat().st_mtime_ns for path in (run / "done").rglob("*.json")}
    subprocess.run(command, env=environment, check=True, cwd=tmp_path, timeout=180)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert hashes(str(run)) == expected
    assert not list((run / "running").rglob("*.json"))


@pytest.mark.faults
def test_ctrl_c_ends_the_driver_and_its_workers_with_130_and_the_same_command_resumes(
    ray_session: None, reference: Reference, tmp_path: Path
) -> None:
    """As a terminal does it: the signal goes to the whole group of processes."""
    import ray  # noqa: TID251

    images, expected = reference
    job_file = tmp_path / "job.toml"
    job_file.write_text(toy.job_with_all(images).to_toml())
    run = tmp_path / "run"
    command = [sys.executable, "-m", "polyscan", "scan", str(job_file), "--run", str(run), "--quiet", "--workers", "2"]
    environment = _environment(ray.get_runtime_context().gcs_address)
    with subprocess.Popen(
        command, env=environment, cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as driver:
        _until_visualizing(driver, run)
        os.killpg(driver.pid, signal.SIGINT)
        _, err = driver.communicate(timeout=60)
    assert driver.returncode == 130, err
    assert err.strip().splitlines()[-1] == "interrupted; run the same command again to resume"
    assert "Traceback" not in err
    # A worker that Ray is about to end may leave a last trace behind the driver's back; nobody is at work for long.
    until(lambda: not Run(str(run)).ledger.others([stage.name for stage in pipeline.STAGES]), "a worker is at work")
    before = {path: path.stat().st_mtime_ns for path in (run / "done").rglob("*.json")}
    subprocess.run(command, env=environment, check=True, cwd=tmp_path, timeout=180)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert hashes(str(run)) == expected
