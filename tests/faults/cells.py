"""What the cells share: a job with many small shards, what must be true in the end, and who strikes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import toy
from sabotage import hashes

from polyscan import cli, pipeline
from polyscan.job import Job
from polyscan.run import Run
from polyscan.shards import Outcome, Resources, Runner, Shard, Work
from polyscan.tables import TABLES

STAGE = "embed"
N_SHARDS = 29
CHANGES: dict[str, Any] = {
    "embed__crops_per_shard": 6,
    "survey__readouts": 20,
    "survey__controls": 2,
    "survey__planted": 2,
    "calibrate__embedding_sets": 20,
    "calibrate__nulls": ["embedding"],
    "score__units_per_shard": 6,
    "score__restarts": 1,
    "score__max_clusters": 3,
}
"""Many small shards of one stage, and little work in the others."""
WAIT_S = 120.0


@dataclass(frozen=True)
class Reference:
    """A job, and what its scan makes of it where nothing goes wrong."""

    job: Job
    job_file: Path
    address: Path
    expected: dict[str, str]


def undisturbed(folder: Path) -> Reference:
    """The reference of all cells."""
    job = toy.job(folder / "images", **CHANGES)
    (folder / "job.toml").write_text(job.to_toml())
    pipeline.scan(job, Run(str(folder / "run")), pipeline.in_process)
    reference = Reference(job, folder / "job.toml", folder / "run", hashes(str(folder / "run")))
    assert len(Run(str(folder / "run")).ledger.done(STAGE)) == N_SHARDS
    assert not doubled(Run(str(folder / "run")))
    return reference


# ---- what must be true in the end ----------------------------------------------------------------------------------


def assert_same(run: Path, reference: Reference) -> None:
    """Every part has the reference's bytes, no row is lost or there twice, nothing is left lying about."""
    assert hashes(str(run)) == reference.expected
    here, there = Run(str(run)), Run(str(reference.address))
    for stage in pipeline.STAGES:
        assert _rows(here, stage.name) == _rows(there, stage.name)
        assert not here.ledger.failures(stage.name), "a failure that has passed is no failure"
    assert not doubled(here)
    assert not here.storage.files("running")
    assert not left_aside(run)
    assert not here.ledger.verify()


def _rows(run: Run, stage: str) -> dict[int, int]:
    return {index: record.rows for index, record in run.ledger.done(stage).items()}


def doubled(run: Run) -> list[str]:
    """Tables with two rows of the same names and numbers."""
    found: list[str] = []
    for table in TABLES.values():
        keys = [column.name for column in table.columns if column.type in ("string", "int32", "int64")]
        if table.name == "moments":  # of every shard a row per unit, to be merged
            continue
        if run.parts(table.name) and run.read(table.name, keys).duplicated().any():
            found.append(table.name)
    return found


def left_aside(run: Path) -> list[Path]:
    """Files that were being written when their process died."""
    return [path for path in run.rglob(".*") if path.is_file()]


def assert_no_half_parts(run: Path, reference: Reference) -> None:
    """Whatever part can be seen is whole, whether it has a done record or not."""
    import hashlib

    for part in run.rglob("part-*.parquet"):
        name = part.relative_to(run).as_posix()
        assert hashlib.sha256(part.read_bytes()).hexdigest() == reference.expected[name], f"half a part: {name}"


def strikes(folder: Path) -> list[int]:
    """Processes in which a saboteur struck."""
    # A file that is being written is still empty.
    texts = [path.read_text() for path in sorted(folder.glob("strike-*"))]
    return [int(text) for text in texts if text]


def is_alive(process: int) -> bool:
    """Whether a process runs; one that has ended and whose parent has not asked does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def until(is_so: Callable[[], object], what: str) -> None:
    """Waits for what must come."""
    deadline = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < deadline, f"{what} after {WAIT_S:g} s"
        time.sleep(0.005)


# ---- who runs it ---------------------------------------------------------------------------------------------------


def only(stage: str, runner: Runner) -> Runner:
    """One stage with this runner, the others here, which is faster."""

    def run(make_work: Callable[[], Work], shards: Sequence[Shard], resources: Resources) -> Generator[Outcome]:
        does = runner if shards and shards[0].stage == stage else pipeline.in_process
        with closing(does(make_work, shards, resources)) as outcomes:
            yield from outcomes

    return run


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    status: int
    out: str
    err: str


class Commands:
    """Commands in this process: the console script's own function, with real arguments and a real exit."""

    def __init__(self, patch: pytest.MonkeyPatch, captured: pytest.CaptureFixture[str]) -> None:
        self.patch, self.captured = patch, captured

    def __call__(self, *words: object, runner: Runner | None = None) -> Ended:
        """Runs one.

        Args:
            words: of the command line.
            runner: in the place of the one that the words name.
        """
        with self.patch.context() as patch:
            patch.setattr(sys, "argv", ["polyscan", *map(str, words)])
            if runner is not None:
                patch.setattr("polyscan.studies.scanning.runner_for", lambda *_: _at_hand(runner))
            try:
                cli.main()
                status = 0
            except SystemExit as stop:
                status = int(stop.code or 0)
        captured = self.captured.readouterr()
        return Ended(status, captured.out, captured.err)

    def scan(self, reference: Reference, run: Path, runner: Runner | None = None) -> Ended:
        """The scan of the reference's job."""
        return self("scan", reference.job_file, "--run", run, "--quiet", runner=runner or pipeline.in_process)


@contextmanager
def _at_hand(runner: Runner) -> Iterator[Runner]:
    yield runner


@contextmanager
def driver(
    reference: Reference, run: Path, *words: str, address: str = "", **saboteur: Any
) -> Iterator[subprocess.Popen[str]]:
    """A scan as a process of its own, see `driver.py`; killed with all it has started where the test ends before it.

    Args:
        reference: whose job.
        run: where to.
        words: more of the command line.
        address: of the Ray to join; none: no Ray.
        saboteur: what `sabotage.sabotaged` takes.
    """
    tests = Path(__file__).parent.parent
    paths = os.pathsep.join([str(tests), str(tests.parent), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": paths}
    environment.pop("RAY_ADDRESS", None)
    if address:
        environment["RAY_ADDRESS"] = address
    plan = json.dumps({key: str(value) if isinstance(value, Path) else value for key, value in saboteur.items()})
    command = [sys.executable, str(Path(__file__).parent / "driver.py"), plan]
    command += ["scan", str(reference.job_file), "--run", str(run), *words]
    with subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def finished(process: subprocess.Popen[str]) -> Ended:
    """Waits for a driver to end by itself."""
    _, err = process.communicate(timeout=WAIT_S)
    return Ended(process.returncode, "", err)


def until_in(process: subprocess.Popen[str], is_so: Callable[[], object], what: str) -> None:
    """Waits for what must come while a driver is at work."""
    until(lambda: is_so() or process.poll() is not None, what)
    assert process.poll() is None, f"{what}: it ended before, saying {finished(process).err}"


# ---- disks ---------------------------------------------------------------------------------------------------------


@contextmanager
def disk(place: Path, size: int) -> Iterator[Path]:
    """A disk of its own with so many bytes, mounted at an empty folder; for root alone.

    Raises:
        pytest.skip.Exception: where none can be mounted.
    """
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    place.mkdir()
    mounted = mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place))
    if mounted.returncode:
        pytest.skip(f"no disk can be mounted here: {mounted.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def mount(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["mount", *words], capture_output=True, text=True, check=False)


def remount(place: Path, options: str) -> None:
    ended = mount("-o", f"remount,{options}", str(place))
    assert not ended.returncode, ended.stderr


def pages(folder: Path) -> int:
    """Bytes that a folder's files take on a disk of pages."""
    return sum(-(-path.stat().st_size // 4096) * 4096 for path in folder.rglob("*") if path.is_file())
