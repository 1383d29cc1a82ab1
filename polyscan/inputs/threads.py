"""The threads that a worker may use."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits

from polyscan.job import Job


@contextmanager
def pinned_threads(job: Job) -> Generator[None]:
    """Limits all libraries to the job's number of threads: the same bits on every runner, no oversubscribed cores."""
    n_before = torch.get_num_threads()
    torch.set_num_threads(job.threads)
    try:
        with threadpool_limits(job.threads):
            yield
    finally:
        torch.set_num_threads(n_before)
