"""Threads are those of the job while a worker works, and what they were afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import toy
from threadpoolctl import threadpool_info

from polyscan.inputs import pinned_threads


@pytest.mark.parametrize("threads", [1, 2])
def test_all_libraries_take_the_jobs_threads_and_give_them_back(tmp_path: Path, threads: int) -> None:
    before = torch.get_num_threads()
    job = toy.job(tmp_path / "images", threads=threads)
    with pinned_threads(job):
        assert torch.get_num_threads() == threads
        assert {pool["num_threads"] for pool in threadpool_info()} == {threads}
    assert torch.get_num_threads() == before


def test_threads_are_given_back_after_an_error_too(tmp_path: Path) -> None:
    before = torch.get_num_threads()

    def fails() -> None:
        with pinned_threads(toy.job(tmp_path / "images", threads=before + 1)):
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert torch.get_num_threads() == before
