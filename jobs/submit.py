"""Sends a scan to a Ray cluster, follows it, and ends with its exit status.

    python jobs/submit.py jobs/digits.toml --address http://127.0.0.1:8265 --run s3://bucket/runs/digits

The job's own folder is sent along; images, shared weights and the run must be where every node sees them. A job ends
with its cluster, and Ray does not start it again. To retry, run the same command: it does only what the run lacks.

Exit status: 0 all done; 2 the submission or the job is wrong; 3 some shards failed; 130 stopped or interrupted;
1 the job's end is unknown; any other status is the entrypoint's own.
"""

from __future__ import annotations

import os
import shlex
import socket
import time
import uuid
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer

from polyscan import job as jobs
from polyscan.errors import InstallError, JobError, PolyscanError
from polyscan.job import Job
from polyscan.storage import refuse_secret

POLL_S = 2.0
LOST_S = 120.0  # a tunnel that drops comes back within this time; a cluster that is gone does not
CONNECT_S = 10.0
UNKNOWN, WRONG, INTERRUPTED, NOT_FOUND = 1, 2, 130, 127

# In the syntax of .gitignore, which Ray also reads: files that are large or can be made again, and secrets.
LEFT_OUT = [
    *(".git/", ".venv/", "__pycache__/", ".*_cache/", ".hypothesis/", "build/", "dist/", "runs/"),
    *(".env", ".ray/", "auth_token", "*.pem", "*.key"),
]
HERE = ("127.0.0.1", "localhost", "::1")

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


class Lost(PolyscanError):
    """The cluster stopped answering while its job was followed."""


@app.command()
def submit(
    job: Annotated[Path, typer.Argument(help="a job file")],
    *,
    run: Annotated[str, typer.Option(help="the results folder: an address that every node of the cluster sees")],
    address: Annotated[str, typer.Option(help="the cluster's dashboard")] = "http://127.0.0.1:8265",
    project: Annotated[
        Path | None, typer.Option(help="the folder to upload with the job; default: the job's own")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Ray workers; default: as many as fit")] = None,
    sets: Annotated[list[str] | None, typer.Option("--set", help="a setting of the job, as collect.k=64")] = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="follow the job until it ends")] = True,
) -> None:
    """Scan on a Ray cluster: submits the job, follows its log and ends with its exit status."""
    try:
        status = submitted(job, run, address, project=project, workers=workers, sets=sets or [], wait=wait)
    except Lost as error:
        typer.echo(str(error), err=True)
        status = UNKNOWN
    except PolyscanError as error:
        typer.echo(str(error), err=True)
        status = WRONG
    raise typer.Exit(status)


def submitted(
    job: Path, run: str, address: str, *, project: Path | None, workers: int | None, sets: list[str], wait: bool
) -> int:
    """Submits a job and returns the exit status of its result; 0 at once if `wait` is false.

    Raises:
        JobError: if the job or the command is wrong, or the cluster cannot be used.
        Lost: if the cluster stops answering.
    """
    asked = jobs.load(job)
    folder = (project or job.parent).resolve()
    words = entrypoint(job, folder, run, workers=workers, sets=sets)
    client = connected(address)
    name = f"polyscan-{job.stem}-{uuid.uuid4().hex[:8]}"
    _send(client, name, words, {"working_dir": str(folder), "excludes": LEFT_OUT, "env_vars": environment(asked)})
    typer.echo(f"{name} is submitted; `RAY_AUTH_MODE=token ray job stop {name} --address {address}` ends it", err=True)
    if not wait:
        typer.echo(name)
        return 0
    try:
        return exit_status(follow(client, name))
    except KeyboardInterrupt:
        typer.echo(f"no longer followed; {name} goes on, and `ray job stop` ends it", err=True)
        return INTERRUPTED


# ---- what is sent --------------------------------------------------------------------------------------------------


def entrypoint(job: Path, folder: Path, run: str, *, workers: int | None = None, sets: list[str] | None = None) -> str:
    """The shell command that the cluster's head runs in its copy of the folder.

    Raises:
        JobError: if the job is outside the folder, or the run would be in a node's temporary copy of it.
        StoreError: if the run's address or a setting holds a secret: the job's record contains the command.
    """
    for word in (run, *(sets or [])):
        refuse_secret(word)
    if not job.resolve().is_relative_to(folder):
        raise JobError(f"{job} is not inside {folder}, the folder that is uploaded; give a --project that contains it")
    if "://" not in run and not Path(run).is_absolute():
        raise JobError(
            f'--run "{run}" is relative, and a node\'s working folder is deleted with the job; '
            "give an absolute path or an address that every node sees, as in --run s3://bucket/runs/digits"
        )
    words = ["polyscan", "scan", str(job.resolve().relative_to(folder)), "--run", run, "--on", "ray"]
    words += ["--workers", str(workers)] if workers is not None else []
    words += [word for setting in sets or [] for word in ("--set", setting)]
    return shlex.join(words)


def environment(job: Job) -> dict[str, str]:
    """The environment of driver and workers. It holds no token, because the job's record contains it."""
    pins = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(job.threads))
    return {**pins, "RAY_AUTH_MODE": os.environ.get("RAY_AUTH_MODE", "token")}


def _send(client: Any, name: str, words: str, runtime_env: dict[str, Any]) -> None:
    try:
        client.submit_job(entrypoint=words, submission_id=name, runtime_env=runtime_env)
    except (RuntimeError, ValueError, OSError) as error:
        cause = _line(error, last=True)
        raise JobError(
            f"the cluster did not take the job ({cause}); it uploads {runtime_env['working_dir']}: "
            "large files belong on a disk that every node sees, and a .rayignore file leaves them out"
        ) from error


# ---- the cluster ---------------------------------------------------------------------------------------------------


def connected(address: str) -> Any:
    """A client of the cluster whose dashboard is at that address.

    Raises:
        InstallError: if Ray is installed without the parts of its dashboard.
        JobError: if the address is invalid, nothing or something other than Ray answers there, or the token is missing
            or wrong.
    """
    if find_spec("ray") is None or find_spec("aiohttp") is None:  # Ray's own client needs both
        raise InstallError("Ray's job client is not installed here; `pip install 'ray[default]'`")
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise JobError(
            f'--address "{address}" is not the address of a dashboard; give http://HOST:8265, which is not the port '
            "of `ray start`"
        )
    _knock(parts.hostname, parts.port or (443 if parts.scheme == "https" else 80), address)
    if parts.scheme == "http" and parts.hostname not in HERE:
        typer.echo(f"the token goes to {parts.hostname} unencrypted; a tunnel to 127.0.0.1 or https hides it", err=True)
    # Tokens unless the user says otherwise. Ray would let the variables below override the address.
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
        os.environ.pop(name, None)
    from ray.exceptions import AuthenticationError  # noqa: PLC0415, TID251  # after the mode is set; --help needs no Ray
    from ray.job_submission import JobSubmissionClient  # noqa: PLC0415, TID251

    try:
        return JobSubmissionClient(address)
    except AuthenticationError as error:
        raise JobError(
            f"the cluster at {address} refuses the token ({_line(error)}); put the cluster's own token "
            "into ~/.ray/auth_token, or name its file in RAY_AUTH_TOKEN_PATH"
        ) from error
    except (RuntimeError, OSError, KeyError, ValueError) as error:
        raise JobError(
            f"what answers at {address} is not a Ray dashboard ({_line(error)}); give the address of one"
        ) from error


def _knock(host: str, port: int, address: str) -> None:
    try:
        socket.create_connection((host, port), timeout=CONNECT_S).close()
    except OSError as error:
        raise JobError(
            f"no cluster answers at {address} ({error}); start one, or open the tunnel to it: "
            "`ray dashboard cluster.yaml`, or `kubectl port-forward` to the head's port 8265"
        ) from error


def follow(client: Any, name: str, *, poll_s: float = POLL_S, lost_s: float = LOST_S) -> Any:
    """Prints a job's log as it grows, until the job has ended; returns the job's record.

    It polls, rather than holding one connection, so that a tunnel may drop and come back.

    Args:
        client: see `connected`.
        name: the job's submission id.
        poll_s: seconds between two requests.
        lost_s: seconds without an answer after which the cluster is given up.

    Raises:
        Lost: if the cluster is given up.
    """
    shown, heard = 0, time.monotonic()
    while True:
        try:
            record = client.get_job_info(name)  # before the log, so that an ended job's log is whole
            text = client.get_job_logs(name)
        except (RuntimeError, OSError) as error:
            if time.monotonic() - heard > lost_s:
                raise Lost(
                    f"the cluster has not answered for {lost_s:.0f} s ({_line(error)}); "
                    "what the run holds is kept: submit the same job again to resume"
                ) from error
        else:
            heard = time.monotonic()
            typer.echo(text[shown:], nl=False)
            shown = len(text)
            if record.status.is_terminal():
                return record
        time.sleep(poll_s)


def exit_status(record: Any) -> int:
    """The exit status for the way a job ended; prints a sentence if the log cannot hold the reason."""
    if record.status == "SUCCEEDED":
        return 0
    if record.status == "STOPPED":
        typer.echo("stopped; submit the same job again to resume", err=True)
        return INTERRUPTED
    code = record.driver_exit_code
    if code is None:
        cause = _line(record.message or "Ray does not say why", last=True)
        typer.echo(f"the job did not finish ({cause}); submit it again to resume", err=True)
        return UNKNOWN
    if code == NOT_FOUND:
        typer.echo("the cluster's head has no `polyscan`; install it on every node, or use an image with it", err=True)
    return code if code >= 0 else 128 - code  # killed by a signal, as a shell reports it


def _line(words: object, *, last: bool = False) -> str:
    lines = str(words).strip().splitlines() or [type(words).__name__]
    return lines[-1 if last else 0]


if __name__ == "__main__":
    app()
