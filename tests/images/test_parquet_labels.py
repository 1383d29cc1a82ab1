"""Labels of Parquet rows: every form of column, folders that say the label, names, and what is refused."""

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from polyscan.errors import ImagesError
from polyscan.images import ImageOptions, ImageSource, Picture, open_images

Encode = Callable[..., bytes]
PPM = b"P6 4 4 255\n" + bytes(48)
NONE = (None, "")


def opened(source: Path | str, **options: object) -> ImageSource:
    return open_images(str(source), options=ImageOptions(**options))  # type: ignore[arg-type]


def labels(source: ImageSource) -> list[tuple[int | None, str]]:
    found = list(source.read(range(len(source))))
    assert all(isinstance(entry, Picture) for entry in found), found
    return [(entry.label, entry.label_name) for entry in found if isinstance(entry, Picture)]


def write(path: Path, metadata: dict[str, str] | None = None, **columns: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    n_rows = len(next(iter(columns.values()))) if columns else 1
    table = pa.table({"image": [PPM] * n_rows, **columns}).replace_schema_metadata(metadata)
    pq.write_table(table, path)
    return path


def footer(names: list[str], column: str = "label") -> dict[str, str]:
    features = {column: {"names": names, "_type": "ClassLabel"}}
    return {"huggingface": json.dumps({"info": {"features": features}})}


INTEGERS = [pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()]
FLOATS = [pa.float16(), pa.float32(), pa.float64(), pa.decimal128(5, 2), pa.decimal256(50, 1)]
TEXTS = [pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary(), pa.binary_view()]


@pytest.mark.parametrize("kind", INTEGERS, ids=str)
@pytest.mark.parametrize("is_category", [False, True])
def test_whole_numbers_of_any_type(tmp_path: Path, kind: pa.DataType, is_category: bool) -> None:
    column = pa.array([3, 0, None, 3], kind)
    path = write(tmp_path / "a.parquet", label=column.dictionary_encode() if is_category else column)
    assert labels(opened(path)) == [(3, ""), (0, ""), NONE, (3, "")]
    assert opened(path).labels == 'column "label", whole numbers without names'


@pytest.mark.parametrize("kind", FLOATS, ids=str)
def test_numbers_with_a_point(tmp_path: Path, kind: pa.DataType) -> None:
    cells = [3.0, -1.0, None, 0.0] if pa.types.is_floating(kind) else [Decimal(3), Decimal(-1), None, Decimal(0)]
    column = pa.array(np.array(cells, np.float16) if kind == pa.float16() else cells, kind)
    expected = [(3, ""), NONE, NONE, (0, "")]
    assert labels(opened(write(tmp_path / "a.parquet", label=column))) == expected


def test_labels_as_pandas_writes_them_where_some_are_missing(tmp_path: Path) -> None:
    frame = pd.DataFrame({"image": [PPM] * 3, "label": [3, None, 1]})
    assert frame["label"].dtype == np.float64
    frame.to_parquet(tmp_path / "a.parquet")
    frame.astype({"label": "category"}).to_parquet(tmp_path / "b.parquet")
    assert labels(opened(tmp_path)) == [(3, ""), NONE, (1, "")] * 2
    write(tmp_path / "c.parquet", label=[float("nan"), 7.0])
    assert labels(opened(tmp_path / "c.parquet")) == [NONE, (7, "")]


@pytest.mark.parametrize("value", [2.5, -0.5, float("inf"), float("-inf"), 1e-300])
def test_a_number_that_is_not_whole_is_refused_with_its_value(tmp_path: Path, value: float) -> None:
    path = write(tmp_path / "a.parquet", label=[1.0, value], other=[1, 2])
    with pytest.raises(ImagesError) as error:
        opened(path)
    assert str(error.value).startswith(
        f'a.parquet: the column "label" holds {value} as a label; allowed are text, whole'
    )
    assert labels(opened(path, label_column="other")) == [(1, ""), (2, "")]
    assert labels(opened(path, label_column="")) == [NONE, NONE]


@pytest.mark.parametrize("kind", TEXTS, ids=str)
@pytest.mark.parametrize("is_category", [False, True])
def test_text_and_bytes_are_numbered_in_sorted_order(tmp_path: Path, kind: pa.DataType, is_category: bool) -> None:
    column = pa.array(["pear", "fig", None, "", "pear"], pa.string()).cast(pa.binary()).cast(kind)
    if is_category and "view" not in str(kind):
        column = column.dictionary_encode()
    path = write(tmp_path / "a.parquet", label=column)
    assert labels(opened(path)) == [(1, "pear"), (0, "fig"), NONE, NONE, (1, "pear")]
    assert opened(path).labels == 'column "label", 2 different texts, numbered in sorted order'


def test_bytes_of_a_fixed_size_and_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", label=pa.array([b"\xff1", b"ab", b"\xff2"], pa.binary(2)))
    assert labels(opened(path)) == [(0, r"\xff1"), (2, "ab"), (1, r"\xff2")]


def test_booleans_and_columns_without_a_value(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", label=[True, False, None])
    write(tmp_path / "b.parquet", label=pa.nulls(2))
    assert labels(opened(tmp_path)) == [(1, ""), (0, ""), NONE, NONE, NONE]
    assert labels(opened(tmp_path / "b.parquet")) == [NONE, NONE]


def test_numbers_beyond_64_bits_are_numbered_in_sorted_order(tmp_path: Path) -> None:
    """They are hashes, mostly; the number of a class must fit 64 signed bits, and the value becomes its name."""
    write(tmp_path / "a.parquet", label=pa.array([2**64 - 1, 2**63, None, 9], pa.uint64()))
    write(tmp_path / "b.parquet", label=[10, 9, -1, 2**62])
    source = opened(tmp_path)
    assert labels(source) == [
        (4, str(2**64 - 1)),
        (3, str(2**63)),
        NONE,
        (0, "9"),
        (1, "10"),
        (0, "9"),
        NONE,
        (2, str(2**62)),
    ]
    assert "5 different numbers, some beyond 64 bits, numbered in sorted order" in source.labels
    for value, expected in ((2**63 - 1, (2**63 - 1, "")), (2**63, (0, str(2**63)))):
        path = write(tmp_path / "c.parquet", label=pa.array([value], pa.uint64()))
        assert labels(opened(path)) == [expected]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(
        st.tuples(st.just(pa.uint64()), st.lists(st.one_of(st.none(), st.integers(0, 2**64 - 1)), min_size=1)),
        st.tuples(st.just(pa.int64()), st.lists(st.one_of(st.none(), st.integers(-3, 2**63 - 1)), min_size=1)),
        st.tuples(st.just(pa.string()), st.lists(st.one_of(st.none(), st.text(max_size=4)), min_size=1)),
        st.tuples(st.just(pa.float64()), st.lists(st.one_of(st.none(), st.integers(-3, 2**60).map(float)), min_size=1)),
    )
)
def test_one_number_is_one_label_and_its_order_is_kept(tmp_path: Path, case: tuple[pa.DataType, list[Any]]) -> None:
    kind, cells = case
    found = labels(opened(write(tmp_path / "a.parquet", label=pa.array(cells, kind))))
    known = [(number, cell) for (number, _), cell in zip(found, cells, strict=True) if number is not None]
    missing = [cell for (number, _), cell in zip(found, cells, strict=True) if number is None]
    assert all(0 <= number < 2**63 for number, _ in known)
    assert all(cell is None or cell == "" or (not isinstance(cell, str) and cell < 0) for cell in missing)
    assert [cell for _, cell in sorted(known)] == sorted(cell for _, cell in known)
    assert len({number for number, _ in known}) == len({cell for _, cell in known})


@pytest.mark.parametrize(
    ("columns", "taken", "unused"),
    [
        (["label"], "label", []),
        (["LABELS"], "LABELS", []),
        (["Class"], "Class", []),
        (["target", "label"], "label", ["target"]),
        (["coarse_label", "fine_label"], "fine_label", ["coarse_label"]),
        (["Label", "label"], "label", ["Label"]),
        (["y", "cls"], "cls", []),
        (["class_id", "class_name"], "class_id", []),
        (["class_name"], "class_name", []),
        (["label", "label_name", "class_name"], "label", ["class_name"]),
    ],
)
def test_where_labels_are_looked_for(tmp_path: Path, columns: list[str], taken: str, unused: list[str]) -> None:
    cells: dict[str, list[object]] = {
        name: [f"n{place}"] if name.endswith("_name") else [place] for place, name in enumerate(columns)
    }
    source = opened(write(tmp_path / "a.parquet", **cells))
    number = 0 if taken.endswith("_name") else columns.index(taken)
    assert labels(source)[0][0] == number
    assert source.labels.startswith(f'column "{taken}", ')
    quoted = ", ".join(f'"{name}"' for name in unused)
    said = f"; not used: {quoted} (choose by `label_column`)"
    assert source.labels.endswith(said if unused else ("named", "names", "order"))


def test_labels_that_are_not_found_are_said(tmp_path: Path) -> None:
    source = opened(write(tmp_path / "a.parquet", caption=["x"], labels=[[1, 2]], day=[pd.Timestamp(0)]))
    assert labels(source) == [NONE]
    assert source.labels.startswith("none found (no column or folder is called label, labels, class, ")
    assert source.labels.endswith(
        "; columns: image, caption, labels, day; not one label per image: labels (list<element: int64>))"
    )
    assert opened(tmp_path, label_column="").labels == "none asked for"


def test_files_with_labels_in_other_columns_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", label=[1])
    write(tmp_path / "b.parquet", target=[1])
    with pytest.raises(ImagesError, match=r'the labels are in "label" in a\.parquet and in "target" in b\.parquet'):
        opened(tmp_path)
    write(tmp_path / "b.parquet", LABEL=[2])
    write(tmp_path / "c.parquet", caption=["x"])
    assert labels(opened(tmp_path)) == [(1, ""), (2, ""), NONE]
    assert opened(tmp_path).labels.endswith("; no labels in 1 of 3 files")


def test_footers_that_name_a_number_differently_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", footer(["cat", "dog"]), label=[0, 1])
    write(tmp_path / "b.parquet", footer(["dog", "cat"]), label=[0, 1])
    expected = r'label 0 is called "cat" in a\.parquet and "dog" in b\.parquet; a label must have one meaning'
    with pytest.raises(ImagesError, match=expected):
        opened(tmp_path)


def test_footers_that_agree_as_far_as_they_go(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", footer(["cat", "dog"]), label=[0, 1])
    write(tmp_path / "b.parquet", footer(["cat", "dog", "eel"]), label=[2, 1])
    write(tmp_path / "c.parquet", label=[2.0])
    source = opened(tmp_path)
    assert labels(source) == [(0, "cat"), (1, "dog"), (2, "eel"), (1, "dog"), (2, "eel")]
    assert source.labels == 'column "label", whole numbers, 3 of them named'


@pytest.mark.parametrize("other", [{"label": [0], "label_name": ["dog"]}, {"label": [1, 1], "label_name": ["a", "b"]}])
def test_a_column_of_names_that_contradicts_is_refused(tmp_path: Path, other: dict[str, Any]) -> None:
    write(tmp_path / "a.parquet", footer(["cat"]), label=[0])
    write(tmp_path / "b.parquet", **other)
    with pytest.raises(
        ImagesError, match=r'label \d is called .* set `label_column` to a column of text \("label_name"\)'
    ):
        opened(tmp_path)
    assert {name for _, name in labels(opened(tmp_path / "b.parquet", label_column="label_name"))} == set(
        other["label_name"]
    )


def test_a_footer_and_a_column_in_other_words(tmp_path: Path) -> None:
    """The column's names count; a file need not hold all classes."""
    write(tmp_path / "a.parquet", footer(["n01", "n02", "n03"]), label=[0, 1], label_name=["tench", "goldfish"])
    write(tmp_path / "b.parquet", footer(["n01", "n02", "n03"]), label=[1, 2], label_name=["goldfish", None])
    assert labels(opened(tmp_path)) == [(0, "tench"), (1, "goldfish"), (1, "goldfish"), (2, "n03")]
    write(tmp_path / "c.parquet", footer(["n01", "n02"]), label=[1], label_name=["n01"])
    with pytest.raises(ImagesError, match=r'label 1 is called "goldfish" in a\.parquet and "n01" in c\.parquet'):
        opened(tmp_path)
    with pytest.raises(ImagesError, match=r'label 1 is called "n02" in c\.parquet and "n01" in c\.parquet'):
        opened(tmp_path / "c.parquet")


def test_two_classes_may_have_one_name(tmp_path: Path) -> None:
    """ImageNet has two of cranes."""
    path = write(tmp_path / "a.parquet", label=[134, 517, 134], label_name=["crane", "crane", None])
    assert labels(opened(path)) == [(134, "crane"), (517, "crane"), (134, "crane")]


@pytest.mark.parametrize("name", ["label", "image", "label_name"])
def test_a_name_that_two_columns_have_is_refused(tmp_path: Path, name: str) -> None:
    cells = {"image": [PPM], "label": [1], "label_name": ["x"]}
    names = [*cells, name]
    table = pa.Table.from_arrays([pa.array(cells[each]) for each in names], names=names)
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(ImagesError, match=rf'a\.parquet has 2 columns named "{name}"; a column in use must have'):
        opened(tmp_path)


def test_columns_not_in_use_may_have_one_name(tmp_path: Path) -> None:
    names = ["image", "label", "other", "other", "path", "path"]
    arrays = [pa.array([PPM]), pa.array([4]), pa.array([1]), pa.array([2]), pa.array(["x"]), pa.array(["y"])]
    pq.write_table(pa.Table.from_arrays(arrays, names=names), tmp_path / "a.parquet")
    source = opened(tmp_path)
    assert labels(source) == [(4, "")]
    assert next(source.read([0])).path == "a.parquet#0"


# ---- folders that say the label --------------------------------------------------------------------------------------


def test_folders_give_labels_as_text(tmp_path: Path) -> None:
    for name in ("label=tabby%20cat", "label=Dog", "label=__HIVE_DEFAULT_PARTITION__", "label=10"):
        write(tmp_path / name / "part-0.parquet", x=[1, 2])
    source = opened(tmp_path)
    by_path = dict(zip([entry.path.split("/")[0] for entry in source.read(range(8))], labels(source), strict=True))
    assert by_path == {
        "label=tabby%20cat": (2, "tabby cat"),
        "label=Dog": (1, "Dog"),
        "label=__HIVE_DEFAULT_PARTITION__": NONE,
        "label=10": (0, "10"),
    }
    assert source.labels == 'folders "label=...", 3 different texts, numbered in sorted order'


def test_folders_give_labels_as_numbers_if_all_are(tmp_path: Path) -> None:
    for name in ("split=train/label=7", "split=train/label=12", "split=test/label=-1", "split=test/label="):
        write(tmp_path / name / "part-0.parquet", x=[1])
    assert sorted(labels(opened(tmp_path)), key=str) == [(12, ""), (7, ""), NONE, NONE]
    assert opened(tmp_path, label_column="split").labels.startswith('folders "split=...", 2 different texts')


@pytest.mark.parametrize(
    ("folders", "expected"),
    [
        (("07", "7"), [(0, "07"), (1, "7")]),
        (("0", "-0"), [(1, "0"), (0, "-0")]),
        (("01", "02", "10"), [(0, "01"), (1, "02"), (2, "10")]),
        (("0", "2", "10"), [(0, ""), (2, ""), (10, "")]),
    ],
)
def test_folders_that_differ_are_never_one_class(
    tmp_path: Path, folders: tuple[str, ...], expected: list[tuple[int, str]]
) -> None:
    for place, name in enumerate(folders):
        write(tmp_path / str(place) / f"label={name}" / "a.parquet", x=[1])
    assert labels(opened(tmp_path)) == expected


def test_the_digest_tells_which_folders_are_read(tmp_path: Path) -> None:
    write(tmp_path / "split=1" / "label=2" / "a.parquet", x=[1])
    digests = {opened(tmp_path, label_column=name).digest for name in ("label", "split", "")}
    assert len(digests) == 3
    assert opened(tmp_path).digest == opened(tmp_path, label_column="label").digest


def test_files_as_arrow_partitions_them(tmp_path: Path) -> None:
    table = pa.table({"image": [PPM] * 3, "class": ["é/b", "a=b", "é/b"]})
    pq.write_to_dataset(table, tmp_path, partition_cols=["class"])
    assert sorted(labels(opened(tmp_path))) == [(0, "a=b"), (1, "é/b"), (1, "é/b")]


@pytest.mark.parametrize(
    ("folder", "cells", "expected"),
    [
        ("label=3", [3, 3], (3, "")),
        ("label=3", [3.0, None], (3, "")),
        ("label=3", ["3", "3"], (3, "")),
        ("Label=cat", ["cat", "cat"], (0, "cat")),
        ("label=01", ["01", "01"], (0, "01")),
        ("label=01", [1, 1], (0, "01")),
    ],
)
def test_a_folder_and_a_column_that_agree(
    tmp_path: Path, folder: str, cells: list[Any], expected: tuple[int, str]
) -> None:
    write(tmp_path / folder / "a.parquet", label=cells)
    assert set(labels(opened(tmp_path))) == {expected}


@pytest.mark.parametrize(("folder", "cells"), [("label=3", [3, 4]), ("label=cat", ["dog"]), ("LABEL=cat", [0])])
def test_a_folder_and_a_column_that_disagree_are_refused(tmp_path: Path, folder: str, cells: list[Any]) -> None:
    write(tmp_path / folder / "a.parquet", label=cells)
    expected = rf'{folder}/a\.parquet: the folder says \w+ = "\w+", and its column "label" holds "{cells[-1]}"'
    with pytest.raises(ImagesError, match=expected):
        opened(tmp_path)


def test_a_column_before_a_folder_in_the_order_wins_and_the_folder_is_told(tmp_path: Path) -> None:
    write(tmp_path / "target=5" / "a.parquet", label=[1])
    source = opened(tmp_path)
    assert labels(source) == [(1, "")]
    assert source.labels.endswith('; not used: "target" (choose by `label_column`)')
    assert labels(opened(tmp_path, label_column="target")) == [(5, "")]


def test_names_of_a_footer_hold_for_folders(tmp_path: Path) -> None:
    write(tmp_path / "label=1" / "a.parquet", footer(["cat", "dog"]), label=[1])
    assert labels(opened(tmp_path)) == [(1, "dog")]


def test_text_in_one_folder_and_a_number_in_another_column(tmp_path: Path) -> None:
    write(tmp_path / "label=cat" / "a.parquet", x=[1])
    write(tmp_path / "b.parquet", label=[1])
    with pytest.raises(ImagesError, match=r"the labels are text in .* and numbers in b\.parquet"):
        opened(tmp_path)


def test_names_that_are_no_text_in_the_file(tmp_path: Path) -> None:
    """A file may hold bytes where its schema says text; such rows are rejects and the others are read."""
    bad = pa.Array.from_buffers(pa.string(), 2, pa.array([b"ok", b"\xff\xfe"], pa.binary()).buffers())
    path = write(tmp_path / "a.parquet", label=[0, 1], label_name=bad)
    found = list(opened(path).read([0, 1]))
    assert isinstance(found[0], Picture)
    assert found[1].reason.startswith("corrupt: a text column is no valid text")  # type: ignore[union-attr]
