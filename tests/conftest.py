"""What all tests share: sizes as named constants, a toy job with known truth, shared real data, one Ray a session."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from places import ABSENT, DATA, TESTS

import polyscan
from polyscan.results import Results

# Before anything starts Ray: it must neither write a token into the developer's home nor phone home.
os.environ.setdefault("RAY_AUTH_MODE", "disabled")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real weights and images, where the checkout has them beside it."""
    if not DATA.is_dir():
        pytest.skip(ABSENT)
    return DATA


@pytest.fixture
def torch_home(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """TORCH_HOME with MobileNetV2, SqueezeNet 1.1 and so lpips' `squeeze`."""
    home = shared_data / "torch_home"
    if not home.is_dir():
        pytest.skip(ABSENT)
    monkeypatch.setenv("TORCH_HOME", str(home))
    return home


@pytest.fixture(scope="session")
def ray_session() -> Iterator[None]:
    """One embedded Ray of two CPUs for the whole session."""
    ray = pytest.importorskip("ray")
    paths = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=100_000_000,
        runtime_env={"env_vars": {"PYTHONPATH": paths, "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"}},
    )
    yield
    ray.shutdown()


@pytest.fixture(autouse=True)
def _workers_end(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A test's workers do not stand in the next one's way: a traceback would hold them, and so its CPUs, for long."""
    if "ray_session" not in request.fixturenames:
        yield
        return
    from polyscan.ray_runner import RayPool

    made: list[RayPool] = []
    begin = RayPool.begin

    def noted(pool: RayPool, *about: Any) -> None:
        made.append(pool)
        begin(pool, *about)

    monkeypatch.setattr(RayPool, "begin", noted)
    yield
    for pool in made:
        pool.close()


@pytest.fixture
def no_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only map.parquet is drawn: pages take longer than all stages of a toy."""
    monkeypatch.setattr("polyscan.maps.pages", lambda _: [])


@pytest.fixture(scope="session")
def toy_results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """A whole run of the toy, to be read only; its pages are drawn."""
    import toy

    folder = tmp_path_factory.mktemp("toy")
    return polyscan.scan(toy.job(folder / "images"), str(folder / "run"))


@pytest.fixture(scope="session")
def wide_results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """A whole run of the wide toy, to be read only: its layers have a null with power."""
    import toy

    folder = tmp_path_factory.mktemp("wide")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("polyscan.maps.pages", lambda _: [])
        return polyscan.scan(toy.wide_job(folder / "images"), str(folder / "run"))


@pytest.fixture
def toy_job(tmp_path: Path) -> Callable[..., object]:
    """Makes the toy job: see tests/toy.py."""
    import toy

    return lambda **changes: toy.job(tmp_path / "images", **changes)
