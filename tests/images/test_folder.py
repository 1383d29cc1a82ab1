"""Folders of images: order, labels, rejects, digest, on a disk and at an address."""

import os
import pickle
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest
from torchvision.datasets import ImageFolder

from polyscan.errors import ImagesError
from polyscan.images import ImageOptions, ImageSource, Picture, Reject, open_images

Encode = Callable[..., bytes]
Paint = Callable[..., np.ndarray]


@pytest.fixture
def memory() -> Iterator[str]:
    """An address of an empty folder that is not on a disk."""
    fs = fsspec.filesystem("memory")
    fs.store.clear()
    yield "memory://bucket/photos"
    fs.store.clear()


def opened(source: Path | str, **options: object) -> ImageSource:
    return open_images(str(source), options=ImageOptions(**options))  # type: ignore[arg-type]


def entries(source: ImageSource) -> list[Picture | Reject]:
    return list(source.read(range(len(source))))


def fill(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        target = root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return root


@pytest.fixture
def zoo(tmp_path: Path, encode: Encode, painted: Paint) -> Path:
    """Three classes, one of them deep, one whose name sorts before another's only as text with its slash."""
    names = ["cat/2.png", "cat/10.png", "cat/young/1.png", "cat-like/1.png", "ape/1.png"]
    contents = {name: encode(painted(shift=5 * place), "PNG") for place, name in enumerate(names)}
    return fill(tmp_path / "zoo", contents)


def test_class_folders_give_labels_by_sorted_name(zoo: Path, painted: Paint) -> None:
    found = entries(opened(zoo))
    assert [(entry.image, entry.path) for entry in found] == [
        (0, "ape/1.png"),
        (1, "cat/10.png"),
        (2, "cat/2.png"),
        (3, "cat/young/1.png"),
        (4, "cat-like/1.png"),
    ]
    pictures = [entry for entry in found if isinstance(entry, Picture)]
    assert [(p.label, p.label_name) for p in pictures] == [
        (0, "ape"),
        (1, "cat"),
        (1, "cat"),
        (1, "cat"),
        (2, "cat-like"),
    ]
    np.testing.assert_array_equal(pictures[1].pixels, painted(shift=5))


def test_labels_are_those_of_torchvision(zoo: Path) -> None:
    truth = {os.path.relpath(file, zoo): label for file, label in ImageFolder(str(zoo)).samples}
    assert truth == {entry.path: entry.label for entry in entries(opened(zoo)) if isinstance(entry, Picture)}


def test_a_flat_folder_has_no_labels(tmp_path: Path, encode: Encode) -> None:
    source = opened(fill(tmp_path, {"b.jpg": encode(), "a.jpg": encode()}))
    found = [entry for entry in entries(source) if isinstance(entry, Picture)]
    assert [(p.path, p.label, p.label_name) for p in found] == [("a.jpg", None, ""), ("b.jpg", None, "")]


def test_where_labels_come_from_is_said(zoo: Path, tmp_path: Path, encode: Encode) -> None:
    assert opened(zoo).labels == "class folders, 3 classes (ape, cat, cat-like)"
    fill(zoo, {"stray.png": encode(kind="PNG"), "dog/1.png": encode(kind="PNG")})
    assert opened(zoo).labels == "class folders, 4 classes (ape, cat, cat-like ...); 1 files outside them have no label"
    flat = fill(tmp_path / "flat", {"1.png": encode(kind="PNG")})
    assert opened(flat).labels == "none found (no class folders: all files lie in the folder itself)"
    parts = fill(tmp_path / "parts", {"train/cat/1.png": b"", "val/cat/2.png": b""})
    assert "they look like parts of a data set, not like classes" in opened(parts).labels


def test_files_beside_class_folders_have_no_label(zoo: Path, encode: Encode) -> None:
    fill(zoo, {"stray.png": encode(kind="PNG")})
    by_path = {entry.path: entry for entry in entries(opened(zoo))}
    stray = by_path["stray.png"]
    assert isinstance(stray, Picture)
    assert stray.label is None
    assert len(by_path) == 6


def test_every_file_counts_but_hidden_ones(zoo: Path, encode: Encode) -> None:
    jpeg = encode()
    fill(
        zoo,
        {
            ".DS_Store": b"x",
            "cat/.hidden.png": b"x",
            ".cache/1.png": b"x",
            "cat/noise": b"two cats\n",
            "cat/empty.jpg": b"",
            "cat/cut.jpg": jpeg[: len(jpeg) // 2],
            "cat/noise.jpg": bytes(range(256)),
        },
    )
    rejects = {e.path: e.reason for e in entries(opened(zoo)) if isinstance(e, Reject)}
    assert set(rejects) == {"cat/noise", "cat/empty.jpg", "cat/cut.jpg", "cat/noise.jpg"}
    assert rejects["cat/noise"].startswith("not an image")
    assert rejects["cat/noise.jpg"].startswith("not an image")
    assert rejects["cat/empty.jpg"] == "empty: no bytes"
    assert rejects["cat/cut.jpg"].startswith("truncated: ")
    assert len(opened(zoo)) == 5 + 4


def test_huge_images_are_rejects(zoo: Path) -> None:
    found = entries(opened(zoo, max_pixels=24 * 36 - 1))
    assert all(isinstance(e, Reject) and e.reason == "huge: 36x24 is 864 pixels, allowed are 863" for e in found)
    assert all(isinstance(e, Picture) for e in entries(opened(zoo, max_pixels=24 * 36)))


def test_ids_and_digest_outlive_a_renamed_root(zoo: Path) -> None:
    before = opened(zoo)
    old = [(e.image, e.path) for e in entries(before)]
    digest = before.digest
    moved = zoo.rename(zoo.parent / "another name")
    assert [(e.image, e.path) for e in entries(opened(moved))] == old
    assert opened(moved).digest == digest


def test_digest_sees_names_sizes_and_options(zoo: Path, encode: Encode) -> None:
    digests = [opened(zoo).digest, opened(zoo, limit=2).digest, opened(zoo, max_pixels=9).digest]
    fill(zoo, {"cat/2.png": encode(kind="PNG") + b"more"})
    digests.append(opened(zoo).digest)
    (zoo / "cat/2.png").rename(zoo / "cat/3.png")
    digests.append(opened(zoo).digest)
    (zoo / "cat/3.png").unlink()
    digests.append(opened(zoo).digest)
    assert len(set(digests)) == len(digests)
    assert all(len(digest) == 64 for digest in digests)


def test_reading_keeps_the_order_asked_for(zoo: Path) -> None:
    assert [entry.image for entry in opened(zoo).read([4, 0, 4, 2])] == [4, 0, 4, 2]
    with pytest.raises(IndexError, match=r"image 5 is not in this source; its ids are 0\.\.4"):
        list(opened(zoo).read([0, 5]))


def test_limit_keeps_all_classes(tmp_path: Path, encode: Encode) -> None:
    content = encode()
    fill(tmp_path, {f"{name}/{i:02d}.jpg": content for name in "abcd" for i in range(10)})
    found = entries(opened(tmp_path, limit=8))
    assert [entry.path for entry in found] == [f"{name}/{i:02d}.jpg" for name in "abcd" for i in (0, 5)]
    assert [entry.image for entry in found] == list(range(8))


def test_images_are_read_one_at_a_time(zoo: Path) -> None:
    reading = opened(zoo).read(range(5))
    next(reading)
    (zoo / "cat/10.png").unlink()
    entry = next(reading)
    assert entry == Reject(1, "cat/10.png", "unreadable: No such file or directory")


def test_a_lost_mount_is_an_error_and_no_row_of_rejects(zoo: Path) -> None:
    source = opened(zoo)
    zoo.rename(zoo.parent / "gone")
    with pytest.raises(FileNotFoundError):
        list(source.read([0]))


@pytest.mark.skipif(os.name != "posix", reason="links and pipes as POSIX has them")
def test_links_are_followed_and_what_is_no_file_is_a_reject(tmp_path: Path, encode: Encode) -> None:
    store = fill(tmp_path / "store", {"1.png": encode(kind="PNG"), "deep/2.png": encode(kind="PNG")})
    root = fill(tmp_path / "root", {"real/0.png": encode(kind="PNG")})
    (root / "linked").symlink_to(store)
    (root / "real/file.png").symlink_to(store / "1.png")
    (root / "real/broken.png").symlink_to(tmp_path / "nowhere")
    (root / "real/loop").symlink_to(root)
    os.mkfifo(root / "real/pipe.png")
    found = {entry.path: entry for entry in entries(opened(root))}
    pictures = {path: e.label for path, e in found.items() if isinstance(e, Picture)}
    assert pictures == {"linked/1.png": 0, "linked/deep/2.png": 0, "real/0.png": 1, "real/file.png": 1}
    rejects = {path: e.reason for path, e in found.items() if isinstance(e, Reject)}
    assert set(rejects) == {"real/broken.png", "real/loop", "real/pipe.png"}
    assert set(rejects.values()) == {"not a file: a broken or circular link, or a device"}


@pytest.mark.skipif(os.name != "posix", reason="links as POSIX has them")
def test_folders_that_link_to_each_other_come_to_an_end(tmp_path: Path, encode: Encode) -> None:
    root = fill(tmp_path, {"a/1.png": encode(kind="PNG"), "b/2.png": encode(kind="PNG")})
    (root / "a/to_b").symlink_to(root / "b")
    (root / "b/to_a").symlink_to(root / "a")
    source = opened(root)
    assert [entry.path for entry in entries(source)] == ["a/1.png", "b/2.png"]
    assert source.left_out == "links to folders that are counted elsewhere (2): a/to_b, b/to_a"


@pytest.mark.skipif(os.name != "posix", reason="links as POSIX has them")
@pytest.mark.parametrize("is_outside", [False, True])
def test_many_folders_that_link_to_all_others_are_listed_once(is_outside: bool, tmp_path: Path, encode: Encode) -> None:
    names, content = [f"class{i}" for i in range(8)], encode(kind="PNG")
    folders = fill(tmp_path / "store", {f"{name}/1.png": content for name in names})
    for name in names:
        for other in names:
            if other != name:
                (folders / name / f"to_{other}").symlink_to(folders / other)
    root = folders
    if is_outside:
        root = tmp_path / "root"
        root.mkdir()
        for name in names:
            (root / name).symlink_to(folders / name)
    source = opened(root)
    assert [(e.path, e.label_name) for e in entries(source) if isinstance(e, Picture)] == [
        (f"{name}/1.png", name) for name in names
    ]
    assert len(source) == 8
    assert source.left_out.startswith("links to folders that are counted elsewhere (56): ")


@pytest.mark.skipif(os.name != "posix", reason="links as POSIX has them")
def test_a_folder_within_a_linked_one_is_entered_once(tmp_path: Path, encode: Encode) -> None:
    content = encode(kind="PNG")
    store = fill(tmp_path / "store", {"1.png": content, "deep/2.png": content, "deep/er/3.png": content})
    root = fill(tmp_path / "root", {"z/0.png": content})
    (root / "a").symlink_to(store / "deep")
    (root / "b").symlink_to(store)
    source = opened(root)
    assert [entry.path for entry in entries(source)] == ["a/2.png", "a/er/3.png", "b/1.png", "z/0.png"]
    assert source.left_out == "links to folders that are counted elsewhere (1): b/deep"


@pytest.mark.skipif(os.name != "posix", reason="links as POSIX has them")
def test_a_hidden_folder_or_link_takes_no_image_away(tmp_path: Path, encode: Encode) -> None:
    store = fill(tmp_path / "store", {"1.png": encode(kind="PNG")})
    root = fill(tmp_path / "root", {".data/cats/2.png": encode(kind="PNG")})
    (root / ".link").symlink_to(store)
    (root / "dogs").symlink_to(store)
    (root / "cats").symlink_to(root / ".data/cats")
    source = opened(root)
    assert [entry.path for entry in entries(source)] == ["cats/2.png", "dogs/1.png"]
    assert source.left_out == ""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="file names that are no text exist on Linux only")
def test_names_that_are_no_text_are_read_and_shown(tmp_path: Path, encode: Encode) -> None:
    folder = os.fsencode(tmp_path) + b"/caf\xe9"
    os.mkdir(folder)
    with open(folder + b"/1\xff.png", "wb") as file:
        file.write(encode(kind="PNG"))
    source = opened(tmp_path)
    (entry,) = entries(source)
    assert isinstance(entry, Picture)
    assert (entry.path, entry.label, entry.label_name) == (r"caf\xe9/1\xff.png", 0, r"caf\xe9")
    assert len(source.digest) == 64


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="file names that are no text exist on Linux only")
def test_a_stray_byte_and_its_escape_in_a_name_stay_apart(tmp_path: Path, encode: Encode) -> None:
    names = [rb"caf\x5cxe9", rb"caf\xe9", b"caf\xe9"]
    for name in names:
        os.mkdir(os.fsencode(tmp_path) + b"/" + name)
        with open(os.fsencode(tmp_path) + b"/" + name + b"/1.png", "wb") as file:
            file.write(encode(kind="PNG"))
    source = opened(tmp_path)
    found = [entry for entry in entries(source) if isinstance(entry, Picture)]
    assert [entry.label_name for entry in found] == [r"caf\x5cx5cxe9", r"caf\x5cxe9", r"caf\xe9"]
    assert set(source.stamps) == {entry.path for entry in found}
    assert [list(source.images_of_file(entry.path)) for entry in found] == [[0], [1], [2]]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="file names that are no text exist on Linux only")
def test_names_that_differ_in_a_stray_byte_stay_apart(tmp_path: Path, encode: Encode) -> None:
    for name in (b"\xfe", b"\xff"):
        os.mkdir(os.fsencode(tmp_path) + b"/" + name)
        with open(os.fsencode(tmp_path) + b"/" + name + b"/1.png", "wb") as file:
            file.write(encode(kind="PNG"))
    source = opened(tmp_path)
    assert [entry.path for entry in entries(source)] == [r"\xfe/1.png", r"\xff/1.png"]
    assert len(source.stamps) == 2
    assert list(source.images_of_file(r"\xff/1.png")) == [1]


def test_any_address_reads_the_same(zoo: Path, memory: str) -> None:
    fs = fsspec.filesystem("memory")
    for file in zoo.rglob("*.png"):
        fs.pipe_file(f"{memory}/{file.relative_to(zoo).as_posix()}", file.read_bytes())
    fs.pipe_file(f"{memory}/.hidden/1.png", b"x")
    there, here = opened(memory), opened(zoo)
    assert there.digest == here.digest
    for a, b in zip(entries(there), entries(here), strict=True):
        assert isinstance(a, Picture)
        assert isinstance(b, Picture)
        assert (a.image, a.path, a.label, a.label_name) == (b.image, b.path, b.label, b.label_name)
        np.testing.assert_array_equal(a.pixels, b.pixels)


def test_a_file_lost_at_an_address_is_tried_again(memory: str, encode: Encode) -> None:
    """An object store may answer wrongly for a moment; a reject would hold for good."""
    fs = fsspec.filesystem("memory")
    fs.pipe_file(f"{memory}/1.jpg", encode())
    fs.pipe_file(f"{memory}/2.jpg", encode())
    source = opened(memory)
    fs.rm(f"{memory}/1.jpg")
    with pytest.raises(FileNotFoundError):
        list(source.read([0]))


def test_survives_pickling(zoo: Path) -> None:
    again = pickle.loads(pickle.dumps(opened(zoo)))
    assert again.digest == opened(zoo).digest
    assert [e.path for e in entries(again)] == [e.path for e in entries(opened(zoo))]


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / ".hidden.jpg").write_bytes(b"x")
    (tmp_path / "cat").mkdir()
    with pytest.raises(ImagesError, match="holds no images: it has no files"):
        opened(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"part": "train"}, 'a folder of images has no part "train"; allowed: all'),
        ({"label_column": "label"}, '`label_column` = "label" has no effect on a folder of images'),
        ({"root": "data"}, '`root` = "data" has no effect on a folder of images'),
    ],
)
def test_options_that_do_not_fit(zoo: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(ImagesError, match=message):
        opened(zoo, **options)
