"""k: a number of the job, or a share of the images, settled once for all that follows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy
from hypothesis import given
from hypothesis import strategies as st

from polyscan import pipeline
from polyscan.errors import JobError
from polyscan.inputs import settled_job
from polyscan.job import k_warning, settled
from polyscan.job.exemplars import FEWEST, MOST, SHARE, default_k
from polyscan.results.results import stored_job
from polyscan.run import Run
from polyscan.studies.plan import plan
from polyscan.studies.plan.detectable import share_called, units_needed
from polyscan.studies.validate import widened


@given(st.integers(1, 10**7), st.integers(1, 10**7))
def test_the_default_is_a_share_within_bounds_and_grows_with_the_images(few: int, more: int) -> None:
    few, more = sorted((few, more))
    assert FEWEST <= default_k(few) <= default_k(more) <= MOST
    if FEWEST < default_k(few) < MOST:
        assert abs(default_k(few) - SHARE * few) <= 0.5


@given(st.integers(8, 4096), st.integers(1, 10**6))
def test_a_number_in_the_job_stays(k: int, n_images: int) -> None:
    job = toy_job(k=k)
    assert settled(job, n_images) is job
    assert job.k == k


def toy_job(folder: Path | None = None, **collect: Any) -> Any:
    return toy.job(folder or Path(__file__).parent, collect={"batch": 8, "images_per_shard": 64, **collect})


def test_a_job_without_a_number_says_so_until_it_is_settled() -> None:
    job = toy_job()
    with pytest.raises(ValueError, match=r"`collect.k` depends on the number of images; .*`settled"):
        _ = job.n_scored
    assert settled(job, 10_000).n_scored == 100
    assert settled(settled(job, 10_000), 50_000).k == 100


def test_a_run_holds_the_number_and_a_worker_receives_it(tmp_path: Path) -> None:
    toy.paint(tmp_path / "images", n=160)
    job = toy_job(tmp_path / "images")
    seen: list[int] = []

    def runner(make_work: Any, shards: Any, resources: Any) -> Any:
        seen.append(make_work.job.k)
        raise KeyboardInterrupt

    run = Run(str(tmp_path / "run"))
    with pytest.raises(KeyboardInterrupt):
        pipeline.scan(job, run, runner)
    assert seen == [20]
    assert stored_job(run).collect.k == 20
    assert run.manifest()["stages"]["collect"]["settings"]["collect"]["k"] == 20
    assert settled_job(widened(job)).k == plan_k(job) == 20
    fingerprints = pipeline.settle(stored_job(run), run)  # goes on with the stored job as with the first one
    assert fingerprints == pipeline.settle(settled_job(job), run)


def plan_k(job: Any) -> int:
    said = plan(job).detectable[0]
    assert "of 160 images" in said
    return int(said.split("k = ")[1].split()[0])


def test_too_few_images_for_the_least_number_are_refused(tmp_path: Path) -> None:
    with pytest.raises(JobError, match=r"a null for sets of 20 needs a pool of 120 items, got 60"):
        settled_job(toy_job(tmp_path / "images"))
    with pytest.raises(JobError, match=r"has 60 images, `collect.k` is 61"):
        pipeline.scan(toy_job(tmp_path / "images", k=61), Run(str(tmp_path / "run")), pipeline.in_process)


def test_a_small_share_of_the_images_is_warned_of() -> None:
    assert k_warning(30, 10_000) is None
    assert "0.29% of 10,000 images" in str(k_warning(29, 10_000))
    assert "about 100," in str(k_warning(29, 10_000))
    assert "about 4,096," in str(k_warning(1000, 1_281_167))


@given(st.integers(1, 5000), st.integers(1, 5000), st.floats(0.01, 0.5))
def test_as_many_units_of_least_p_as_needed_are_called_and_one_fewer_is_not(n_sets: int, n: int, fdr: float) -> None:
    needed = units_needed(n_sets, n_units=n, fdr=fdr)
    smallest = 1 / (n_sets + 1)
    assert smallest <= fdr * needed / n * (1 + 1e-9)
    assert needed == 1 or smallest > fdr * (needed - 1) / n * (1 - 1e-9)


def test_called_shares_rise_with_the_share_that_is_there() -> None:
    p = np.random.default_rng(0).beta(0.2, 3, size=200)
    shares = [share_called(p, share=share, fdr=0.05) for share in (0.0, 0.01, 0.1, 0.5, 1.0)]
    assert shares == sorted(shares)
    assert shares[0] == 0
    assert shares[-1] > 0.5
