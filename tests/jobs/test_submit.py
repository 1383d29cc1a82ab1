"""jobs/submit.py: what is sent, what is said, the exit status; then a real Ray with a token, on loopback."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import toy
from typer.testing import CliRunner

from jobs import submit
from polyscan.errors import InstallError, JobError, StoreError

SCRIPT = Path(submit.__file__)
NAME = "polyscan-toy-1"
CLOSED = "http://127.0.0.1:1"  # nobody listens on port 1

needs_the_dashboard = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("aiohttp", "aiohttp_cors", "opencensus", "grpc")),
    reason="Ray's dashboard is not installed: `pip install 'ray[default]'`",
)


def write_job(folder: Path, images: Path, **changes: Any) -> Path:
    """A job with its code beside it, as users have it; it names no folder, so it runs where it is unpacked."""
    folder.mkdir()
    (folder / "toy.py").write_text(Path(toy.__file__).read_text())
    job = toy.job(images, visualize__enabled=False, network__layers=["paint"], show__pictures_per_layer=0, **changes)
    lines = job.to_toml().splitlines(keepends=True)
    path = folder / "toy.toml"
    path.write_text("".join(line for line in lines if not line.startswith("folder =")))
    return path


@pytest.fixture(scope="module")
def job_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("submitted")
    return write_job(root / "job", root / "images")


# ---- what is sent --------------------------------------------------------------------------------------------------


def test_the_entrypoint_is_the_command_line_in_the_unpacked_folder(job_file: Path) -> None:
    words = submit.entrypoint(
        job_file, job_file.parent.parent, "s3://bucket/runs/a b", workers=3, sets=["show.title=x y"]
    )
    assert words == (
        "polyscan scan job/toy.toml --run 's3://bucket/runs/a b' --on ray --workers 3 --set 'show.title=x y'"
    )


def test_shell_words_are_quoted(job_file: Path) -> None:
    words = submit.entrypoint(job_file, job_file.parent, "/runs/$(touch harm); echo")
    assert words == "polyscan scan toy.toml --run '/runs/$(touch harm); echo' --on ray"


def test_a_run_in_the_unpacked_folder_would_be_lost(job_file: Path) -> None:
    with pytest.raises(JobError, match=r'--run "runs/toy" is relative.*give an absolute path'):
        submit.entrypoint(job_file, job_file.parent, "runs/toy")


def test_a_job_outside_the_project(job_file: Path, tmp_path: Path) -> None:
    with pytest.raises(JobError, match=r"is not inside .*give a --project that contains it"):
        submit.entrypoint(job_file, tmp_path, "/runs/toy")


@pytest.mark.parametrize("where", ["run", "setting"])
def test_no_secret_gets_into_the_jobs_record(job_file: Path, where: str) -> None:
    secret = "s3://key:hidden@bucket/x"
    run, sets = (secret, []) if where == "run" else ("/runs/toy", [f"images.source={secret}"])
    with pytest.raises(StoreError, match="holds a secret") as caught:
        submit.entrypoint(job_file, job_file.parent, run, sets=sets)
    assert "hidden" not in str(caught.value)


def test_threads_are_pinned_to_the_jobs_and_no_token_travels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "very-secret")
    monkeypatch.delenv("RAY_AUTH_MODE")
    found = submit.environment(toy.job(tmp_path / "images", threads=3))
    assert found == {
        "OMP_NUM_THREADS": "3",
        "OPENBLAS_NUM_THREADS": "3",
        "MKL_NUM_THREADS": "3",
        "RAY_AUTH_MODE": "token",
    }


@pytest.mark.ray
def test_secrets_and_bulk_stay_at_home(job_file: Path, tmp_path: Path) -> None:
    """Ray itself packs the folder with our list; what would be unpacked is looked at."""
    packaging = pytest.importorskip("ray._private.runtime_env.packaging")
    import shutil
    import zipfile

    folder = shutil.copytree(job_file.parent, tmp_path / "project")
    inside = {"weights.safetensors", "sub/code.py"}
    outside = {
        ".env",
        "key.pem",
        ".ray/auth_token",
        "auth_token",
        "runs/a/run.json",
        ".git/config",
        ".venv/x",
        "build/y",
    }
    for name in inside | outside:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("content")
    packaging.create_package(str(folder), tmp_path / "p.zip", include_gitignore=True, excludes=submit.LEFT_OUT)
    packed = {name for name in zipfile.ZipFile(tmp_path / "p.zip").namelist() if not name.endswith("/")}
    assert packed == inside | {"toy.py", "toy.toml"}


# ---- how it ended --------------------------------------------------------------------------------------------------


def record(status: str, code: int | None = None, message: str | None = None) -> Any:
    """What Ray tells of a job; its status is a string with a method."""

    class Status(str):
        def is_terminal(self) -> bool:
            return self in ("SUCCEEDED", "FAILED", "STOPPED")

    return SimpleNamespace(status=Status(status), driver_exit_code=code, message=message)


@pytest.mark.parametrize(
    ("ended", "status", "says"),
    [
        (record("SUCCEEDED", 0), 0, ""),
        (record("FAILED", 2), 2, ""),
        (record("FAILED", 3), 3, ""),
        (record("FAILED", -9), 137, ""),
        (record("FAILED", 127), 127, "has no `polyscan`; install it on every node"),
        (record("STOPPED"), 130, "submit the same job again to resume"),
        (record("FAILED", None, "first\nthe head is gone"), 1, "did not finish (the head is gone)"),
        (record("FAILED"), 1, "Ray does not say why"),
    ],
)
def test_exit_status(capsys: pytest.CaptureFixture[str], ended: Any, status: int, says: str) -> None:
    assert submit.exit_status(ended) == status
    err = capsys.readouterr().err
    assert says in err
    assert bool(err) == bool(says)


@dataclass
class FakeClient:
    """A cluster that tells a fixed story: a record and the log so far, or an error."""

    story: list[Any]
    sent: list[dict[str, Any]] = field(default_factory=list)

    def submit_job(self, **what: Any) -> str:
        self.sent.append(what)
        return what["submission_id"]

    def get_job_info(self, name: str) -> Any:
        now = self.story[0] if len(self.story) == 1 else self.story.pop(0)
        if isinstance(now, BaseException):
            raise now
        self.log = now[1]
        return now[0]

    def get_job_logs(self, name: str) -> str:
        return self.log


def test_a_log_is_told_once_and_whole_though_the_tunnel_drops(capsys: pytest.CaptureFixture[str]) -> None:
    client = FakeClient(
        [
            (record("PENDING"), ""),
            (record("RUNNING"), "one\n"),
            ConnectionError("the tunnel is down"),
            RuntimeError("Request failed with status code 502"),
            (record("RUNNING"), "one\ntwo\n"),
            (record("SUCCEEDED", 0), "one\ntwo\nthree\n"),
        ]
    )
    assert submit.follow(client, NAME, poll_s=0).status == "SUCCEEDED"
    assert capsys.readouterr().out == "one\ntwo\nthree\n"


def test_a_cluster_that_is_gone_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 10_000, 50))
    monkeypatch.setattr(submit.time, "monotonic", lambda: next(clock))
    client = FakeClient([(record("RUNNING"), "one\n"), ConnectionError("refused")])
    with pytest.raises(submit.Lost, match=r"not answered for 120 s \(refused\).*submit the same job again to resume"):
        submit.follow(client, NAME, poll_s=0)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Runs the command in this process, on a fake cluster."""

    def run(client: FakeClient, *words: object) -> Any:
        monkeypatch.setattr(submit, "connected", lambda _: client)
        return CliRunner().invoke(submit.app, [*map(str, words)])

    return run


def test_the_command_sends_the_jobs_own_folder_and_ends_as_the_job_did(command: Any, job_file: Path) -> None:
    client = FakeClient([(record("FAILED", 3), "shard 1 of `embed` failed\n")])
    ended = command(client, job_file, "--run", "/runs/toy")
    assert ended.exit_code == 3
    assert ended.stdout == "shard 1 of `embed` failed\n"
    assert "ray job stop polyscan-toy-" in ended.stderr
    (sent,) = client.sent
    assert sent["entrypoint"] == "polyscan scan toy.toml --run /runs/toy --on ray"
    assert sent["runtime_env"]["working_dir"] == str(job_file.parent)
    assert sent["runtime_env"]["excludes"] == submit.LEFT_OUT
    assert sent["runtime_env"]["env_vars"]["OMP_NUM_THREADS"] == "1"


def test_no_wait_prints_the_name_and_asks_nothing(command: Any, job_file: Path) -> None:
    client = FakeClient([AssertionError("nobody asked")])
    ended = command(client, job_file, "--run", "/runs/toy", "--no-wait")
    assert ended.exit_code == 0
    assert ended.stdout.strip() == client.sent[0]["submission_id"]


def test_two_submissions_have_two_names(command: Any, job_file: Path) -> None:
    client = FakeClient([(record("SUCCEEDED", 0), "")])
    for _ in range(2):
        assert command(client, job_file, "--run", "/runs/toy").exit_code == 0
    first, second = (sent["submission_id"] for sent in client.sent)
    assert first != second


def test_an_interrupt_leaves_the_job_alone(command: Any, job_file: Path) -> None:
    ended = command(FakeClient([KeyboardInterrupt()]), job_file, "--run", "/runs/toy")
    assert ended.exit_code == 130
    assert "goes on" in ended.stderr


def test_a_lost_cluster_has_status_1(command: Any, job_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(*_: Any) -> Any:
        raise submit.Lost("the cluster has not answered")

    monkeypatch.setattr(submit, "follow", lost)
    ended = command(FakeClient([]), job_file, "--run", "/runs/toy")
    assert ended.exit_code == 1
    assert "has not answered" in ended.stderr


def test_a_folder_too_large_is_a_sentence(command: Any, job_file: Path) -> None:
    class Full(FakeClient):
        def submit_job(self, **what: Any) -> str:
            raise RuntimeError("Request failed with status code 500\nPackage size (900MiB) exceeds the maximum size")

    ended = command(Full([]), job_file, "--run", "/runs/toy")
    assert ended.exit_code == 2
    assert "did not take the job (Package size (900MiB) exceeds the maximum size)" in ended.stderr
    assert "large files belong on a disk that every node sees" in ended.stderr


def test_a_job_that_is_wrong_never_reaches_the_cluster(command: Any, job_file: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.toml"
    wrong.write_text(job_file.read_text().replace("[collect]", "[collect]\nkk = 3"))
    client = FakeClient([])
    ended = command(client, wrong, "--run", "/runs/toy")
    assert ended.exit_code == 2
    assert "unknown key `collect.kk`" in ended.stderr
    assert not client.sent
    assert "no job file at" in command(client, tmp_path / "none.toml", "--run", "/runs/toy").stderr


# ---- nobody there --------------------------------------------------------------------------------------------------


@pytest.fixture
def with_a_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where Ray's job client is installed; what comes before its use is tested without it."""
    monkeypatch.setattr(submit, "find_spec", lambda _: True)


def test_no_cluster_at_the_address(with_a_client: None, job_file: Path) -> None:
    ended = CliRunner().invoke(submit.app, [str(job_file), "--run", "/runs/toy", "--address", CLOSED])
    assert ended.exit_code == 2
    assert f"no cluster answers at {CLOSED}" in ended.stderr
    assert "ray dashboard cluster.yaml" in ended.stderr


@pytest.mark.parametrize("address", ["127.0.0.1:8265", "ray://head:10001", "head", "http://"])
def test_an_address_that_is_none(with_a_client: None, address: str) -> None:
    with pytest.raises(JobError, match="is not the address of a dashboard; give http://HOST:8265"):
        submit.connected(address)


def test_rays_job_client_may_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submit, "find_spec", lambda name: None if name == "aiohttp" else True)
    with pytest.raises(InstallError, match=r"pip install 'ray\[default\]'"):
        submit.connected(CLOSED)


# ---- a real Ray ----------------------------------------------------------------------------------------------------


RAY_START = [
    *(sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--num-cpus", "1"),
    *("--min-worker-port", "0", "--max-worker-port", "0", "--object-store-memory", "100000000"),
]


@dataclass(frozen=True)
class Cluster:
    """A Ray of this test's own, with a token of its own."""

    address: str
    home: Path
    gcs: str = ""

    @property
    def token(self) -> str:
        return (self.home / ".ray" / "auth_token").read_text()


def _environment(home: Path) -> dict[str, str]:
    """No token, mode or address of the one who runs the tests gets in, and no path to the tests' own modules."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("RAY_") and key != "PYTHONPATH"}
    quiet = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"}
    return {**kept, **quiet, "HOME": str(home), "OMP_NUM_THREADS": "1"}


def _make_home(folder: Path) -> Path:
    (folder / ".ray").mkdir(parents=True)
    (folder / ".ray" / "auth_token").write_text(secrets.token_hex(32))
    return folder


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A head and a second node of one CPU each, each its own session of processes, ended by its leader's number."""
    root = tmp_path_factory.mktemp("ray")
    home = _make_home(root / "home")
    scripts = root / "bin"
    scripts.mkdir()
    (scripts / "polyscan").write_text(f"#!{sys.executable}\nfrom polyscan.cli import main\n\nmain()\n")
    (scripts / "polyscan").chmod(0o755)
    environment = {**_environment(home), "RAY_AUTH_MODE": "token"}
    environment["PATH"] = os.pathsep.join([str(scripts), str(Path(sys.executable).parent), environment["PATH"]])
    gcs, dashboard, agent, client = (str(_free_port()) for _ in range(4))
    with _short_folder() as sockets, _short_folder() as others:
        words = [*RAY_START, "--head", "--node-ip-address", "127.0.0.1", "--port", gcs, "--temp-dir", sockets]
        words += ["--dashboard-host", "127.0.0.1", "--dashboard-port", dashboard]
        words += ["--dashboard-agent-listen-port", agent, "--ray-client-server-port", client]
        head = _started(words, environment, root / "head.log")
        try:
            _await_port(head, int(dashboard), root / "head.log")
            node = _started(_joining(f"127.0.0.1:{gcs}", others), environment, root / "node.log")
            try:
                _await_start(node, root / "node.log", time.monotonic() + 90)
                yield Cluster(f"http://127.0.0.1:{dashboard}", home, f"127.0.0.1:{gcs}")
            finally:
                _end(node)
        finally:
            _end(head)


def _short_folder() -> tempfile.TemporaryDirectory[str]:
    """One for a node's sockets, whose paths must be short, and for what it unpacks: a machine has its own."""
    return tempfile.TemporaryDirectory(prefix="ps", ignore_cleanup_errors=True)


def _joining(gcs: str, folder: str) -> list[str]:
    """The words of a second node on this machine."""
    return [*RAY_START, "--address", gcs, "--temp-dir", folder, "--dashboard-agent-listen-port", str(_free_port())]


def _started(words: list[str], environment: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("w") as out:
        return subprocess.Popen(words, env=environment, stdout=out, stderr=out, start_new_session=True)


def _await_start(node: subprocess.Popen[bytes], log: Path, deadline: float) -> None:
    while "Ray runtime started" not in log.read_text():
        assert node.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)


def _await_port(head: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + 90
    _await_start(head, log, deadline)
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def _end(head: subprocess.Popen[bytes]) -> None:
    head.terminate()  # with --block it ends what it has started
    try:
        head.wait(timeout=40)
    except subprocess.TimeoutExpired:
        os.killpg(head.pid, signal.SIGKILL)  # its own session, so nobody else's processes
        head.wait()


def _submit(cluster: Cluster, *words: object, home: Path | None = None, **environment: str) -> Any:
    """The script as a user runs it. RAY_ADDRESS points elsewhere: the address that is given must win."""
    given = {**_environment(home or cluster.home), "RAY_ADDRESS": "127.0.0.1:1", **environment}
    line = [sys.executable, str(SCRIPT), *map(str, words), "--address", cluster.address]
    ended = subprocess.run(line, env=given, check=False, capture_output=True, text=True, timeout=150)
    assert cluster.token not in ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr
    return ended


@pytest.mark.ray
@pytest.mark.slow
@needs_the_dashboard
def test_a_job_runs_fails_and_resumes_on_a_real_cluster(cluster: Cluster, job_file: Path, tmp_path: Path) -> None:
    """0; then 3 for images that broke under the run, though the folder is unpacked elsewhere now."""
    run, images = tmp_path / "run", job_file.parent.parent / "images"
    ended = _submit(cluster, job_file, "--run", run, "--workers", 1)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "5 units in 1 layers" in ended.stdout
    assert (run / "map.parquet").exists()
    for done in (run / "done" / "embed").glob("*.json"):
        done.unlink()
    kept = {path: path.read_bytes() for path in (images / "red").glob("*.png")}
    for path, content in kept.items():
        path.write_bytes(b"x" * len(content))  # of the same size, so that the image list is the same
    toy.forge_stamps(run, images)  # else the scan would not begin
    (job_file.parent / "more.txt").write_text("another package, unpacked to another folder")
    try:
        ended = _submit(cluster, job_file, "--run", run, "--workers", 1)
    finally:
        for path, content in kept.items():
            path.write_bytes(content)
    assert ended.returncode == 3, ended.stdout + ended.stderr
    assert "can no longer be read, but `collect` read it" in ended.stdout
    assert "collect: 3 of 3 shards done before" in ended.stdout


class Watch:
    """Which processes of ours do shards, and whose children they are: each node's raylet is the parent of its own."""

    def __init__(self, gcs: str) -> None:
        self.port, self.nodes, self.is_over = gcs.rpartition(":")[2].encode(), set[int](), threading.Event()
        self.thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Watch:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.is_over.set()
        self.thread.join()

    def _look(self) -> None:
        while not self.is_over.wait(0.02):
            for folder in Path("/proc").glob("[0-9]*"):
                with contextlib.suppress(OSError, IndexError):
                    if b"ray::_Actor.run" in (folder / "cmdline").read_bytes():
                        self._note(folder)

    def _note(self, folder: Path) -> None:
        """Up to the raylet that has started it, maybe by way of a shell."""
        while b"raylet/raylet" not in (words := (folder / "cmdline").read_bytes()):
            folder = Path("/proc", (folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
        if b":" + self.port in words:
            self.nodes.add(int(folder.name))


@pytest.mark.faults
@pytest.mark.ray
@needs_the_dashboard
def test_both_nodes_of_a_cluster_work_for_a_job(cluster: Cluster, job_file: Path, tmp_path: Path) -> None:
    with Watch(cluster.gcs) as watch:
        # A second worker takes its time to import torch; the last stage with a network lasts.
        lasting = {"enabled": "true", "layers": "all", "units_per_shard": 1, "steps": 2500, "patience": 8}
        words = [word for key, value in lasting.items() for word in ("--set", f"visualize.{key}={value}")]
        ended = _submit(cluster, job_file, "--run", tmp_path / "run", "--workers", 2, *words)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert len(watch.nodes) == 2, "a shard at work on each"


@pytest.mark.faults
@pytest.mark.ray
@needs_the_dashboard
def test_a_node_with_another_token_does_not_join(cluster: Cluster, tmp_path: Path) -> None:
    environment = {**_environment(_make_home(tmp_path / "stranger")), "RAY_AUTH_MODE": "token"}
    with _short_folder() as folder:
        words = _joining(cluster.gcs, folder)
        ended = subprocess.run(words, env=environment, check=False, capture_output=True, text=True, timeout=120)
    assert ended.returncode
    assert "InvalidAuthToken" in ended.stdout + ended.stderr


@pytest.mark.ray
@needs_the_dashboard
def test_a_wrong_token_is_refused(cluster: Cluster, job_file: Path, tmp_path: Path) -> None:
    stranger = _make_home(tmp_path / "stranger")
    ended = _submit(cluster, job_file, "--run", tmp_path / "run", home=stranger)
    assert ended.returncode == 2
    assert f"the cluster at {cluster.address} refuses the token" in ended.stderr
    assert "~/.ray/auth_token" in ended.stderr
    assert (stranger / ".ray" / "auth_token").read_text() not in ended.stdout + ended.stderr


@pytest.mark.ray
@needs_the_dashboard
@pytest.mark.parametrize("mode", ["token", "disabled"])
def test_without_a_token_nobody_gets_in(cluster: Cluster, job_file: Path, tmp_path: Path, mode: str) -> None:
    (tmp_path / "nobody").mkdir()
    ended = _submit(cluster, job_file, "--run", tmp_path / "run", home=tmp_path / "nobody", RAY_AUTH_MODE=mode)
    assert ended.returncode == 2
    assert "token" in ended.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.ray
@needs_the_dashboard
def test_what_is_no_ray_is_said_to_be_none(job_file: Path, tmp_path: Path) -> None:
    """A web server of another kind answers at the address."""
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>hello</html>")

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        elsewhere = Cluster(f"http://127.0.0.1:{server.server_port}", _make_home(tmp_path / "home"))
        ended = _submit(elsewhere, job_file, "--run", tmp_path / "run")
        server.shutdown()
    assert ended.returncode == 2
    assert "is not a Ray dashboard" in ended.stderr
