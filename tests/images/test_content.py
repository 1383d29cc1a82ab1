"""Checksums and stamps: what tells that images were replaced by others of the same names and sizes."""

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from polyscan.images import (
    ImageOptions,
    ImageSource,
    changed_files,
    checksum,
    checksums,
    open_images,
)

SIDE = 8


def ppm(shade: int) -> bytes:
    """An uncompressed image: all shades have the same size."""
    return f"P6 {SIDE} {SIDE} 255\n".encode() + bytes([shade]) * (3 * SIDE * SIDE)


def opened(source: Path | str, **options: object) -> ImageSource:
    return open_images(str(source), options=ImageOptions(**options))  # type: ignore[arg-type]


def of_all(source: ImageSource) -> dict[int, str]:
    return checksums(source, range(len(source)))


@pytest.fixture(params=["disk", "memory"])
def write(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Callable[[str, bytes], None]]]:
    """An empty folder on a disk or on an object store, and a function that writes a file there."""
    if request.param == "disk":

        def to_disk(name: str, content: bytes) -> None:
            target = tmp_path / "photos" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)

        yield str(tmp_path / "photos"), to_disk
        return
    fs = fsspec.filesystem("memory")
    fs.store.clear()
    yield "memory://bucket/photos", lambda name, content: fs.pipe_file(f"memory://bucket/photos/{name}", content)
    fs.store.clear()


Writer = tuple[str, Callable[[str, bytes], None]]


@pytest.fixture
def photos(write: Writer) -> Writer:
    for place in range(6):
        write[1](f"{'ab'[place % 2]}/{place}.ppm", ppm(place))
    time.sleep(0.02)  # a clock's tick: what is written from now on has another time
    return write


def test_a_checksum_is_of_the_file_as_stored(photos: Writer) -> None:
    source = opened(photos[0])
    for entry in source.read(range(6)):
        shade = int(Path(entry.path).stem)
        assert entry.checksum == hashlib.blake2b(ppm(shade), digest_size=8).hexdigest()
    assert of_all(source) == {entry.image: entry.checksum for entry in source.read(range(6))}
    assert checksum(b"") == ""


def test_other_bytes_of_the_same_size_are_found(photos: Writer) -> None:
    """The digest can't tell: names and sizes are the same."""
    address, put = photos
    before = opened(address)
    stamps, sums = before.stamps, of_all(before)
    assert changed_files(opened(address), stamps) == []
    put("a/2.ppm", ppm(200))
    after = opened(address)
    assert after.digest == before.digest
    assert changed_files(after, stamps) == ["a/2.ppm"]
    (image,) = after.images_of_file("a/2.ppm")
    assert next(after.read([image])).path == "a/2.ppm"
    assert checksums(after, [image]) == {image: checksum(ppm(200))}
    assert {i for i, value in of_all(after).items() if value != sums[i]} == {image}


def test_a_file_written_again_with_equal_bytes_keeps_its_checksum(photos: Writer) -> None:
    address, put = photos
    before = opened(address)
    stamps, sums = before.stamps, of_all(before)
    put("b/3.ppm", ppm(3))
    after = opened(address)
    assert changed_files(after, stamps) == ["b/3.ppm"]
    assert of_all(after) == sums


def test_a_file_that_came_or_went_is_a_change(photos: Writer) -> None:
    address, put = photos
    stamps = opened(address).stamps
    put("c/new.ppm", ppm(9))
    source = opened(address)
    assert changed_files(source, {**stamps, "gone.ppm": "1 2 3"}) == ["c/new.ppm", "gone.ppm"]
    assert list(source.images_of_file("gone.ppm")) == []


def test_a_copy_that_keeps_size_and_time_is_found(tmp_path: Path) -> None:
    """As `cp -p` and `rsync -t` write it."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/1.ppm").write_bytes(ppm(1))
    (tmp_path / "other.ppm").write_bytes(ppm(2))
    times = os.stat(tmp_path / "photos/1.ppm")
    os.utime(tmp_path / "other.ppm", ns=(times.st_atime_ns, times.st_mtime_ns))
    stamps = opened(tmp_path / "photos").stamps
    time.sleep(0.02)
    shutil.copy2(tmp_path / "other.ppm", tmp_path / "photos/1.ppm")
    assert os.stat(tmp_path / "photos/1.ppm").st_mtime_ns == times.st_mtime_ns
    assert changed_files(opened(tmp_path / "photos"), stamps) == ["1.ppm"]


@pytest.mark.skipif(os.name != "posix", reason="links as POSIX has them")
def test_a_link_has_the_stamp_of_its_target(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "store.ppm").write_bytes(ppm(1))
    (tmp_path / "photos/1.ppm").symlink_to(tmp_path / "store.ppm")
    (tmp_path / "photos/broken.ppm").symlink_to(tmp_path / "nowhere")
    stamps = opened(tmp_path / "photos").stamps
    assert stamps["broken.ppm"] == ""
    time.sleep(0.02)
    (tmp_path / "store.ppm").write_bytes(ppm(2))
    source = opened(tmp_path / "photos")
    assert changed_files(source, stamps) == ["1.ppm"]
    assert checksums(source, [0, 1]) == {0: checksum(ppm(2)), 1: ""}


def test_rejects_have_a_checksum_too(tmp_path: Path) -> None:
    for name, content in {"cut.ppm": ppm(1)[:50], "empty.ppm": b"", "good.ppm": ppm(1)}.items():
        (tmp_path / name).write_bytes(content)
    found = {entry.path: entry.checksum for entry in opened(tmp_path).read(range(3))}
    assert found == {"cut.ppm": checksum(ppm(1)[:50]), "empty.ppm": "", "good.ppm": checksum(ppm(1))}


@pytest.mark.parametrize("limit", [None, 1, 4, 5, 19, 20, 50])
def test_files_and_ids_belong_together_under_a_limit(tmp_path: Path, limit: int | None) -> None:
    rows = {"a.parquet": 3, "b.parquet": 0, "deep/c.parquet": 10, "deep/d.parquet": 7}
    for name, n_rows in rows.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        table = pa.table({"image": pa.array([ppm(i) for i in range(n_rows)], pa.binary())})
        pq.write_table(table, tmp_path / name, row_group_size=2)
    source = opened(tmp_path, limit=limit)
    by_file = {name: list(source.images_of_file(name)) for name in source.stamps}
    assert set(by_file) == set(rows)
    assert sorted(image for images in by_file.values() for image in images) == list(range(len(source)))
    for name, images in by_file.items():
        assert all(entry.path.startswith(f"{name}#") for entry in source.read(images))


def parquet(shades: list[int], labels: list[int], **columns: object) -> bytes:
    sink = pa.BufferOutputStream()
    table = pa.table({"image": [ppm(shade) for shade in shades], "label": labels, **columns})
    pq.write_table(table, sink, compression="none", use_dictionary=False, write_statistics=False)
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize("name", ["a.parquet", ""])
def test_parquet_written_again_with_the_same_size(write: Writer, name: str) -> None:
    """Even the footer may be the same to the byte."""
    address, put = write
    put("a.parquet", parquet([1, 2, 3], [0, 1, 2]))
    address = address if name else f"{address}/a.parquet"
    before = opened(address)
    stamps, sums, digest = before.stamps, of_all(before), before.digest
    assert list(stamps) == ["a.parquet"]
    time.sleep(0.02)
    put("a.parquet", parquet([1, 7, 3], [0, 1, 2]))
    after = opened(address)
    assert after.digest == digest
    assert changed_files(after, stamps) == ["a.parquet"]
    assert list(after.images_of_file("a.parquet")) == [0, 1, 2]
    now = of_all(after)
    assert [now[image] == sums[image] for image in range(3)] == [True, False, True]
    assert now == {entry.image: entry.checksum for entry in after.read(range(3))}


def test_other_labels_of_the_same_images_change_the_checksum(write: Writer) -> None:
    address, put = write
    put("a.parquet", parquet([1, 2, 3], [0, 1, 2]))
    sums = of_all(opened(address))
    put("a.parquet", parquet([1, 2, 3], [0, 2, 1]))
    now = of_all(opened(address))
    assert [now[image] == sums[image] for image in range(3)] == [True, False, False]


def test_the_checksum_of_a_row_without_other_columns_is_of_its_bytes(tmp_path: Path) -> None:
    pq.write_table(pa.table({"image": [ppm(1), None, b""]}), tmp_path / "a.parquet")
    assert of_all(opened(tmp_path)) == {0: checksum(ppm(1)), 1: "", 2: ""}


def test_sets_in_memory_have_checksums_and_no_stamps() -> None:
    source = opened("sklearn:digits", limit=30)
    assert source.stamps == {}
    assert changed_files(source, {}) == []
    assert list(source.images_of_file("digits")) == []
    found = of_all(source)
    assert found == {entry.image: entry.checksum for entry in source.read(range(30))}
    assert len(set(found.values())) == 30


def test_checksums_decode_nothing(photos: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    source = opened(photos[0])
    monkeypatch.setattr(Image, "open", None)
    assert len(of_all(source)) == 6


def test_image_folders_of_torchvision_are_stamped(tmp_path: Path) -> None:
    for name in ("a/1.ppm", "b/2.ppm"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(ppm(5))
    source = opened("torchvision:ImageFolder", root=str(tmp_path))
    assert of_all(source) == {entry.image: entry.checksum for entry in source.read([0, 1])}
    stamps = source.stamps
    time.sleep(0.02)
    (tmp_path / "b/2.ppm").write_bytes(ppm(6))
    again = opened("torchvision:ImageFolder", root=str(tmp_path))
    assert changed_files(again, stamps) == ["b/2.ppm"]
    assert list(again.images_of_file("b/2.ppm")) == [1]
    assert of_all(again) == {0: checksum(ppm(5)), 1: checksum(ppm(6))}


def test_sets_of_files_that_torchvision_decodes_are_stamped(tmp_path: Path) -> None:
    """DTD, Food101, Flowers102 and others keep a list of files and open them by their own code."""
    names = ["negative/1.png", "negative/2.png", "positive/3.png"]
    folder = tmp_path / "rendered-sst2" / "test"
    for place, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 4, 3), 50 * place, np.uint8)).save(folder / name)
    source = opened("torchvision:RenderedSST2", root=str(tmp_path), part="test")
    stamps, sums = source.stamps, of_all(source)
    assert sorted(stamps) == ["all other files", *(f"rendered-sst2/test/{name}" for name in names)]
    assert sums == {entry.image: entry.checksum for entry in source.read(range(3))}
    time.sleep(0.02)
    Image.fromarray(np.full((4, 4, 3), 9, np.uint8)).save(folder / names[1])
    again = opened("torchvision:RenderedSST2", root=str(tmp_path), part="test")
    (changed,) = changed_files(again, stamps)
    assert changed == f"rendered-sst2/test/{names[1]}"
    now = of_all(again)
    assert {image for image in range(3) if now[image] != sums[image]} == set(again.images_of_file(changed))
