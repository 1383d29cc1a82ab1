"""Runs that another version of polyscan made: read where their tables are the same, else refused by name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import polyscan
from polyscan.errors import JobError
from polyscan.results import Results


@pytest.fixture
def old(toy_results: Results, tmp_path: Path) -> Path:
    """A copy of a run, as if version 0.1.0 had made it, with a setting that is gone."""
    folder = tmp_path / "old"
    shutil.copytree(toy_results.run.address, folder)
    manifest = json.loads((folder / "run.json").read_text())
    manifest["versions"]["polyscan"] = "0.1.0"
    (folder / "run.json").write_text(json.dumps(manifest))
    job = (folder / "job.toml").read_text()
    assert "\nreadouts =" in job
    (folder / "job.toml").write_text(job.replace("\nreadouts =", "\nread_outs ="))
    return folder


def test_the_map_of_an_old_run_is_read_and_its_job_refused_by_version(old: Path) -> None:
    results = polyscan.open_run(str(old))
    assert len(results.top(3)) == 3
    with pytest.raises(
        JobError, match=r"was made by polyscan 0\.1\.0, this is .*read_outs.*scan again into a new folder"
    ):
        _ = results.job


def test_a_job_file_that_was_spoilt_by_hand_is_told_as_such(old: Path) -> None:
    manifest = json.loads((old / "run.json").read_text())
    manifest["versions"]["polyscan"] = polyscan.__version__
    (old / "run.json").write_text(json.dumps(manifest))
    with pytest.raises(JobError, match=r'`survey\.read_outs`; did you mean "readouts"'):
        _ = polyscan.open_run(str(old)).job
