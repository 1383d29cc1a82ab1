"""The state of data sets that keep their list in any form."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from polyscan.images import ImageOptions
from polyscan.images.options import list_digest
from polyscan.images.torchvision_content import listed_files, stamp_of_others, state

N = 200


class Listed:
    """A data set that its own code reads: every image is the same, and only `entries` differ."""

    def __init__(self, entries: Any, root: str = "data") -> None:
        self.root = root
        self.entries = entries

    def __len__(self) -> int:
        return N

    def __getitem__(self, place: int) -> tuple[Image.Image, int]:
        return Image.new("RGB", (2, 2)), 0


def digest(entries: Any, root: str = "data") -> str:
    return list_digest(state(Listed(entries, root), ImageOptions(root=root)))


FORMS: dict[str, Callable[[list[int]], Any]] = {
    "numbers": list,
    "text": lambda numbers: tuple(map(str, numbers)),
    "bytes in an array": lambda numbers: np.array([b"%d" % n for n in numbers]),
    "pairs": lambda numbers: [("a", n) for n in numbers],
    "paths": lambda numbers: [Path(f"data/{n}.jpg") for n in numbers],
    "dictionaries": lambda numbers: [{"path": f"{n}.jpg", "boxes": torch.tensor([n])} for n in numbers],
    "an array": np.array,
    "an array of objects": lambda numbers: np.array([f"{n}" * 30 for n in numbers], dtype=object),
    "numbers of numpy": lambda numbers: [np.int64(n) for n in numbers],
    "a tensor": torch.tensor,
    "a table": lambda numbers: torch.tensor([[n, 1] for n in numbers]),
    "floats": lambda numbers: [float("nan"), *(n / 2 for n in numbers[1:])],
}


@pytest.mark.parametrize("form", FORMS)
def test_a_list_of_any_form_counts_in_its_order(form: str) -> None:
    numbers = list(range(N))
    exchanged = [*numbers[:4], 5, 4, *numbers[6:]]
    assert digest(FORMS[form](numbers)) == digest(FORMS[form](numbers))
    assert digest(FORMS[form](numbers)) != digest(FORMS[form](exchanged))


@pytest.mark.parametrize("as_path", [str, Path])
def test_paths_count_from_the_root(as_path: Callable[[str], object]) -> None:
    digests = {
        digest([as_path(f"{root}/a/{n}.jpg") for n in range(N)], root) for root in ("data", "./data", "/x/y", "/x/z/")
    }
    assert len(digests) == 1


def test_names_of_classes_count() -> None:
    digests: set[str] = set()
    for names in (["cat", "dog"], ["dog", "cat"], [("cat", "tabby"), ("dog",)]):
        dataset = Listed(list(range(N)))
        dataset.classes = names  # type: ignore[attr-defined]
        digests.add(list_digest(state(dataset, ImageOptions())))
    assert len(digests) == 3


def test_files_are_listed_alone_or_with_a_label(tmp_path: Path) -> None:
    path = tmp_path / "1.jpg"
    path.touch()
    assert listed_files(Listed([path] * N)) == [str(path)] * N
    assert listed_files(Listed([(str(path), 1)] * N)) == [str(path)] * N
    assert listed_files(Listed(["no file"] * N)) == []


def test_other_files_have_one_stamp(tmp_path: Path) -> None:
    for name in ("1.jpg", "list.txt", "deep/2.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"a")
    listed = [str(tmp_path / "1.jpg")]
    stamps = [stamp_of_others([str(tmp_path)], listed)]
    (tmp_path / "1.jpg").write_bytes(b"bb")
    assert stamp_of_others([str(tmp_path), f"{tmp_path}/"], listed) == stamps[0]
    for name in ("list.txt", "deep/2.jpg", "new.png"):
        (tmp_path / name).write_bytes(b"ccc")
        stamps.append(stamp_of_others([str(tmp_path)], listed))
    assert len(set(stamps)) == 4
