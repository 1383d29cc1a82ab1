"""Parquet files of images: columns found by themselves, labels and names, row groups, damage, addresses."""

import json
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from places import ABSENT, DATA

from polyscan.errors import ImagesError
from polyscan.images import ImageOptions, ImageSource, Picture, Reject, open_images
from polyscan.images.parquet import WINDOW

Encode = Callable[..., bytes]
Paint = Callable[..., np.ndarray]


def opened(source: Path | str, **options: object) -> ImageSource:
    return open_images(str(source), options=ImageOptions(**options))  # type: ignore[arg-type]


def entries(source: ImageSource) -> list[Picture | Reject]:
    return list(source.read(range(len(source))))


def pictures(source: ImageSource) -> list[Picture]:
    found = entries(source)
    assert all(isinstance(entry, Picture) for entry in found), found
    return [entry for entry in found if isinstance(entry, Picture)]


def write(path: Path, columns: dict[str, Any], group: int = 4, metadata: dict[str, str] | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table(columns).replace_schema_metadata(metadata)
    pq.write_table(table, path, row_group_size=group)
    return path


@pytest.fixture
def contents(encode: Encode, painted: Paint) -> list[bytes]:
    """Ten PNG files, each of its own shade."""
    return [encode(painted(shift=3 * i), "PNG") for i in range(10)]


def test_bytes_with_labels_names_and_paths(tmp_path: Path, contents: list[bytes], painted: Paint) -> None:
    columns = {
        "image": contents,
        "label": pa.array([i % 3 for i in range(10)], pa.int32()),
        "label_name": [f"class {i % 3}" for i in range(10)],
        "file_name": [f"photos/{i}.png" for i in range(10)],
    }
    found = pictures(opened(write(tmp_path / "set.parquet", columns)))
    assert [p.image for p in found] == list(range(10))
    assert [p.label for p in found] == columns["label"].to_pylist()
    assert [p.label_name for p in found] == columns["label_name"]
    assert [p.path for p in found] == columns["file_name"]
    for i, picture in enumerate(found):
        np.testing.assert_array_equal(picture.pixels, painted(shift=3 * i))


def test_hugging_face_form(tmp_path: Path, contents: list[bytes], painted: Paint) -> None:
    features = {"img": {"_type": "Image"}, "label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}
    columns = {
        "img": [{"bytes": content, "path": f"{i}.png" if i else None} for i, content in enumerate(contents)],
        "label": [i % 2 for i in range(9)] + [-1],
    }
    footer = {"huggingface": json.dumps({"info": {"features": features}})}
    found = pictures(opened(write(tmp_path / "train-00000-of-00001.parquet", columns, metadata=footer)))
    assert [p.label for p in found] == [0, 1, 0, 1, 0, 1, 0, 1, 0, None]
    assert [p.label_name for p in found] == ["cat", "dog"] * 4 + ["cat", ""]
    assert [p.path for p in found[:3]] == ["train-00000-of-00001.parquet#0", "1.png", "2.png"]
    np.testing.assert_array_equal(found[9].pixels, painted(shift=27))


@pytest.mark.parametrize(
    "footer", ["", "{", "[]", '{"info": 3}', '{"info": {"features": {"label": {"names": {"0": "x"}}}}}', "null"]
)
def test_a_senseless_footer_names_no_classes(tmp_path: Path, contents: list[bytes], footer: str) -> None:
    path = write(tmp_path / "a.parquet", {"image": contents, "label": range(10)}, metadata={"huggingface": footer})
    assert [(p.label, p.label_name) for p in pictures(opened(path))] == [(i, "") for i in range(10)]


def test_more_labels_than_names(tmp_path: Path, contents: list[bytes]) -> None:
    footer = {"huggingface": json.dumps({"info": {"features": {"label": {"names": ["cat"]}}}})}
    path = write(tmp_path / "a.parquet", {"image": contents[:2], "label": [0, 7]}, metadata=footer)
    assert [(p.label, p.label_name) for p in pictures(opened(path))] == [(0, "cat"), (7, "")]


@pytest.mark.parametrize("is_dictionary", [False, True])
def test_labels_that_are_words_are_numbered_over_all_files(
    tmp_path: Path, contents: list[bytes], is_dictionary: bool
) -> None:
    def column(words: list[str | None]) -> pa.Array:
        array = pa.array(words, pa.string())
        return array.dictionary_encode() if is_dictionary else array

    write(tmp_path / "a.parquet", {"image": contents[:3], "label": column(["pear", "fig", None])})
    write(tmp_path / "b.parquet", {"image": contents[3:5], "label": column(["apple", "pear"])})
    found = pictures(opened(tmp_path))
    assert [p.label for p in found] == [2, 1, None, 0, 2]
    assert [p.label_name for p in found] == ["pear", "fig", "", "apple", "pear"]


def test_words_keep_their_numbers_under_a_limit(tmp_path: Path, contents: list[bytes]) -> None:
    path = write(tmp_path / "a.parquet", {"image": contents[:4], "label": ["d", "c", "b", "a"]})
    assert [(p.label, p.label_name) for p in pictures(opened(path, limit=2))] == [(3, "d"), (1, "b")]


def test_words_and_numbers_do_not_mix(tmp_path: Path, contents: list[bytes]) -> None:
    write(tmp_path / "a.parquet", {"image": contents[:1], "label": ["pear"]})
    write(tmp_path / "b.parquet", {"image": contents[:1], "label": [3]})
    with pytest.raises(ImagesError, match=r"the labels are text in a\.parquet and numbers in b\.parquet"):
        opened(tmp_path)


def test_another_label_column_brings_its_own_names(tmp_path: Path, contents: list[bytes]) -> None:
    columns = {
        "image": contents[:2],
        "label": [0, 1],
        "label_name": ["fine 0", "fine 1"],
        "coarse": [5, 6],
        "coarse_name": ["c5", "c6"],
    }
    path = write(tmp_path / "a.parquet", columns)
    assert [(p.label, p.label_name) for p in pictures(opened(path, label_column="coarse"))] == [(5, "c5"), (6, "c6")]


def test_without_labels(tmp_path: Path, contents: list[bytes]) -> None:
    path = write(tmp_path / "a.parquet", {"image": contents, "label": [[1, 2]] * 10, "other": range(10)})
    assert {(p.label, p.label_name) for p in pictures(opened(path))} == {(None, "")}
    assert [p.path for p in pictures(opened(path))] == [f"a.parquet#{i}" for i in range(10)]


@pytest.mark.parametrize("name", ["image", "img", "bytes", "jpg", "png", "anything"])
@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.binary_view()])
def test_the_image_column_is_found(tmp_path: Path, contents: list[bytes], name: str, kind: pa.DataType) -> None:
    path = write(tmp_path / "a.parquet", {"x": range(10), "note": ["n"] * 10, name: pa.array(contents, kind)})
    assert len(pictures(opened(path))) == 10


def test_a_named_column_wins_over_other_bytes(tmp_path: Path, contents: list[bytes]) -> None:
    path = write(tmp_path / "a.parquet", {"mask": [b"x"] * 10, "jpg": contents, "thumb": [b"y"] * 10})
    assert len(pictures(opened(path))) == 10
    assert all(isinstance(entry, Reject) for entry in entries(opened(path, image_column="mask")))


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        (["x"], {}, r"a.parquet has no columns that may hold the images; .* Its columns: x \(int64\). Set"),
        (["left", "right"], {}, r"has 2 columns that may hold the images; .*left \(binary\), right \(binary\)"),
        (["left"], {"image_column": "lefd"}, '`image_column` = "lefd" is not a column of image bytes in a.parquet'),
        (["x", "left"], {"image_column": "x"}, '`image_column` = "x" is not a column of image bytes'),
        (["left"], {"label_column": "wnid"}, '`label_column` = "wnid" is not a column of labels in a.parquet'),
        (["left"], {"label_column": "left"}, '`label_column` = "left" is not a column of labels'),
        (["left"], {"part": "test"}, 'a Parquet source has no part "test"; allowed: all'),
        (["left"], {"root": "data"}, '`root` = "data" has no effect on a Parquet source'),
    ],
)
def test_what_does_not_fit(
    tmp_path: Path, contents: list[bytes], columns: list[str], options: dict[str, object], message: str
) -> None:
    path = write(tmp_path / "a.parquet", {name: range(10) if name == "x" else contents for name in columns})
    with pytest.raises(ImagesError, match=message):
        opened(path, **options)


def test_bad_rows_are_rejects_with_reasons(tmp_path: Path, encode: Encode) -> None:
    jpeg = encode()
    column = [jpeg, None, b"", b"notes", jpeg[: len(jpeg) // 2], jpeg]
    found = entries(opened(write(tmp_path / "a.parquet", {"image": pa.array(column, pa.binary())})))
    reasons = [entry.reason if isinstance(entry, Reject) else "" for entry in found]
    assert reasons[0] == reasons[5] == ""
    assert reasons[1] == reasons[2] == "empty: the row holds no image bytes"
    assert reasons[3].startswith("not an image")
    assert reasons[4].startswith("truncated: ")
    assert [entry.path for entry in found] == [f"a.parquet#{i}" for i in range(6)]


def test_rows_of_hugging_face_that_only_name_a_file(tmp_path: Path, contents: list[bytes]) -> None:
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    rows = pa.array([{"bytes": None, "path": "far.png"}, None, {"bytes": contents[0], "path": "near.png"}], kind)
    found = entries(opened(write(tmp_path / "a.parquet", {"image": rows})))
    assert found[0] == Reject(0, "far.png", "empty: the row holds no image bytes")
    assert found[1] == Reject(1, "a.parquet#1", "empty: the row holds no image bytes")
    assert isinstance(found[2], Picture)


def test_huge_images_are_rejects(tmp_path: Path, contents: list[bytes]) -> None:
    found = entries(opened(write(tmp_path / "a.parquet", {"image": contents}), max_pixels=863))
    assert {e.reason if isinstance(e, Reject) else "" for e in found} == {"huge: 36x24 is 864 pixels, allowed are 863"}


def test_a_folder_of_files_in_order(tmp_path: Path, contents: list[bytes]) -> None:
    write(tmp_path / "set/b.parquet", {"image": contents[:2]})
    write(tmp_path / "set/a.parquet", {"image": contents[2:5], "label": range(3)})
    write(tmp_path / "set/deep/c.pq", {"image": contents[5:6]})
    write(tmp_path / "set/empty.parquet", {"image": pa.array([], pa.binary())})
    write(tmp_path / "set/_temporary/d.parquet", {"image": contents})
    write(tmp_path / "set/.hidden.parquet", {"image": contents})
    (tmp_path / "set/README.md").write_text("# A set")
    found = pictures(opened(tmp_path / "set"))
    assert [p.path for p in found] == [
        *(f"a.parquet#{i}" for i in range(3)),
        *(f"b.parquet#{i}" for i in range(2)),
        "deep/c.pq#0",
    ]
    assert [p.label for p in found] == [0, 1, 2, None, None, None]


def test_any_order_may_be_asked_for(tmp_path: Path, contents: list[bytes]) -> None:
    n_rows = 3 * WINDOW
    columns = {"image": [contents[i % 10] for i in range(n_rows)], "label": range(n_rows)}
    source = opened(write(tmp_path / "a.parquet", columns, group=7))
    order = [*np.random.default_rng(5).permutation(n_rows).tolist(), 3, 3, 0]
    found = [entry for entry in source.read(order) if isinstance(entry, Picture)]
    assert [picture.image for picture in found] == order
    assert [picture.label for picture in found] == order
    with pytest.raises(IndexError, match=f"image {n_rows} is not in this source"):
        list(source.read([0, n_rows]))


def test_row_groups_are_read_once_and_kept_few(
    tmp_path: Path, contents: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    source: Any = opened(write(tmp_path / "a.parquet", {"image": contents * 10}, group=8))
    read: list[int] = []
    real = pq.ParquetFile.read_row_group

    def counted(self: Any, index: int, **options: Any) -> pa.Table:
        read.append(index)
        return real(self, index, **options)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", counted)
    for _ in source.read(range(100)):
        assert len(source._cache) <= 2
    assert read == list(range(13))
    read.clear()
    # Out of order, each window of images reads each row group once at most.
    list(source.read(np.random.default_rng(1).permutation(100).tolist()))
    assert len(read) <= 2 * 13


def test_limit_is_spread_over_the_rows(tmp_path: Path, contents: list[bytes]) -> None:
    source = opened(write(tmp_path / "a.parquet", {"image": contents, "label": range(10)}), limit=4)
    assert [(p.image, p.label) for p in pictures(source)] == [(0, 0), (1, 2), (2, 5), (3, 7)]


def test_digest_tells_what_is_read(tmp_path: Path, contents: list[bytes]) -> None:
    columns: dict[str, Any] = {"image": contents, "label": range(10), "other": range(10)}
    path = write(tmp_path / "one/a.parquet", columns)
    digests = [opened(path, **o).digest for o in ({}, {"limit": 3}, {"label_column": "other"}, {"max_pixels": 5})]
    copy = tmp_path / "two/a.parquet"
    copy.parent.mkdir()
    copy.write_bytes(path.read_bytes())
    assert opened(copy).digest == digests[0]
    assert opened(copy.parent).digest == digests[0]
    write(copy, columns | {"label": [1, *range(1, 10)]})
    digests.append(opened(copy).digest)
    copy.rename(copy.with_name("b.parquet"))
    digests.append(opened(copy.with_name("b.parquet")).digest)
    assert len(set(digests)) == len(digests)


def test_damaged_row_groups_are_rejects_and_the_rest_is_read(tmp_path: Path, contents: list[bytes]) -> None:
    path = write(tmp_path / "a.parquet", {"image": contents}, group=5)
    chunk = pq.read_metadata(path).row_group(0).column(0)
    start = min(chunk.data_page_offset, chunk.dictionary_page_offset or chunk.data_page_offset)
    data = bytearray(path.read_bytes())
    data[start : start + chunk.total_compressed_size] = b"\xff" * chunk.total_compressed_size
    path.write_bytes(data)
    found = entries(opened(path))
    assert all(isinstance(e, Reject) and e.reason.startswith("corrupt: row group 0 of a.parquet: ") for e in found[:5])
    assert [e.path for e in found[:5]] == [f"a.parquet#{i}" for i in range(5)]
    assert all(isinstance(entry, Picture) for entry in found[5:])


def test_mutated_pages_never_raise_while_reading(tmp_path: Path, contents: list[bytes]) -> None:
    path = write(tmp_path / "a.parquet", {"image": contents, "file_name": [f"{i}.png" for i in range(10)]}, group=5)
    whole = path.read_bytes()
    source = opened(path)  # the footer is read before the harm is done
    random = np.random.default_rng(11)
    n_footer = int.from_bytes(whole[-8:-4], "little")
    n_rejects = 0
    for _ in range(60):
        data = bytearray(whole)
        for place in random.integers(4, len(whole) - n_footer - 8, 6):
            data[place] ^= 1 << int(random.integers(0, 8))
        path.write_bytes(data)
        found = entries(pickle.loads(pickle.dumps(source)))
        assert [entry.image for entry in found] == list(range(10))
        n_rejects += sum(isinstance(entry, Reject) for entry in found)
    assert 0 < n_rejects < 600


@pytest.mark.parametrize("content", [b"", b"PAR1", b"no parquet at all", b"PAR1" + b"\xff" * 300 + b"\x40\0\0\0PAR1"])
def test_a_file_that_is_no_parquet_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.parquet").write_bytes(content)
    with pytest.raises(ImagesError, match=r"a\.parquet in .* can't be read as Parquet \("):
        opened(tmp_path)


def test_a_cut_off_parquet_is_an_error(tmp_path: Path, contents: list[bytes]) -> None:
    path = write(tmp_path / "a.parquet", {"image": contents})
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ImagesError, match="can't be read as Parquet"):
        opened(path)


def test_no_rows_are_no_images(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", {"image": pa.array([], pa.binary())})
    with pytest.raises(ImagesError, match="holds no images: its Parquet files have no rows"):
        opened(path)


def test_survives_pickling_without_its_cache(tmp_path: Path, contents: list[bytes]) -> None:
    source = opened(write(tmp_path / "a.parquet", {"image": contents, "label": ["x"] * 10}))
    fresh = len(pickle.dumps(source))
    before = pictures(source)
    assert len(pickle.dumps(source)) == fresh
    again = pickle.loads(pickle.dumps(source))
    assert again.digest == source.digest
    for a, b in zip(pictures(again), before, strict=True):
        assert (a.image, a.path, a.label, a.label_name) == (b.image, b.path, b.label, b.label_name)
        np.testing.assert_array_equal(a.pixels, b.pixels)


@pytest.fixture
def memory() -> Iterator[str]:
    """An address of an empty folder that is not on a disk."""
    fs = fsspec.filesystem("memory")
    fs.store.clear()
    yield "memory://bucket/set"
    fs.store.clear()


@pytest.mark.parametrize("is_folder", [False, True])
def test_any_address_reads_the_same(tmp_path: Path, contents: list[bytes], memory: str, is_folder: bool) -> None:
    path = write(tmp_path / "a.parquet", {"image": contents, "label": ["x", "y"] * 5})
    fsspec.filesystem("memory").pipe_file(f"{memory}/a.parquet", path.read_bytes())
    there, here = opened(memory if is_folder else f"{memory}/a.parquet"), opened(path)
    assert there.digest == here.digest
    for a, b in zip(pictures(there), pictures(here), strict=True):
        assert (a.image, a.path, a.label, a.label_name) == (b.image, b.path, b.label, b.label_name)
        np.testing.assert_array_equal(a.pixels, b.pixels)


@pytest.mark.parametrize(
    ("name", "n_images", "n_classes", "side"),
    [
        ("imagenet_sample_1000", 1000, 1000, 256),
        ("tiny_imagenet_train_10000", 10_000, 200, 64),
        ("cifar10_test_10000", 10_000, 10, 32),
    ],
)
def test_shared_sets(name: str, n_images: int, n_classes: int, side: int) -> None:
    path = DATA / "images" / f"{name}.parquet"
    if not path.exists():
        pytest.skip(ABSENT)
    source = opened(path)
    assert len(source) == n_images
    truth = pq.read_table(path, columns=["label", "label_name", "file_name"])
    assert len(truth["label"].unique()) == n_classes
    images = list(range(0, n_images, n_images // 50))
    for picture in source.read(images):
        assert isinstance(picture, Picture)
        assert min(picture.pixels.shape[:2]) == side
        assert picture.label == truth["label"][picture.image].as_py()
        assert picture.label_name == truth["label_name"][picture.image].as_py()
        assert picture.path == truth["file_name"][picture.image].as_py()
        assert picture.pixels.std() > 1
