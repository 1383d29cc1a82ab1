"""A pickle runs code when it is read: none ever is, neither of a run nor of weights."""

from __future__ import annotations

import argparse
import os
import pickle
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from toy import Toy

from polyscan.results import Results

# Python itself tells of every class that a pickle asks for, before it is made.
HOOK = """
import sys
found = []
sys.addaudithook(lambda event, args: found.append(args) if event == "pickle.find_class" else None)
"""
READ = """
from fuzz import damage
for name, reader in damage.READERS.items():
    reader(sys.argv[1])
"""
LOAD = """
from pathlib import Path
from toy import Toy
from polyscan.errors import ModelError
from polyscan.vision.weights_files import load_weights_file
for path in sorted(Path(sys.argv[1]).glob("sound*.*")):
    load_weights_file(Toy(), path, "toy")
for path in sorted(Path(sys.argv[1]).glob("evil*")):
    try:
        load_weights_file(Toy(), path, "toy")
    except ModelError as error:
        assert str(path) in str(error), error
    else:
        raise SystemExit(f"{path} was taken for weights")
"""
IMAGES = """
from polyscan.images import ImageOptions, Picture, open_images
for options in (ImageOptions(), ImageOptions(value_range="image"), ImageOptions(value_range=(0.0, 1.0))):
    entries = list(open_images(sys.argv[1], options=options).read(range(3)))
    assert [isinstance(entry, Picture) for entry in entries] == [True, False, False], entries
"""
ASKED = "assert not found, found\nprint('none')\n"


def run_with_hook(code: str, argument: str) -> tuple[str, str]:
    paths = os.pathsep.join(str(Path(__file__).parents[up]) for up in (1, 2))
    done = subprocess.run(
        [sys.executable, "-c", HOOK + code, argument],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": paths},
    )
    return done.stdout, done.stderr


class Bomb:
    """Its pickle makes a file when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, int]]:
        return os.open, (str(self.path), os.O_CREAT | os.O_WRONLY)


class Called:
    """Its pickle calls a function with these arguments, and then sets a state."""

    def __init__(self, *call: object) -> None:
        self.call = call

    def __reduce__(self) -> tuple[object, ...]:
        return tuple(self.call)


def bombs(mark: Path) -> dict[str, object]:
    """Pickles that would make a file by way of the classes that are allowed in weights files."""
    return {
        "in_namespace": argparse.Namespace(inner=Bomb(mark)),
        "in_order": OrderedDict(inner=Bomb(mark)),
        "in_object_array": np.array([Bomb(mark)], dtype=object),
        "built": Called(argparse.Namespace, (), {"lr": Bomb(mark)}),
        "scalar": Called(np.float64(0).__reduce__()[0], (np.dtype("O"), Bomb(mark))),
        "path": Called(type(Path()), (Bomb(mark),)),
        "getattr": Called(getattr, (argparse.Namespace, "__init__")),
    }


def test_reading_a_whole_run_reads_no_pickle(toy_results: Results) -> None:
    """Every table, the map, the vectors, the manifest, `status` and `--verify`."""
    stdout, stderr = run_with_hook(READ + ASKED, toy_results.run.address)
    assert stdout == "none\n", stderr


@pytest.mark.parametrize("legacy", [False, True])
def test_loading_weights_reads_no_pickle(legacy: bool, tmp_path: Path) -> None:
    """`.safetensors` and `.pth`, also of the oldest kind; a pickle that would run code is refused, and runs none."""
    state, mark = Toy().state_dict(), tmp_path / "mark"
    save_file(state, tmp_path / "sound.safetensors")
    as_zip = not legacy
    torch.save(state, tmp_path / "sound.pth", _use_new_zipfile_serialization=as_zip)
    beside = {"best": np.float64(0.9), "args": argparse.Namespace(lr=0.1), "out": Path("runs"), "order": OrderedDict()}
    torch.save({"model": state, **beside}, tmp_path / "sound_checkpoint.pth", _use_new_zipfile_serialization=as_zip)
    for name, bomb in bombs(mark).items():
        content = {"model": state, **beside, "more": bomb}
        torch.save(content, tmp_path / f"evil_{name}.ckpt", _use_new_zipfile_serialization=as_zip)
    torch.save({"state_dict": Bomb(mark)}, tmp_path / "evil.pth", _use_new_zipfile_serialization=as_zip)
    torch.save(Bomb(mark), tmp_path / "evil.pt", _use_new_zipfile_serialization=as_zip)
    (tmp_path / "evil.safetensors").write_bytes((tmp_path / "evil.pth").read_bytes())
    stdout, stderr = run_with_hook(LOAD + ASKED, str(tmp_path))
    assert stdout == "none\n", stderr
    assert not mark.exists()


def test_reading_images_reads_no_pickle(tmp_path: Path) -> None:
    """An array of objects is a pickle in a `.npy` file: refused, and none of it is run."""
    mark, folder = tmp_path / "mark", tmp_path / "images"
    folder.mkdir()
    np.save(folder / "1.npy", np.zeros((40, 40), np.uint8))
    np.save(folder / "2.npy", np.array([[Bomb(mark)]], dtype=object), allow_pickle=True)
    (folder / "3.npy").write_bytes(pickle.dumps(Bomb(mark)))
    stdout, stderr = run_with_hook(IMAGES + ASKED, str(folder))
    assert stdout == "none\n", stderr
    assert not mark.exists()


def test_the_hook_would_hear_of_a_pickle(tmp_path: Path) -> None:
    """The same weights, read by torch without its guard."""
    torch.save({"state_dict": Bomb(tmp_path / "mark")}, tmp_path / "evil.pth")
    code = "import torch\ntorch.load(sys.argv[1], weights_only=False)\n"
    stdout, stderr = run_with_hook(code + ASKED, str(tmp_path / "evil.pth"))
    assert not stdout
    assert "AssertionError" in stderr
    assert (tmp_path / "mark").exists()
