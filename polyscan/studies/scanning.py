"""A scan from a few arguments: loads the job, chooses the runner and completes the run."""

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
    """Scans a network and returns its results; an unfinished run is continued.

    Args:
        job: a job, a job file, or the name of one that comes with polyscan.
        run: the results folder, at any address that fsspec knows.
        on: `local` (this process) or `ray`; default: `ray` where RAY_ADDRESS is set, else `local`.
        workers: number of Ray workers; default: the job's `workers.n`, else as many as fit.
        redo: a stage to run again, with all later stages.
        verify: whether every earlier part is read and checked, or only its size; default: read on a local disk.
        watcher: is notified of every shard.

    Raises:
        PolyscanError: see `polyscan.errors`.
    """
    job, folder = job_of(job), Run(run)
    with runner_for(on, workers, job.workers) as runner:
        pipeline.scan(job, folder, runner, redo=redo, verify=verify, watcher=watcher)
    return Results(run)


def job_of(job: Job | str | Path) -> Job:
    """The job itself, read from its file if it is given by a path or by the name of a job of polyscan.

    Raises:
        JobError: if there is no such file, or it is not a valid job.
    """
    return job if isinstance(job, Job) else jobs.load(job_file(str(job)))


def runner_name(on: str | None) -> str:
    """The runner to use: `on` if it is given, else `ray` if RAY_ADDRESS is set, else `local`."""
    return on or ("ray" if os.environ.get("RAY_ADDRESS") else "local")


@contextmanager
def runner_for(on: str | None, workers: int | None, settings: WorkersSettings | None = None) -> Generator[Runner]:
    """The runner of that name, connected while the context is open.

    Args:
        on: see `scan`.
        workers: number of Ray workers; overrides the job's `workers.n`.
        settings: the job's `workers` settings; None for the defaults.

    Raises:
        JobError: if there is no runner of that name, or Ray is not installed.
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
    """The job file at that path, or the job of that name that comes with polyscan.

    Raises:
        JobError: if there is neither.
    """
    path = Path(name)
    if path.exists():
        return path
    bundled = jobs_folder() / f"{path.stem}.toml"
    if path.parent in (Path(), Path("jobs")) and bundled.exists():
        return bundled
    known = ", ".join(sorted(file.stem for file in jobs_folder().glob("*.toml")))
    raise JobError(f"no job file at {name}; give a .toml file, or the name of a job that comes with polyscan: {known}")


def jobs_folder() -> Path:
    """The folder of the jobs that come with polyscan: in the installed package, or next to it in a checkout."""
    package = Path(polyscan.__file__).parent
    return package / "jobs" if (package / "jobs").is_dir() else package.parent / "jobs"


def filled_job(path: str | None, network: str | None, images: str | None, overrides: Mapping[str, Any]) -> Job:
    """The job of a command: a file, the default job, or one filled in from a network and images.

    Raises:
        JobError: if the network or the images are given without the other and without a file.
    """
    inputs = {key: value for key, value in (("network.name", network), ("images.source", images)) if value}
    if path is None and inputs:
        return jobs.fill({**inputs, **overrides})
    return jobs.load(job_file(path or DEFAULT_JOB), {**inputs, **overrides})
