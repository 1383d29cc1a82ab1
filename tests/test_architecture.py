"""The rooms: what may import what, and what a stage is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from places import REPOSITORY

from polyscan.manifest.differing import INPUTS
from polyscan.pipeline import STAGES
from polyscan.studies.plan.costs import cost_of
from polyscan.tables import TABLES

HEAVY = ("torch", "ray", "pyarrow", "faiss", "altair", "pandas", "PIL", "fsspec", "sklearn")


def loaded_after(statement: str) -> set[str]:
    """Which heavy packages a fresh interpreter has loaded after a statement."""
    code = f"{statement}; import sys; print(*(name for name in {HEAVY!r} if name in sys.modules))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    return set(ended.stdout.split())


@pytest.mark.parametrize(
    "module",
    ["polyscan", "polyscan.cli", "polyscan.scores", "polyscan.stats.clustering", "polyscan.units", "polyscan.shards"],
)
def test_pure_rooms_and_the_front_door_load_nothing_heavy(module: str) -> None:
    assert loaded_after(f"import {module}") == set()


def test_a_scan_on_a_laptop_loads_no_ray() -> None:
    assert "ray" not in loaded_after("import polyscan.pipeline, polyscan.studies.scanning")


def test_import_contracts_hold() -> None:
    ended = subprocess.run(
        [Path(sys.executable).parent / "lint-imports"], cwd=REPOSITORY,
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert "0 broken" in ended.stdout, ended.stdout + ended.stderr
    assert ended.returncode == 0


def test_every_stage_is_a_verb_with_its_two_names_and_its_tables_have_schemas() -> None:
    for stage in STAGES:
        assert callable(stage.module.shards)
        assert callable(stage.module.Worker)
        assert stage.module.__name__ == f"polyscan.stages.{stage.name}"
        assert callable(cost_of(stage.name))
    writers = {table.stage for table in TABLES.values()}
    assert writers == {stage.name for stage in STAGES}


def test_a_stage_without_a_cost_is_an_error() -> None:
    with pytest.raises(LookupError, match=r"stage `polish` has no cost.*write polyscan/studies/plan/costs/polish\.py"):
        cost_of("polish")


def test_stages_read_only_what_comes_before_them() -> None:
    known = set(INPUTS)
    for stage in STAGES:
        assert set(stage.reads) <= known, stage.name
        known.add(stage.name)
