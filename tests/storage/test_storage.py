"""A file is whole or not there, on a disk and on an object store (fsspec's memory file system)."""

import os
from pathlib import Path

import pytest

from polyscan.errors import StoreError
from polyscan.storage import Storage


@pytest.fixture(params=["disk", "memory"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    return Storage(str(tmp_path / "run") if request.param == "disk" else f"memory://{tmp_path.name}/run")


def test_what_is_put_is_read_listed_sized_and_removed(storage: Storage) -> None:
    assert storage.files() == []
    storage.put("table/part-1", b"one")
    storage.put("table/part-0", b"zero")
    storage.put("done/x/0.json", b"{}")
    assert storage.read("table/part-1") == b"one"
    assert storage.files("table") == ["table/part-0", "table/part-1"]
    assert storage.files() == ["done/x/0.json", "table/part-0", "table/part-1"]
    assert storage.size("table/part-0") == 4
    assert storage.exists("table")
    assert storage.is_dir("table")
    with storage.open("table/part-0") as file:
        assert file.read() == b"zero"
    storage.remove("table")
    assert not storage.exists("table/part-0")
    storage.remove("table")
    with pytest.raises(FileNotFoundError):
        storage.read("table/part-0")


def test_an_older_file_is_replaced_whole(storage: Storage) -> None:
    storage.put("a", b"a long old content")
    storage.put("a", b"new")
    assert storage.read("a") == b"new"


def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = Storage(str(tmp_path))
    storage.put("a", b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        storage.put("a", b"new")
    assert storage.read("a") == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_files_that_are_being_written_are_not_listed(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    (tmp_path / ".part.parquet.0123").write_bytes(b"half")
    storage.put("part.parquet", b"whole")
    assert storage.files() == ["part.parquet"]


@pytest.mark.parametrize("module", ["httpx", "httpx2", "huggingface_hub.errors"])
def test_a_library_without_a_network_is_an_answer_that_does_not_come(module: str) -> None:
    away = type("ConnectError", (Exception,), {"__module__": module})
    storage = Storage("memory://away")
    with (
        pytest.raises(StoreError, match=r"doesn't answer \(ConnectError: Name or service not known\)"),
        storage.asking(),
    ):
        raise away("Name or service not known")
