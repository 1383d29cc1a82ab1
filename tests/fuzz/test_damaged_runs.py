"""Runs whose files were harmed: every reader works, or raises a PolyscanError that names the file."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import toy
from fuzz import damage
from sabotage import hashes

from polyscan import pipeline, tables
from polyscan.errors import PolyscanError, TableError
from polyscan.results import Results, open_run
from polyscan.run import Run
from polyscan.storage import Storage
from polyscan.studies import showing
from polyscan.studies.status import status_of
from polyscan.tables import TABLES

IS_LONG = "FUZZ_N" in os.environ
SEED = int(os.environ.get("FUZZ_SEED", "0"))
N_READ = int(os.environ.get("FUZZ_N", "600")) // 20
N_RERUN = int(os.environ.get("FUZZ_N", "500")) // 100


@pytest.fixture
def run(toy_results: Results, tmp_path: Path) -> Path:
    """A finished run of the toy without its pages, to be harmed."""
    folder = tmp_path / "run"
    shutil.copytree(toy_results.run.address, folder, ignore=shutil.ignore_patterns("maps"))
    return folder


@pytest.mark.timeout(600)
@pytest.mark.skipif(os.name != "posix", reason="limits of memory and time as POSIX has them")
def test_every_reader_works_or_names_the_file(run: Path, tmp_path: Path) -> None:
    """In a process of its own, with bounded time and memory: a crash or a hang names the file that it was at."""
    verdicts = tmp_path / "verdicts"
    paths = os.pathsep.join(str(Path(__file__).parents[up]) for up in (1, 2))
    done = subprocess.run(
        [sys.executable, damage.__file__, str(verdicts), str(run), str(SEED), "0", str(N_READ)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": paths},
    )
    rows = [json.loads(line) for line in verdicts.read_text().splitlines()] if verdicts.exists() else []
    assert done.returncode == 0, f"{done.returncode} at {rows[-1:]}:\n{done.stderr[-2000:]}"
    found = [
        (row["file"], row["harm"], reader, outcome) for row in rows for reader, outcome in row.get("found", {}).items()
    ]
    assert len([row for row in rows if "end" in row]) == N_READ
    assert not [each for each in found if each[3] not in ("fine", "named")]
    # Both must occur, or nothing was harmed or nothing could be read.
    assert {outcome for *_, outcome in found} == {"fine", "named"}


@pytest.mark.timeout(600)
def test_a_rerun_mends_what_was_harmed(run: Path, toy_results: Results, no_pages: None) -> None:
    """The very bytes come back; or a PolyscanError names the file, as where the manifest itself is no JSON."""
    sound, job = hashes(str(run)), toy.stored_job(toy_results)
    for index in range(N_RERUN):
        with damage.harmed(run, SEED + 1, index) as (file, harm):
            try:
                pipeline.scan(job, Run(str(run)), pipeline.in_process)
            except PolyscanError as error:
                said: str | None = str(error)
            else:
                said = None
            assert said is None or file in said, (file, harm, said)
            assert said is not None or hashes(str(run)) == sound, (file, harm)


@pytest.mark.parametrize("file", ["job.toml", "layers", "scores", "run.json", "done/score"])
def test_drawing_again_works_or_names_the_file(file: str, run: Path, no_pages: None) -> None:
    """`show` of a run with a file of zeros."""
    victim = run / file if "." in file else sorted((run / file).iterdir())[0]
    victim.write_bytes(bytes(100))
    with pytest.raises(PolyscanError) as caught:
        showing.redraw(str(run), {})
    # A done record that is none counts as a shard that is not done.
    assert (victim.name in str(caught.value)) or (file == "done/score" and "`score` has 1 of" in str(caught.value))


# ---- each kind of damage by its words ------------------------------------------------------------------------------


def part_of(run: Path, table: str) -> Path:
    return sorted((run / table).glob("*.parquet"))[0]


@pytest.mark.parametrize("table", ["exemplars", "embeddings", "names"])
def test_a_part_of_another_table_is_refused(table: str, run: Path) -> None:
    """Arrow alone would give nulls for columns that the file lacks."""
    victim = part_of(run, table)
    shutil.copy(part_of(run, "rejects"), victim)
    with pytest.raises(TableError, match=rf"{victim.name} can't be read.*holds the table `rejects` of version 2.*scan"):
        open_run(str(run)).table(table)


def test_a_part_of_another_version_is_refused(tmp_path: Path) -> None:
    """A table that has changed since; its columns may be named alike."""
    storage, table = Storage(str(tmp_path)), TABLES["rejects"]
    content, _ = tables.encode(table, {"image": [1], "path": ["a"], "reason": ["b"], "checksum": ["c"]}, metadata={})
    storage.put("old", content)
    newer = type(table)(table.name, table.stage, table.version + 1, table.one_row_per, table.columns)
    with pytest.raises(
        TableError,
        match=r"the table `rejects` of this run has version 2, this polyscan reads version \d+; .*--redo collect",
    ):
        tables.read(storage, ["old"], newer)


def test_columns_of_another_type_are_refused(tmp_path: Path) -> None:
    """A file that says nothing of itself is known by its columns."""
    frame = open_parquet(tmp_path / "own", {"image": [1.0], "path": ["a"], "reason": ["b"]})
    with pytest.raises(TableError, match="its columns are not those of `rejects`"):
        tables.read(Storage(str(tmp_path)), [frame.name], TABLES["rejects"])


def open_parquet(path: Path, columns: dict[str, list[object]]) -> Path:
    import pyarrow as pa

    pq.write_table(pa.table(columns), path)
    return path


def test_one_part_of_many_is_named(run: Path) -> None:
    """Of 23 parts, the one that was cut."""
    victim = sorted((run / "embeddings").glob("*.parquet"))[-1]
    victim.write_bytes(victim.read_bytes()[:-30])
    with pytest.raises(TableError, match=victim.name):
        open_run(str(run)).table("embeddings")
    results = Run(str(run))
    items = np.zeros(3, dtype=np.int64)
    with pytest.raises(TableError, match=victim.name):
        results.vectors(items)


def test_a_part_that_is_gone_is_named(run: Path) -> None:
    """It is no missing table: the done record says that it was there."""
    victim = part_of(run, "scores")
    victim.unlink()
    with pytest.raises(TableError, match=rf"{victim.name} is gone; .*status --verify"):
        open_run(str(run)).table("scores")


def test_keys_and_vectors_of_another_table_are_refused(run: Path) -> None:
    """Where the caller says which table it means."""
    storage = Storage(str(run))
    file = str(part_of(run, "thumbnails").relative_to(run))
    assert len(tables.read_keys(storage, file, "item"))
    with pytest.raises(TableError, match="holds the table `thumbnails`"):
        tables.read_keys(storage, file, "item", TABLES["embeddings"])
    with pytest.raises(TableError, match="holds the table `thumbnails`"):
        tables.read_vectors(storage, file, "embedding", TABLES["embeddings"])


def test_the_map_by_itself_is_named(run: Path) -> None:
    """`map.parquet` has no done record; `polyscan show` draws it anew."""
    (run / "map.parquet").write_bytes(b"PAR1")
    with pytest.raises(TableError, match=r"map.parquet can't be read.*polyscan show"):
        tables.read_single(Storage(str(run)), "map.parquet")


def test_a_damaged_map_is_named_by_its_readers(run: Path) -> None:
    """As of every other table."""
    (run / "map.parquet").write_bytes(b"PAR1")
    with pytest.raises(TableError, match=r"map\.parquet"):
        _ = open_run(str(run)).map


@pytest.mark.parametrize("content", [b"\xff\xfe", b"[[[", b"workers = 3"])
def test_a_damaged_job_does_not_keep_status_from_telling(content: bytes, run: Path) -> None:
    """Its deadline is all that status takes from it."""
    (run / "job.toml").write_bytes(content)
    try:
        assert status_of(str(run))
    except PolyscanError as error:
        raise AssertionError("job.toml" if "job.toml" in str(error) else str(error)) from error


def test_what_is_no_damage_goes_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lost mount or a refused key may come back: the shard is tried again, and its part is not called damaged."""
    storage, table = Storage(str(tmp_path)), TABLES["rejects"]
    storage.put(
        "part", tables.encode(table, {"image": [1], "path": ["a"], "reason": ["b"], "checksum": ["c"]}, metadata={})[0]
    )

    def lost(*_: object, **__: object) -> Iterator[None]:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(type(storage), "open", lost)
    with pytest.raises(OSError, match="Input/output error"):
        tables.read_keys(storage, "part", "image")


def test_the_harm_is_done_and_mended(run: Path) -> None:
    """Every round changes a file and puts it back; few rounds see every kind of file."""
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    seen = set[str]()
    n_changed = 0
    for index in range(40):
        with damage.harmed(run, SEED, index) as (file, _):
            seen.add(file.partition("/")[0])
            path = run / file
            n_changed += not path.exists() or path.read_bytes() != before[path]
    assert n_changed > 30
    assert seen >= {"run.json", "job.toml", "map.parquet", "done", "plan", "exemplars"}
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
