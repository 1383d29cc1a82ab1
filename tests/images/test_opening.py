"""Which source an address means, and what is said where it means none."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from polyscan.errors import ImagesError
from polyscan.images import ImageOptions, ImageSource, open_images
from polyscan.images.folder import FolderImages
from polyscan.images.parquet import ParquetImages

Encode = Callable[..., bytes]


def opened(source: Path | str) -> ImageSource:
    return open_images(str(source), options=ImageOptions())


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("", "the source of the images is empty; allowed: a class folder"),
        ("nowhere/at/all", r"there is nothing at .*nowhere/at/all; allowed: a class folder"),
        ("memory://nowhere", "there is nothing at memory://"),
        ("sklearn:faces", 'unknown data set "sklearn:faces"; allowed: sklearn:digits'),
        ("torchvison:CIFAR10", r'begins with an unknown source \("torchvison:"\); nearest: "torchvision:"'),
        ("kaggle:dogs", r'"kaggle:dogs" begins with an unknown source \("kaggle:"\); allowed: a class folder'),
        ("nosuch://bucket/photos", r'"nosuch://bucket/photos" can\'t be opened: .*nosuch'),
    ],
)
def test_what_can_not_be_opened(source: str, message: str) -> None:
    with pytest.raises(ImagesError, match=message):
        opened(source)


def test_a_single_file_that_is_no_parquet(tmp_path: Path, encode: Encode) -> None:
    (tmp_path / "photo.jpg").write_bytes(encode())
    with pytest.raises(ImagesError, match=r"photo\.jpg is a single file whose name doesn't end in"):
        opened(tmp_path / "photo.jpg")


def test_images_and_parquet_in_one_folder_are_ambiguous(tmp_path: Path, encode: Encode) -> None:
    (tmp_path / "photo.JPG").write_bytes(encode())
    pq.write_table(pa.table({"image": [encode()]}), tmp_path / "a.parquet")
    with pytest.raises(ImagesError, match="holds 1 Parquet files and 1 image files; a source has only one kind"):
        opened(tmp_path)


def test_a_folder_called_like_a_parquet_file(tmp_path: Path, encode: Encode) -> None:
    """Some writers make a folder of parts with that name."""
    (tmp_path / "set.parquet").mkdir()
    pq.write_table(pa.table({"image": [encode()]}), tmp_path / "set.parquet/part-0.parquet")
    assert isinstance(opened(tmp_path / "set.parquet"), ParquetImages)


@pytest.mark.skipif(sys.platform == "win32", reason="no file there has a colon in its name")
def test_an_existing_folder_with_a_colon_wins(tmp_path: Path, encode: Encode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("photos:2024").mkdir()
    Path("photos:2024/1.jpg").write_bytes(encode())
    assert isinstance(opened("photos:2024"), FolderImages)


def test_a_relative_path(tmp_path: Path, encode: Encode, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/1.jpg").write_bytes(encode())
    pq.write_table(pa.table({"image": [encode()]}), tmp_path / "a.parquet")
    monkeypatch.chdir(tmp_path)
    assert [entry.path for entry in opened("photos").read([0])] == ["1.jpg"]
    assert [entry.path for entry in opened("a.parquet").read([0])] == ["a.parquet#0"]


def test_a_folder_needs_neither_torch_nor_sklearn(tmp_path: Path, encode: Encode) -> None:
    (tmp_path / "1.jpg").write_bytes(encode())
    program = (
        "import sys; from polyscan.images import open_images, ImageOptions;"
        "len(list(open_images(sys.argv[1], options=ImageOptions()).read([0])));"
        "sys.exit(str({'torch', 'torchvision', 'sklearn', 'ray'} & set(sys.modules) or ''))"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.stderr.strip() == ""
