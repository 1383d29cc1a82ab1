"""A scan from a few words: finds the job, picks the runner, brings the run to its end."""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polyscan
from polyscan import job as jobs
from polyscan import pipeline
from polyscan.errors import JobError
from polyscan.job import Job, WorkersSettings
from polyscan.results import Results
from polyscan.run import Run
from polyscan.scheduling import WorkerPolicy
from polyscan.shards import Runner

DEFAULT_JOB = "digits"


def scan(
    job: Job | str | Path,
    run: str,
    *,
    on: str | None = None,
    workers: int | None = None,
    redo: str | None = None,
    verify: bool | None = None,
    watcher: pipeline.Watcher | None = None,
) -> Results:
    """Scans a network and gives back the run; a run that was begun is brought to its end.

    Args:
        job: a job, a job file, or the name of one that comes with polyscan.
        run: the results folder, at any address that fsspec knows.
        on: `local` (this process) or `ray`; default: `ray` where RAY_ADDRESS is set, else `local`.
        workers: Ray workers to ask for; default: the job's `workers.n`, else as many as fit.
        redo: a stage to make anew, with all that follows.
        verify: whether every part that was done before is read, else its size alone tells; default: on a local disk.
        watcher: is told of every shard.

    Raises:
        PolyscanError: see `polyscan.errors`.
    """
    asked = job_of(job)
    folder = Run(run)
    with runner_for(on, workers, asked.workers) as runner:
        pipeline.scan(asked, folder, runner, redo=redo, verify=verify, watcher=watcher)
    return Results(run)


def job_of(job: Job | str | Path) -> Job:
    """A job as it is, read from a file, or by the name of one that comes with polyscan.

    Raises:
        JobError: if there is no such file, or it says anything that is not a job.
    """
    return job if isinstance(job, Job) else jobs.load(job_file(str(job)))


def runner_name(on: str | None) -> str:
    """The runner that is meant: `ray` where RAY_ADDRESS is set, else `local`, unless it is named."""
    return on or ("ray" if os.environ.get("RAY_ADDRESS") else "local")


@contextmanager
def runner_for(on: str | None, workers: int | None, settings: WorkersSettings | None = None) -> Generator[Runner]:
    """The runner of that name, connected while it is used.

    Args:
        on: see `scan`.
        workers: how many Ray workers, before what the job says.
        settings: the job's; default: the defaults.

    Raises:
        JobError: if there is none of that name, or Ray is asked for and not installed.
    """
    on = runner_name(on)
    if on not in ("local", "ray"):
        raise JobError(f'`on` must be "local" or "ray", got "{on}"')
    if workers is not None and workers < 1:
        raise JobError(f"`workers` must be at least 1, got {workers}")
    if on == "local":
        yield pipeline.in_process
        return
    try:
        from polyscan.ray_runner import connected, ray_runner  # noqa: PLC0415  # a laptop needs no Ray
    except ImportError as error:
        raise JobError('Ray is not installed; `pip install ray`, or use `on="local"`') from error
    settings = settings or WorkersSettings()  # pyright: ignore[reportCallIssue]
    with connected():
        yield ray_runner(WorkerPolicy(workers or settings.n, settings.deadline_s, settings.patience_s))


def job_file(name: str) -> Path:
    """The job file of that path, or the one of that name that comes with polyscan.

    Raises:
        JobError: if there is neither.
    """
    path = Path(name)
    if path.exists():
        return path
    ours = jobs_folder() / f"{path.stem}.toml"
    if path.parent in (Path(), Path("jobs")) and ours.exists():
        return ours
    known = ", ".join(sorted(file.stem for file in jobs_folder().glob("*.toml")))
    raise JobError(f"no job file at {name}; give a .toml file, or one that comes with polyscan: {known}")


def jobs_folder() -> Path:
    """The jobs that come with polyscan: inside the installed package, or beside it in a checkout."""
    package = Path(polyscan.__file__).parent
    return package / "jobs" if (package / "jobs").is_dir() else package.parent / "jobs"


def filled_job(path: str | None, network: str | None, images: str | None, overrides: Mapping[str, Any]) -> Job:
    """The job of a command: a file, the embedded default, or one filled in from a network and images.

    Raises:
        JobError: if only one of network and images is given without a file.
    """
    given = {key: value for key, value in (("network.name", network), ("images.source", images)) if value}
    if path is None and given:
        return jobs.fill({**given, **overrides})
    return jobs.load(job_file(path or DEFAULT_JOB), {**given, **overrides})
