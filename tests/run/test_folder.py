"""A run's folder: what is deleted there, and what never is."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import fsspec
import pytest

from polyscan.run import Run
from polyscan.shards import Shard
from polyscan.storage import Storage
from polyscan.tables import TABLES

OWN = ("sample/mine.png", "sample/train/part-00000-of-00001.parquet", "done/survey/notes.json", "running/survey/a.txt")


@pytest.fixture(params=["disk", "store"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a folder on a disk or on an object store, which is held in memory."""
    if request.param == "disk":
        yield str(tmp_path_factory.mktemp("runs") / "run")
        return
    name = f"/{uuid.uuid4().hex}"
    yield f"memory:/{name}"
    fs = fsspec.filesystem("memory")
    if fs.exists(name):
        fs.rm(name, recursive=True)


def written(run: Run, stage: str, count: int) -> list[str]:
    """Files of a stage of so many shards."""
    for index in range(count):
        shard = Shard(stage, index, count, index, index + 1)
        columns = {table.name: {c.name: [] for c in table.columns} for table in TABLES.values() if table.stage == stage}
        run.write(shard, columns, fingerprint="f", seconds=0.0)
        run.ledger.note_running(shard)
    return run.storage.files()


def test_clear_deletes_what_polyscan_wrote_and_nothing_else(place: str) -> None:
    run = Run(place)
    files = [*written(run, "survey", 2), *written(run, "survey", 3)]
    combined = set(written(run, "combine", 1)) - set(files)
    assert any(file.startswith("sample/part-") for file in files)
    for file in OWN:
        Storage(place).put(file, b"mine")
    run.clear("survey")
    assert set(run.storage.files()) == {*OWN, *combined}
    assert run.ledger.done("survey") == {}


def test_clear_leaves_no_empty_folders(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("run")
    run = Run(str(folder))
    written(run, "survey", 2)
    run.clear("survey")
    assert not (folder / "sample").exists()
    assert not (folder / "done" / "survey").exists()


@pytest.mark.parametrize(
    ("folder", "held", "is_held"),
    [("a", "a", True), ("a", "a/b", True), ("a", "ab", False), ("a/b", "a", False)],
)
def test_what_a_folder_holds(place: str, folder: str, held: str, is_held: bool) -> None:
    assert Storage(place).holds(Storage(f"{place}/{held}"), folder) is is_held
