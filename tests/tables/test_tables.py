"""One schema per table; the same columns give the same bytes; every reader reads them without surprise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from polyscan import tables
from polyscan.errors import TableError
from polyscan.storage import Storage
from polyscan.tables import TABLES, Filter

ROWS = 5


def example(name: str, *, seed: int = 0) -> dict[str, object]:
    """Valid columns of a table, made from its schema."""
    generator = np.random.default_rng(seed)
    made: dict[str, object] = {}
    for column in TABLES[name].columns:
        made[column.name] = {
            "string": [f"{column.name}-{row}" for row in range(ROWS)],
            "int32": generator.integers(0, 9, ROWS).astype(np.int32),
            "int64": generator.integers(0, 9, ROWS),
            "float32": generator.random(ROWS, dtype=np.float32),
            "float64": generator.random(ROWS),
            "bool": generator.random(ROWS) < 0.5,
            "binary": [bytes([row]) for row in range(ROWS)],
            "vector": generator.random((ROWS, 3), dtype=np.float32),
        }[column.type]
    return made


@pytest.mark.parametrize("name", TABLES)
def test_what_is_written_is_read_again(name: str, tmp_path: Path) -> None:
    columns = example(name)
    content, rows = tables.encode(TABLES[name], columns, metadata={"fingerprint": "f"})
    assert rows == ROWS
    storage = Storage(str(tmp_path))
    storage.put("part", content)
    frame = tables.read(storage, ["part"], TABLES[name])
    assert list(frame) == [column.name for column in TABLES[name].columns]
    for column in TABLES[name].columns:
        for found, expected in zip(frame[column.name], columns[column.name], strict=True):  # type: ignore[call-overload]
            assert np.array_equal(found, expected), column


@pytest.mark.parametrize("name", TABLES)
def test_the_same_columns_give_the_same_bytes_and_other_columns_others(name: str) -> None:
    first, again, other = (
        tables.encode(TABLES[name], example(name, seed=seed), metadata={"fingerprint": "f"})[0] for seed in (0, 0, 1)
    )
    assert first == again
    assert first != other


@pytest.mark.parametrize("name", TABLES)
def test_an_empty_table_keeps_its_columns(name: str, tmp_path: Path) -> None:
    empty = {column.name: [] for column in TABLES[name].columns}
    storage = Storage(str(tmp_path))
    storage.put("part", tables.encode(TABLES[name], empty, metadata={})[0])
    for files in ([], ["part"]):
        frame = tables.read(storage, files, TABLES[name])
        assert len(frame) == 0
        assert list(frame) == [column.name for column in TABLES[name].columns]


def test_wrong_columns_are_refused() -> None:
    columns = example("rejects")
    with pytest.raises(TableError, match=r"missing \['reason', 'checksum'\], unknown \['cause'\]"):
        tables.encode(TABLES["rejects"], {"image": [1], "path": ["a"], "cause": ["b"]}, metadata={})
    with pytest.raises(TableError, match="differ in length"):
        tables.encode(TABLES["rejects"], {**columns, "path": ["a"]}, metadata={})


def test_missing_numbers_are_null_only_where_the_schema_allows(tmp_path: Path) -> None:
    columns = example("scores") | {"value": np.full(ROWS, np.nan), "p": np.full(ROWS, np.nan)}
    storage = Storage(str(tmp_path))
    storage.put("part", tables.encode(TABLES["scores"], columns, metadata={})[0])
    import pyarrow.parquet as pq

    with storage.open("part") as file:
        assert pq.read_table(file)["p"].null_count == ROWS


def test_rows_are_found_by_range_value_and_list(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    for part in range(2):
        columns = example("moments") | {"unit": np.arange(ROWS, dtype=np.int32) + ROWS * part}
        storage.put(f"part-{part}", tables.encode(TABLES["moments"], columns, metadata={})[0])
    files = ["part-0", "part-1"]

    def units(where: Filter | None) -> list[int]:
        return tables.read(storage, files, TABLES["moments"], columns=["unit"], where=where)["unit"].tolist()

    assert units({"unit": range(3, 7)}) == [3, 4, 5, 6]
    assert units({"unit": 8}) == [8]
    assert units({"unit": [9, 0, 77]}) == [0, 9]
    assert units(None) == list(range(10))
    assert units({"unit": []}) == []
    assert units({"layer": []}) == []
    assert units({"layer": "layer-3", "unit": 8}) == [8]
    assert units({"layer": ["layer-3", "layer-4"], "unit": range(7, 9)}) == [8]
    assert units({"unit": range(7, 3)}) == []


def test_vectors_come_back_as_one_array(tmp_path: Path) -> None:
    columns = example("embeddings")
    storage = Storage(str(tmp_path))
    storage.put("part", tables.encode(TABLES["embeddings"], columns, metadata={})[0])
    assert np.array_equal(tables.read_vectors(storage, "part", "embedding"), columns["embedding"])  # type: ignore[arg-type]
    assert np.array_equal(tables.read_keys(storage, "part", "item"), columns["item"])  # type: ignore[arg-type]


def test_every_column_says_what_it_means() -> None:
    for table in TABLES.values():
        names = [column.name for column in table.columns]
        assert len(set(names)) == len(names)
        assert table.one_row_per
        for column in table.columns:
            assert column.meaning, (table.name, column.name)


def test_pandas_reads_a_folder_of_parts_as_it_is(tmp_path: Path) -> None:
    for part in range(2):
        content, _ = tables.encode(TABLES["exemplars"], example("exemplars"), metadata={})
        Storage(str(tmp_path)).put(f"part-{part}.parquet", content)
    frame = pd.read_parquet(tmp_path)
    assert len(frame) == 2 * ROWS
    assert frame["layer"].dtype.kind != "M"
    assert pd.api.types.is_string_dtype(frame["layer"])
