"""Law: whatever dies, breaks, fills up or is done twice, in the end there are the same bytes, or a line that says why.

`make test` runs the short cells; `make test-faults` all of them, with a table at the end.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from sabotage import sabotaged

from faults.cells import (
    N_SHARDS,
    STAGE,
    Commands,
    Ended,
    Reference,
    assert_no_half_parts,
    assert_same,
    disk,
    driver,
    finished,
    is_alive,
    left_aside,
    only,
    pages,
    remount,
    strikes,
    until,
    until_in,
)
from polyscan import pipeline
from polyscan.run import Run
from polyscan.shards import Runner

SEED = 20
Struck = Callable[[str], None]
WHERE = ["here", pytest.param("ray", marks=[pytest.mark.faults, pytest.mark.ray])]


@pytest.fixture
def where(request: pytest.FixtureRequest) -> Runner:
    """Workers in this process, or two on the session's Ray."""
    if request.param == "here":
        return pipeline.in_process
    request.getfixturevalue("ray_session")
    return two_on_ray()


def two_on_ray(deadline_s: float | None = None) -> Runner:
    """Two workers."""
    from polyscan.ray_runner import ray_runner
    from polyscan.scheduling import WorkerPolicy

    return ray_runner(WorkerPolicy(2, deadline_s=deadline_s))


def gcs_address() -> str:
    """Where the session's Ray is to be joined."""
    import ray  # noqa: TID251

    return ray.get_runtime_context().gcs_address


def times(run: Path) -> dict[Path, int]:
    """When each shard was filed that is done."""
    return {path: path.stat().st_mtime_ns for path in (run / "done").rglob("*.json")}


# ---- workers -------------------------------------------------------------------------------------------------------


@pytest.mark.faults
@pytest.mark.ray
def test_worker_killed_half_way_through_a_part(
    ray_session: None,
    reference: Reference,
    run: Path,
    tmp_path: Path,
    command: Commands,
    struck: Struck,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What it had written aside never gets a name, and is gone in the end."""
    runner = only(STAGE, sabotaged(two_on_ray(), tmp_path / "s", stage=STAGE, index=7, fault="half"))
    ended = command.scan(reference, run, runner)
    assert ended.status == 0, ended.err
    (process,) = strikes(tmp_path / "s")
    assert not is_alive(process)
    assert f"a worker is gone at shard 7 of `{STAGE}`" in caplog.text
    struck(f"process {process} died between writing a part and naming it")
    assert_same(run, reference)


@pytest.mark.faults
@pytest.mark.ray
def test_workers_killed_again_and_again(
    ray_session: None, reference: Reference, run: Path, tmp_path: Path, command: Commands, struck: Struck
) -> None:
    """Every third shard's worker dies, at a moment that nobody chose."""
    from faults.gates import EVERY, Killer, gated

    runner = gated(two_on_ray(), tmp_path / "gate")
    killer = Killer(tmp_path / "gate", SEED)
    killer.start()
    try:
        ended = command.scan(reference, run, runner)
    finally:
        killer.over.set()
        killer.join()
    assert ended.status == 0, ended.err
    assert len(killer.killed) >= N_SHARDS // EVERY, "too few were killed"
    assert not any(is_alive(process) for process in killer.killed)
    struck(f"{len(killer.killed)} workers killed")
    assert_same(run, reference)


@pytest.mark.parametrize("where", WHERE, indirect=True)
def test_shard_that_always_raises(
    where: Runner, reference: Reference, run: Path, tmp_path: Path, command: Commands, struck: Struck
) -> None:
    """It is named with its traceback, its siblings are done; without the cause the same command goes on."""
    runner = only(STAGE, sabotaged(where, tmp_path / "s", stage=STAGE, index=3, times=99, fault="throw"))
    ended = command.scan(reference, run, runner)
    assert ended.status == 3, ended.err
    assert f"shard 3 of `{STAGE}` failed: ArithmeticError: sabotage of shard 3" in ended.err
    assert len(strikes(tmp_path / "s")) == pipeline.TRIES
    (filed,) = Run(str(run)).ledger.failures(STAGE)
    assert filed["traceback"].startswith("Traceback")
    assert 'raise ArithmeticError(f"sabotage' in filed["traceback"]
    assert sorted(Run(str(run)).ledger.done(STAGE)) == [n for n in range(N_SHARDS) if n != 3]
    assert not Run(str(run)).ledger.done("calibrate"), "a later stage has begun"
    assert command("status", run).status == 3
    struck(f"raised {pipeline.TRIES} times")
    before = times(run)
    assert command.scan(reference, run).status == 0
    assert {path: times(run)[path] for path in before} == before, "a shard that was done was done again"
    assert_same(run, reference)


@pytest.mark.faults
@pytest.mark.ray
@pytest.mark.parametrize("where", ["ray"], indirect=True)
def test_shard_that_raises_twice(
    where: Runner, reference: Reference, run: Path, tmp_path: Path, command: Commands, struck: Struck
) -> None:
    runner = only(STAGE, sabotaged(where, tmp_path / "s", stage=STAGE, index=3, times=2, fault="throw"))
    assert command.scan(reference, run, runner).status == 0
    assert len(strikes(tmp_path / "s")) == 2
    struck("raised twice")
    assert_same(run, reference)


@pytest.mark.faults
@pytest.mark.ray
def test_shard_that_hangs(
    ray_session: None,
    reference: Reference,
    run: Path,
    tmp_path: Path,
    command: Commands,
    struck: Struck,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its deadline takes it back, and ends its worker."""
    runner = only(STAGE, sabotaged(two_on_ray(4.0), tmp_path / "s", stage=STAGE, index=5, fault="hang"))
    assert command.scan(reference, run, runner).status == 0
    (process,) = strikes(tmp_path / "s")
    until(lambda: not is_alive(process), "the worker that hangs still runs")
    assert f"a worker is gone at shard 5 of `{STAGE}` (no answer for 4 s)" in caplog.text
    struck(f"process {process} hung, and was ended after 4 s")
    assert_same(run, reference)


# ---- machines ------------------------------------------------------------------------------------------------------


# ---- drivers -------------------------------------------------------------------------------------------------------


@pytest.mark.faults
@pytest.mark.parametrize(("on", "n_kills"), [("here", 3), pytest.param("ray", 10, marks=pytest.mark.ray)])
def test_driver_killed_at_random_moments(
    on: str, n_kills: int, reference: Reference, tmp_path: Path, request: pytest.FixtureRequest, struck: Struck
) -> None:
    """What was done is never done again, and what was being written is no part of the run."""
    if on == "ray":
        request.getfixturevalue("ray_session")
    address = gcs_address() if on == "ray" else ""
    words = ("--quiet", "--workers", "2") if on == "ray" else ("--quiet",)
    moments = random.Random(SEED)
    run, done, killed, n_runs, left = tmp_path / "run-0", dict[Path, int](), list[str](), 1, 0
    while len(killed) < n_kills:
        more, delay_s = moments.randint(1, 3), moments.uniform(0, 0.1)
        saboteur = {"folder": tmp_path / "s", "stage": STAGE, "index": N_SHARDS, "fault": "kill"}  # strikes nowhere
        with driver(reference, run, *words, address=address, **saboteur) as process:
            until(lambda: len(times(run)) >= len(done) + more or process.poll() is not None, "nothing was done")  # noqa: B023
            try:
                process.wait(delay_s)
            except subprocess.TimeoutExpired:
                process.kill()
                killed.append(f"{more}+{delay_s:.3f}s")
            _, err = process.communicate()
        # A worker on Ray outlives its driver by a moment, and may still file what it had begun.
        until(lambda: not any(map(is_alive, begun_by(tmp_path / "s"))), "workers outlive their driver")
        left += len(left_aside(run))
        now = times(run)
        assert {path: now.get(path) for path in done} == done, "a shard that was done was done again"
        done = now
        if process.returncode == 0:
            assert_same(run, reference)
            run, done, n_runs = tmp_path / f"run-{n_runs}", {}, n_runs + 1
        else:
            assert process.returncode == -signal.SIGKILL, err
    with driver(reference, run, *words, address=address) as process:
        ended = finished(process)
    assert ended.status == 0, ended.err
    struck(f"seed {SEED}: killed after shards+delay {' '.join(killed)}; {left} files were left half written")
    assert {path: times(run)[path] for path in done} == done, "a shard that was done was done again"
    assert_same(run, reference)


def begun_by(folder: Path) -> set[int]:
    """Processes that have begun a shard."""
    return {int(path.name.rsplit("-", 1)[1].split(".")[0]) for path in folder.glob("did-*")}


@pytest.mark.faults
@pytest.mark.ray
def test_ctrl_c_ends_driver_and_workers(
    ray_session: None, reference: Reference, run: Path, tmp_path: Path, command: Commands, struck: Struck
) -> None:
    """As a terminal does it: the signal goes to the whole group of processes."""
    saboteur = {"folder": tmp_path / "s", "stage": STAGE, "index": 9, "fault": "wait"}
    with driver(reference, run, "--quiet", "--workers", "2", address=gcs_address(), **saboteur) as process:
        until_in(process, lambda: strikes(tmp_path / "s"), "no shard was held")
        until_in(process, lambda: len(begun_by(tmp_path / "s")) == 2, "the other worker does nothing")
        os.killpg(process.pid, signal.SIGINT)
        ended = finished(process)
    assert ended.status == 130, ended.err
    assert ended.err.strip().splitlines()[-1] == "interrupted; run the same command again to resume"
    workers = begun_by(tmp_path / "s")
    until(lambda: not any(map(is_alive, workers)), "workers outlive their driver")
    assert not Run(str(run)).ledger.running(STAGE), "a worker that outlives its driver by a moment may leave a trace"
    struck(f"{len(workers)} workers ended")
    before = times(run)
    assert command.scan(reference, run).status == 0
    assert {path: times(run)[path] for path in before} == before
    assert_same(run, reference)


@pytest.mark.faults
@pytest.mark.parametrize("on", ["here", pytest.param("ray", marks=pytest.mark.ray)])
def test_two_drivers_at_once(
    on: str, reference: Reference, run: Path, tmp_path: Path, request: pytest.FixtureRequest, struck: Struck
) -> None:
    """Both do everything, in each other's way, and both end well."""
    if on == "ray":
        request.getfixturevalue("ray_session")
    address = gcs_address() if on == "ray" else ""
    words = ("--quiet", "--workers", "1") if on == "ray" else ("--quiet",)
    places = [tmp_path / "one", tmp_path / "two"]
    # Both wait at the first shard of all, and go on together.
    plans = [{"folder": place, "stage": "survey", "index": 0, "fault": "wait"} for place in places]
    with (
        driver(reference, run, *words, address=address, **plans[0]) as one,
        driver(reference, run, *words, address=address, **plans[1]) as two,
    ):
        until(lambda: all(map(strikes, places)) or one.poll() or two.poll(), "the drivers do not begin")
        for place in places:
            (place / "go").touch()
        endings = [finished(one), finished(two)]
    assert [ended.status for ended in endings] == [0, 0], "\n".join(ended.err for ended in endings)
    did = [{path.name.rsplit("-", 1)[0] for path in place.glob("did-*")} for place in places]
    assert all(did), "one of them has done nothing"
    struck(f"{len(did[0])} and {len(did[1])} shards begun, {len(did[0] & did[1])} by both")
    assert_same(run, reference)


@pytest.mark.faults
def test_second_driver_joins_late(
    reference: Reference, run: Path, tmp_path: Path, command: Commands, struck: Struck, caplog: pytest.LogCaptureFixture
) -> None:
    """It says so in a line, does what is left, and the first one finds it done."""
    saboteur = {"folder": tmp_path / "s", "stage": STAGE, "index": 9, "fault": "wait"}
    with driver(reference, run, "--quiet", **saboteur) as process:
        until_in(process, lambda: strikes(tmp_path / "s"), "no shard was held")
        until_in(process, lambda: Run(str(run)).ledger.running(STAGE), "it leaves no trace")
        ended = command.scan(reference, run)
        (tmp_path / "s" / "go").touch()
        first = finished(process)
    assert ended.status == first.status == 0, ended.err + first.err
    warnings = [record.message for record in caplog.records if "another scan seems" in record.message]
    assert len(warnings) == 1
    assert f"process {process.pid} on" in warnings[0]
    struck(f"joined process {process.pid} in the middle of `{STAGE}`")
    assert_same(run, reference)


# ---- disks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", WHERE, indirect=True)
def test_disk_that_fills(
    where: Runner, reference: Reference, tmp_path: Path, command: Commands, struck: Struck
) -> None:
    """One line, no half part; with more room the same command goes on."""
    size = int(0.6 * pages(reference.address))
    with disk(tmp_path / "disk", size) as place:
        run = place / "run"
        ended = command.scan(reference, run, where)
        assert_one_line(ended, f"the run folder {run} can't be written (No space left on device); free some space")
        done = times(run)
        assert done
        struck(f"full at {size // 1024} kB, with {len(done)} shards done")
        assert_no_half_parts(run, reference)
        again = command.scan(reference, run, where)  # while it is still full
        assert_one_line(again, f"the run folder {run} can't be written (No space left on device)")
        remount(place, f"size={8 * size}")
        assert command.scan(reference, run, where).status == 0
        assert {path: times(run)[path] for path in done} == done, "a shard that was done was done again"
        assert_same(run, reference)


@pytest.mark.parametrize("where", WHERE, indirect=True)
def test_folder_that_turns_read_only(
    where: Runner, reference: Reference, tmp_path: Path, command: Commands, struck: Struck
) -> None:
    """As where a file system has errors, or an administrator acts."""
    with disk(tmp_path / "disk", 8 * pages(reference.address)) as place:
        run = place / "run"
        lock = ["mount", "-o", "remount,ro", str(place)]
        runner = sabotaged(where, tmp_path / "s", stage=STAGE, index=9, fault="run", command=lock)
        ended = command.scan(reference, run, runner)
        assert_one_line(ended, f"the run folder {run} can't be written (Read-only file system); choose another --run")
        assert len(strikes(tmp_path / "s")) == 1
        done = times(run)
        struck(f"read-only with {len(done)} shards done")
        assert_no_half_parts(run, reference)
        assert command.scan(reference, run, where).status == 2
        remount(place, "rw")
        assert command.scan(reference, run, where).status == 0
        assert {path: times(run)[path] for path in done} == done, "a shard that was done was done again"
        assert_same(run, reference)


def assert_one_line(ended: Ended, says: str) -> None:
    """The status of a job that can't be done, and a line on what is wrong and what to do."""
    assert ended.status == 2, ended.err
    assert ended.err.startswith(says)
    assert len(ended.err.splitlines()) == 1


@pytest.mark.faults
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_log_on_a_full_disk(reference: Reference, run: Path, tmp_path: Path, struck: Struck) -> None:
    """A scan does not end because nobody can read what it says."""
    code = "import sys; sys.argv[0] = 'polyscan'; from polyscan import maps, cli; maps.pages = lambda _: []; cli.main()"
    words = [sys.executable, "-c", code, "scan", str(reference.job_file), "--run", str(run)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with open("/dev/full", "w") as full:
        ended = subprocess.run(words, stderr=full, stdout=subprocess.PIPE, env=environment, text=True, check=False)
        assert ended.returncode == 0
        assert ended.stdout.splitlines()[-1] == f"{run}/maps/index.html"
        assert_same(run, reference)
        other = subprocess.run([*words, "--set", "seed=1"], stderr=full, env=environment, check=False)
    assert other.returncode == 2, "what can't be said is still in the exit status"
    struck("every write to standard error failed")


# ---- damage after the fact -----------------------------------------------------------------------------------------


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGE: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "a part truncated": ("embeddings/part", truncate, r" bytes expected, "),
    "a bit flipped": ("embeddings/part", flip, "sha256 "),
    "a part gone": ("thumbnails/part", Path.unlink, "nothing found"),
    "a record truncated": (f"done/{STAGE}/", truncate, 'bytes that begin with "{'),
    "a record empty": (f"done/{STAGE}/", lambda path: path.write_bytes(b""), "nothing found"),
    "a record no JSON": (f"done/{STAGE}/", lambda path: path.write_bytes(b"\xff\x00\x17"), "3 bytes that begin with"),
    "a record of nothing": (f"done/{STAGE}/", lambda path: path.write_bytes(b"[null]"), '"[null]"'),
    "a record of another shard": (
        f"done/{STAGE}/",
        lambda path: shutil.copy(path.with_name(path.name.replace("00011", "00012")), path),
        "JSON of its shard expected",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage(
    damage: str,
    reference: Reference,
    run: Path,
    command: Commands,
    struck: Struck,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """`status --verify` names it, the same command mends it and does nothing else."""
    shutil.copytree(reference.address, run)
    prefix, strike, says = DAMAGE[damage]
    (damaged,) = run.glob(f"{prefix}*00011-of-{N_SHARDS:05d}*")
    strike(damaged)
    ended = command("status", run, "--verify")
    assert ended.status == 3
    (told,) = (line for line in ended.out.splitlines() if line.startswith(damaged.relative_to(run).as_posix()))
    assert says in told
    assert told.endswith(f"(shard 11 of `{STAGE}`)")
    struck(damage)
    caplog.clear()
    before = times(run)
    mended = command.scan(reference, run)
    assert (mended.status, mended.err) == (0, "")
    assert "shard counts as not done" in caplog.text
    assert {path.name for path, at in times(run).items() if before.get(path) != at} == {f"00011-of-{N_SHARDS:05d}.json"}
    assert command("status", run, "--verify").status == 0
    assert_same(run, reference)


def test_damage_on_an_object_store(reference: Reference, tmp_path: Path, command: Commands, struck: Struck) -> None:
    """There a size tells by itself, and a bit where the command is asked to read."""
    store, disk_ = Run(f"memory://{tmp_path.name}"), Run(str(reference.address))
    for name in disk_.storage.files():
        store.storage.put(name, disk_.storage.read(name))
    parts = {int(part.file[16:21]): part for part in store.parts("embeddings")}
    content = bytearray(store.storage.read(parts[4].file))
    content[len(content) // 2] ^= 1
    store.storage.put(parts[4].file, bytes(content))
    store.storage.put(parts[6].file, store.storage.read(parts[6].file)[:-1])
    shards = [record.shard for _, record in sorted(store.ledger.done(STAGE).items())]
    fingerprint = store.ledger.done(STAGE)[0].fingerprint
    assert [shard.index for shard in store.ledger.missing(shards, fingerprint)] == [6]
    assert [shard.index for shard in store.ledger.missing(shards, fingerprint, verify=True)] == [4, 6]
    words = ("scan", reference.job_file, "--run", store.address, "--quiet")
    assert command(*words, runner=pipeline.in_process).status == 0
    assert [fault.shard for fault in store.ledger.verify()] == [4]
    assert command(*words, "--verify", runner=pipeline.in_process).status == 0
    assert store.ledger.verify() == []
    assert {name: Run(store.address).storage.read(name) for name in reference.expected} == {
        name: disk_.storage.read(name) for name in reference.expected
    }
    struck("a bit flipped, a part truncated")


def test_what_lies_about_is_swept_away(reference: Reference, run: Path, command: Commands, struck: Struck) -> None:
    """What was written aside and never named goes with the next scan; files of others stay."""
    shutil.copytree(reference.address, run)
    theirs = run / "embeddings" / ".DS_Store"
    half = run / "embeddings" / f".part-00011-of-{N_SHARDS:05d}.parquet.{'0' * 32}"
    for path in (theirs, half):
        path.write_bytes(b"half")
    assert left_aside(run)
    assert command.scan(reference, run).status == 0
    struck("one file swept, one left alone")
    assert left_aside(run) == [theirs]
