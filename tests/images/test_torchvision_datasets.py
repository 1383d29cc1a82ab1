"""torchvision's sets, from files written here in the forms that torchvision reads."""

import pickle
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import ImageFile

from polyscan.errors import ImagesError
from polyscan.images import ImageOptions, ImageSource, Picture, Reject, changed_files, checksums, open_images
from polyscan.images.torchvision_content import N_PROBED

Encode = Callable[..., bytes]
Paint = Callable[..., np.ndarray]
N_TRAIN, N_TEST = 7, 4
N_PETS = 140


def opened(name: str, root: Path | None, **options: object) -> ImageSource:
    root_option = None if root is None else str(root)
    return open_images(f"torchvision:{name}", options=ImageOptions(root=root_option, **options))  # type: ignore[arg-type]


def entries(source: ImageSource) -> list[Picture | Reject]:
    return list(source.read(range(len(source))))


def pictures(source: ImageSource) -> list[Picture]:
    found = entries(source)
    assert all(isinstance(entry, Picture) for entry in found), found
    return [entry for entry in found if isinstance(entry, Picture)]


def idx(values: np.ndarray) -> bytes:
    """An array in MNIST's file form: two zeros, type 8 (bytes), the number of axes, their lengths, the values."""
    return bytes([0, 0, 8, values.ndim]) + b"".join(n.to_bytes(4, "big") for n in values.shape) + values.tobytes()


@pytest.fixture
def mnist(tmp_path: Path) -> Path:
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for prefix, n_images, shift in (("train", N_TRAIN, 0), ("t10k", N_TEST, 100)):
        images = np.arange(n_images * 28 * 28).reshape(n_images, 28, 28) // 30 + shift
        (raw / f"{prefix}-images-idx3-ubyte").write_bytes(idx(images.astype(np.uint8)))
        (raw / f"{prefix}-labels-idx1-ubyte").write_bytes(idx((np.arange(n_images) % 10).astype(np.uint8)))
    return tmp_path


@pytest.fixture
def country(tmp_path: Path, encode: Encode, painted: Paint) -> Path:
    """A set of files whose parts are called train, valid and test."""
    for split, shift in (("train", 0), ("valid", 20), ("test", 40)):
        for place, name in enumerate(("AD", "ZW")):
            folder = tmp_path / "country211" / split / name
            folder.mkdir(parents=True)
            (folder / "1.png").write_bytes(encode(painted(shift=shift + place), "PNG"))
    return tmp_path


def test_parts_by_a_train_flag(mnist: Path) -> None:
    train, test = pictures(opened("MNIST", mnist, part="train")), pictures(opened("MNIST", mnist, part="test"))
    assert [p.label for p in train] == list(range(N_TRAIN))
    assert [p.path for p in test] == [f"test#{i}" for i in range(N_TEST)]
    assert train[2].label_name == "2 - two"
    assert train[0].pixels.shape == (28, 28, 3)
    assert (train[0].pixels[0, 0] == 0).all()
    assert (test[0].pixels[0, 0] == 100).all()


def test_all_is_train_and_then_test(mnist: Path) -> None:
    found = pictures(opened("MNIST", mnist))
    assert [p.image for p in found] == list(range(N_TRAIN + N_TEST))
    assert [p.path for p in found] == [f"train#{i}" for i in range(N_TRAIN)] + [f"test#{i}" for i in range(N_TEST)]
    assert [p.label for p in found] == [*range(N_TRAIN), *range(N_TEST)]
    assert (found[N_TRAIN].pixels[0, 0] == 100).all()


def test_limit_and_order(mnist: Path) -> None:
    source = opened("MNIST", mnist, limit=3)
    assert [e.path for e in source.read([2, 0, 1, 2])] == ["test#0", "train#0", "train#3", "test#0"]
    with pytest.raises(IndexError, match=r"its ids are 0\.\.2"):
        list(source.read([3]))


def test_digest_hashes_the_arrays(mnist: Path) -> None:
    digests = [opened("MNIST", mnist, **o).digest for o in ({}, {"part": "train"}, {"part": "test"}, {"limit": 2})]
    assert opened("MNIST", mnist).digest == digests[0]
    raw = mnist / "MNIST" / "raw" / "t10k-images-idx3-ubyte"
    content = bytearray(raw.read_bytes())
    content[-1] ^= 1
    raw.write_bytes(content)
    digests.append(opened("MNIST", mnist).digest)
    assert len(set(digests)) == len(digests)


def test_arrays_have_checksums_of_pixels_and_label_and_no_stamps(mnist: Path) -> None:
    source = opened("MNIST", mnist)
    before = checksums(source, range(len(source)))
    assert before == {entry.image: entry.checksum for entry in entries(source)}
    assert (source.stamps, list(source.images_of_file("train#0"))) == ({}, [])
    labels = mnist / "MNIST" / "raw" / "t10k-labels-idx1-ubyte"
    labels.write_bytes(labels.read_bytes()[:-1] + b"\x07")
    now = checksums(opened("MNIST", mnist), range(len(source)))
    assert [image for image in now if now[image] != before[image]] == [len(source) - 1]


@pytest.fixture
def pets(tmp_path: Path, encode: Encode, painted: Paint) -> Path:
    """A set that its own code reads: images in one folder, and lists of names and classes; more of them than probes."""
    for folder in ("images", "annotations"):
        (tmp_path / "oxford-iiit-pet" / folder).mkdir(parents=True)
    for place in range(N_PETS):
        (tmp_path / "oxford-iiit-pet/images" / f"{pet(place)}.jpg").write_bytes(encode(painted(shift=place)))
    list_pets(tmp_path, range(N_PETS))
    return tmp_path


def pet(place: int) -> str:
    return f"{'Cat' if place % 2 else 'pug_dog'}_{place:03d}"


def list_pets(root: Path, order: Sequence[int], exchanged: Sequence[int] = ()) -> None:
    classes = ((place + (place in exchanged)) % 2 + 1 for place in order)
    lines = [f"{pet(place)} {class_} 1 1" for place, class_ in zip(order, classes, strict=True)]
    (root / "oxford-iiit-pet/annotations/trainval.txt").write_text("\n".join(lines))


def test_the_digest_covers_the_whole_list_in_order(pets: Path) -> None:
    digests = [opened("OxfordIIITPet", pets, part="train").digest]
    probed = {place * N_PETS // N_PROBED for place in range(N_PROBED)}
    a, b = not_probed = sorted(set(range(0, N_PETS, 2)) - probed)[:2]  # both of one class
    order = list(range(N_PETS))
    order[a], order[b] = b, a
    list_pets(pets, order)
    digests.append(opened("OxfordIIITPet", pets, part="train").digest)
    list_pets(pets, range(N_PETS), exchanged=not_probed)
    digests.append(opened("OxfordIIITPet", pets, part="train").digest)
    list_pets(pets, range(N_PETS))
    assert len({*digests, opened("OxfordIIITPet", pets, part="train").digest}) == 3
    assert opened("OxfordIIITPet", pets, part="train").digest == digests[0]
    pets.rename(pets.with_name("elsewhere"))
    assert opened("OxfordIIITPet", pets.with_name("elsewhere"), part="train").digest == digests[0]


def test_stamps_cover_image_files_one_by_one_and_all_others_together(pets: Path) -> None:
    list_pets(pets, [*range(N_PETS), 4])  # one file may hold two images
    source = opened("OxfordIIITPet", pets, part="train")
    name = "oxford-iiit-pet/images/pug_dog_004.jpg"
    assert set(source.stamps) == {f"oxford-iiit-pet/images/{pet(i)}.jpg" for i in range(N_PETS)} | {"all other files"}
    assert (list(source.images_of_file(name)), list(source.images_of_file("none"))) == ([4, N_PETS], [])
    assert list(source.images_of_file("all other files")) == list(range(N_PETS + 1))
    before = source.stamps
    (pets / name).write_bytes((pets / name).read_bytes())
    assert changed_files(source, before) == [name]
    before = source.stamps
    list_pets(pets, [*range(N_PETS), 4])
    assert changed_files(source, before) == ["all other files"]


def test_files_that_no_list_names_have_a_stamp_and_checksums(tmp_path: Path, encode: Encode, painted: Paint) -> None:
    folder = tmp_path / "caltech101/101_ObjectCategories"
    for category in ("BACKGROUND_Google", "ant"):
        (folder / category).mkdir(parents=True)
    for place in range(N_PETS):
        (folder / "ant" / f"image_{place + 1:04d}.jpg").write_bytes(encode(painted(shift=place)))
    source = opened("Caltech101", tmp_path)
    before, sums = source.stamps, checksums(source, range(N_PETS))
    (tmp_path / "run").mkdir()
    (tmp_path / "run/run.json").write_text("{}")
    assert changed_files(source, before) == []  # beside the set's own folder
    (folder / "ant/image_0003.jpg").write_bytes(encode(painted(shift=200)))
    now = opened("Caltech101", tmp_path)
    (changed,) = changed_files(now, before)
    new_sums = checksums(now, now.images_of_file(changed))
    assert [image for image, checksum in new_sums.items() if checksum != sums[image]] == [2]


def test_where_labels_come_from_is_said(mnist: Path, country: Path) -> None:
    assert opened("MNIST", mnist).labels == "targets of torchvision:MNIST, 10 classes named"
    assert opened("Country211", country, part="test").labels == "targets of torchvision:Country211, 2 classes named"


def test_parts_by_a_split_word(country: Path, painted: Paint) -> None:
    test = pictures(opened("Country211", country, part="test"))
    assert [(p.path, p.label, p.label_name) for p in test] == [
        ("country211/test/AD/1.png", 0, "AD"),
        ("country211/test/ZW/1.png", 1, "ZW"),
    ]
    np.testing.assert_array_equal(test[1].pixels, painted(shift=41))
    assert [p.path.split("/")[1] for p in pictures(opened("Country211", country))] == ["train"] * 2 + ["test"] * 2


def test_classes_of_folders_are_numbered_over_all_parts(country: Path) -> None:
    (country / "country211/train/BE").mkdir()
    (country / "country211/train/AD/1.png").rename(country / "country211/train/BE/1.png")
    (country / "country211/train/AD").rmdir()
    source = opened("Country211", country)
    assert [(p.path.split("/", 1)[1], p.label, p.label_name) for p in pictures(source)] == [
        ("train/BE/1.png", 1, "BE"),
        ("train/ZW/1.png", 2, "ZW"),
        ("test/AD/1.png", 0, "AD"),
        ("test/ZW/1.png", 2, "ZW"),
    ]
    assert source.labels == "targets of torchvision:Country211, 3 classes named"
    assert [p.label for p in pictures(opened("Country211", country, part="train"))] == [0, 1]


def test_classes_of_one_name_are_told_apart_by_their_ids(tmp_path: Path, encode: Encode) -> None:
    """ImageNet has two cranes: a bird and a machine. Here the folder of the bird's test images is missing."""
    bird, machine = "n02012849", "n03126707"
    for folder in (f"train/{bird}", f"train/{machine}", f"val/{machine}"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "1.JPEG").write_bytes(encode())
    torch.save(({bird: ("crane",), machine: ("crane",)}, [machine]), tmp_path / "meta.bin")
    found = [(p.path.split("/")[1], p.label, p.label_name) for p in pictures(opened("ImageNet", tmp_path))]
    assert found == [(bird, 0, "crane"), (machine, 1, "crane"), (machine, 1, "crane")]


def test_parts_of_lists_that_differ_in_classes_are_refused(pets: Path) -> None:
    (pets / "oxford-iiit-pet/annotations/test.txt").write_text(f"{pet(0)} 1 1 1\n")
    message = r'OxfordIIITPet have other classes: 1 is "Cat" in train and no class in test; .* set `part` to "train"'
    with pytest.raises(ImagesError, match=message):
        opened("OxfordIIITPet", pets)
    assert len(opened("OxfordIIITPet", pets, part="test")) == 1


def test_a_missing_part_is_not_replaced_by_another(country: Path) -> None:
    """Where `test` is a part of the set but its files are missing, `valid` must not step in."""
    for file in (country / "country211" / "test").rglob("*.png"):
        file.unlink()
    with pytest.raises(ImagesError, match=r"torchvision:Country211 \(test\) can't be opened"):
        opened("Country211", country, part="test")


def test_a_validation_part_is_the_test_part_where_there_is_no_other(tmp_path: Path, encode: Encode) -> None:
    """ImageNet's parts are train and val."""

    for split in ("train", "val"):
        (tmp_path / split / "n01440764").mkdir(parents=True)
        (tmp_path / split / "n01440764" / f"{split}.JPEG").write_bytes(encode())
    torch.save(({"n01440764": ("tench", "Tinca tinca")}, ["n01440764"]), tmp_path / "meta.bin")
    (picture,) = pictures(opened("ImageNet", tmp_path, part="test"))
    assert (picture.path, picture.label, picture.label_name) == ("val/n01440764/val.JPEG", 0, "tench, Tinca tinca")


def test_an_image_folder_is_decoded_like_a_folder(tmp_path: Path, encode: Encode) -> None:
    for name, content in {"a/1.png": encode(kind="PNG"), "b/cut.jpg": encode()[:200], "b/empty.jpg": b""}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    found = entries(opened("ImageFolder", tmp_path))
    assert [e.path for e in found] == ["a/1.png", "b/cut.jpg", "b/empty.jpg"]
    assert isinstance(found[0], Picture)
    assert (found[0].label, found[0].label_name) == (0, "a")
    assert isinstance(found[1], Reject)
    assert found[1].reason.startswith(("truncated: ", "corrupt: ", "not an image"))
    assert found[2] == Reject(2, "b/empty.jpg", "empty: no bytes")
    huge = opened("ImageFolder", tmp_path, max_pixels=10)
    (entry,) = huge.read([0])
    assert isinstance(entry, Reject)
    assert entry.reason == "huge: 36x24 is 864 pixels, allowed are 10"


def test_a_set_whose_own_code_opens_files_gives_no_half_pictures(
    tmp_path: Path, encode: Encode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even where Pillow was told to accept damaged files."""
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    home, content = tmp_path / "dtd" / "dtd", encode(kind="BMP")
    for name, kept in (("a", len(content)), ("b", len(content) // 2)):
        (home / "images" / name).mkdir(parents=True)
        (home / "images" / name / "1.bmp").write_bytes(content[:kept])
    (home / "labels").mkdir()
    for part in ("train", "val", "test"):
        (home / "labels" / f"{part}1.txt").write_text("a/1.bmp\nb/1.bmp\n" if part == "test" else "")
    whole, half = entries(opened("DTD", tmp_path, part="test"))
    assert isinstance(whole, Picture)
    assert isinstance(half, Reject)
    assert half.reason.startswith("truncated: ")


def test_digest_of_files_outlives_a_renamed_root(tmp_path: Path, encode: Encode) -> None:
    (tmp_path / "one/a").mkdir(parents=True)
    (tmp_path / "one/a/1.png").write_bytes(encode(kind="PNG"))
    digest = opened("ImageFolder", tmp_path / "one").digest
    (tmp_path / "one").rename(tmp_path / "two")
    assert opened("ImageFolder", tmp_path / "two").digest == digest
    (tmp_path / "two/a/1.png").write_bytes(encode(kind="PNG") + b" ")
    assert opened("ImageFolder", tmp_path / "two").digest != digest


def test_a_set_without_a_folder() -> None:
    source = opened("FakeData", None, limit=3)
    found = pictures(source)
    assert [p.path for p in found] == ["all#0", "all#333", "all#666"]
    assert found[0].pixels.shape == (224, 224, 3)
    assert all(isinstance(p.label, int) and 0 <= p.label < 10 for p in found)
    assert opened("FakeData", None, limit=3).digest == source.digest
    assert opened("FakeData", None, limit=2).digest != source.digest


def test_survives_pickling(mnist: Path) -> None:
    source = opened("MNIST", mnist, part="test")
    again = pickle.loads(pickle.dumps(source))
    assert len(pickle.dumps(source)) < 1000
    assert again.digest == source.digest
    np.testing.assert_array_equal(pictures(again)[3].pixels, pictures(source)[3].pixels)


@pytest.mark.parametrize(("name", "near"), [("cifar10", "CIFAR10"), ("CIFAR-10", "CIFAR10"), ("Foods101", "Food101")])
def test_an_unknown_name_is_answered_with_the_nearest(name: str, near: str) -> None:
    with pytest.raises(ImagesError, match=rf'torchvision has no dataset "{name}"; nearest: .*\b{near}\b'):
        opened(name, Path("data"))


def test_an_unknown_name_that_is_near_nothing() -> None:
    with pytest.raises(ImagesError, match='torchvision has no dataset "qqqq"; nearest: none'):
        opened("qqqq", None)


@pytest.mark.parametrize("name", ["CIFAR10", "SVHN", "Flowers102", "SBU", "STL10"])
def test_missing_files_are_never_downloaded_and_the_way_is_told(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("something was downloaded")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    monkeypatch.setattr("urllib.request.urlretrieve", refuse)
    with pytest.raises(ImagesError) as caught:
        opened(name, tmp_path / "none")
    text = str(caught.value)
    assert re.search(rf"torchvision:{name} \(\w+\) can't be opened in", text)
    assert "It is never downloaded here; to get it: python -c" in text
    assert "something was downloaded" not in text


def test_a_root_is_needed() -> None:
    with pytest.raises(ImagesError, match=r"torchvision:CIFAR10 needs the folder of its files, .* Set `root` to"):
        opened("CIFAR10", None)


@pytest.mark.parametrize("part", ["all", "train", "test"])
def test_a_split_that_is_no_part(part: str) -> None:
    message = r"torchvision:EMNIST needs more than a folder: its `split` \(byclass, .*, mnist\) is no part .* Save its"
    with pytest.raises(ImagesError, match=message):
        opened("EMNIST", Path("data"), part=part)


@pytest.mark.parametrize("name", ["VisionDataset", "wrap_dataset_for_transforms_v2"])
def test_what_torchvision_offers_beside_data_sets(name: str) -> None:
    with pytest.raises(ImagesError, match=f'torchvision has no dataset "{name}"'):
        opened(name, Path("data"))


def test_a_set_that_needs_more_than_a_folder() -> None:
    with pytest.raises(ImagesError, match=r"torchvision:CocoDetection needs more than a folder \(annFile\)"):
        opened("CocoDetection", Path("data"))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("MNIST", {"part": "val"}, 'torchvision:MNIST has no part "val"; allowed: all, train, test'),
        ("ImageFolder", {"part": "train"}, 'torchvision:ImageFolder has no part "train"; allowed: all'),
        ("MNIST", {"label_column": "x"}, '`label_column` = "x" has no effect on torchvision:MNIST'),
        ("FakeData", {}, '`root` = "data" has no effect on torchvision:FakeData'),
    ],
)
def test_options_that_do_not_fit(name: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(ImagesError, match=message):
        opened(name, Path("data"), **options)
