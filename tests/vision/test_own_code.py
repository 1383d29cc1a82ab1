"""The user's own code: every form of its name, every way in which it fails, and the hash of its sources."""

from __future__ import annotations

import shutil
import subprocess
import sys
from types import ModuleType

import pytest
import torch
from places import REPOSITORY
from torch import nn

from polyscan.errors import ModelError
from polyscan.vision.networks import NetworkRequest, load_network
from polyscan.vision.own_code import own_result
from polyscan.vision.own_sources import own_code_digest

CPU = torch.device("cpu")
CODE = """
import sys
from functools import partial
from torch import nn
from own_parts import block

def build(): return nn.Sequential(block(), nn.Flatten())
def sized(num_classes=3, *, width=4): return nn.Sequential(nn.Conv2d(3, width, 3), nn.Conv2d(width, num_classes, 3))
network = build()
ready = partial(sized, width=2)
class Net(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.body = nn.Conv2d(3, width, 3)
    def forward(self, x): return self.body(x)
class Zoo:
    @staticmethod
    def build(): return build()
def raises():
    open("checkpoints/best.pth")
def ends(): sys.exit("usage: train.py DATA")
def quits(): raise SystemExit
def silent(): raise ValueError
def number(): return 3
def nothing(): pass
def no_such_argument(): return nn.Conv2d(3, 4, 3, kernel=2)
constant = 7
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    (tmp_path / "own_net.py").write_text(CODE)
    (tmp_path / "own_parts.py").write_text("from torch import nn\ndef block(): return nn.Conv2d(3, 4, 3)\n")
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def load(name, folder, **more):
    return load_network(NetworkRequest(name, folder=str(folder), input_px=8, **more), CPU)


@pytest.mark.parametrize(
    "name",
    [
        "own_net:build", "own_net.py:build", "./own_net.py:build", "./own_net:build", "own_net:network",
        "own_net:Zoo.build", "own_net:ready",
    ],
)  # fmt: skip
def test_forms_of_a_name(name, folder):
    network = load(name, folder)
    assert isinstance(network.module[0], nn.Conv2d)
    assert network.weights_taken == f"as {name} gives them"
    assert not network.is_untrained


def test_an_absolute_path_and_a_name_that_is_no_identifier(folder):
    shutil.copy(folder / "own_net.py", folder / "my-net.v2.py")
    assert load(f"{folder}/own_net.py:build", "").module
    assert load("my-net.v2.py:build", folder).module
    (folder / "sub").mkdir()
    (folder / "sub" / "deep.py").write_text("from torch import nn\ndef build(): return nn.Conv2d(3, 2, 3)\n")
    assert load("sub/deep.py:build", folder).module.out_channels == load("sub.deep:build", folder).module.out_channels


def test_a_file_in_a_package_may_import_its_neighbours(folder):
    (folder / "models").mkdir()
    (folder / "models" / "__init__.py").write_text("")
    (folder / "models" / "parts.py").write_text("from own_parts import block\n")
    (folder / "models" / "net.py").write_text("from .parts import block\ndef build(): return block()\n")
    for name in ("models/net.py:build", "models.net:build", f"{folder}/models/net.py:build"):
        assert load(name, folder).module.out_channels == 4
    (folder / "__init__.py").write_text("")  # the job's folder is no package: its code is imported by plain names
    assert load("own_net.py:build", folder).module
    digest = own_code_digest("models/net.py:build", str(folder))
    (folder / "own_parts.py").write_text("from torch import nn\ndef block(): return nn.Conv2d(3, 8, 3)\n")
    assert own_code_digest("models/net.py:build", str(folder)) != digest
    assert load("models/net.py:build", folder).module.out_channels == 8


def test_a_linked_file_is_imported_once(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "real.py"
    elsewhere.write_text(
        "from torch import nn\nclass Net(nn.Conv2d):\n    def __init__(self): super().__init__(3, 4, 3)\n"
    )
    (folder / "linked.py").symlink_to(elsewhere)
    first, second = (type(load("linked:Net", folder).module) for _ in range(2))
    assert first is second


def test_options_are_arguments(folder):
    network = load("own_net:sized", folder, options={"num_classes": 17, "width": 5})
    assert network.module[1].weight.shape[:2] == (17, 5)
    assert load("own_net:Net", folder, options={"width": 6}).module.body.out_channels == 6


def test_a_module_object_is_copied(folder):
    first, second = (load("own_net:network", folder).module for _ in range(2))
    assert first is not second
    with torch.no_grad():
        first[0].weight.zero_()
    assert second[0].weight.any()


MISTAKES = {
    "own_net:raises": r'"own_net:raises" failed with FileNotFoundError: .*best\.pth.*\(own_net\.py, line 20\)',
    "own_net:ends": r"failed with SystemExit: usage: train\.py DATA \(own_net\.py, line 21\)",
    "own_net:quits": r"failed with SystemExit \(own_net\.py, line 22\)",
    "own_net:silent": r"failed with ValueError \(own_net\.py, line 23\)",
    "own_net:number": r"gave a int; it must give a torch\.nn\.Module",
    "own_net:nothing": r"gave a NoneType; it must give a torch\.nn\.Module",
    "own_net:no_such_argument": r"failed with TypeError: .*'kernel' \(own_net\.py, line 26\)",
    "own_net:constant": r"`constant` is of type int, neither a function nor a torch\.nn\.Module",
    "own_net:Net": r"needs `width`, without a default; .*network\.options = \{width = \.\.\.\}",
    "own_net:biuld": r"own_net\.py has no function `biuld`; nearest: build",
    "own_net:": r"own_net\.py has no function ``; there are: ",
    "own_nte:build": r"no module named `own_nte`; looked in .*; nearest: own_net",
    "./own_nte.py:build": r"no Python file at .*own_nte\.py; write module:function or path/to/file\.py:function",
    "torchvison:resnet18": r"did you mean torchvision:resnet18\?",
    "own_net.py": r"name the function, too, as in own_net\.py:build",
    "resnet18": r"Did you mean torchvision:resnet18\?",
    "torchvision:": r"write torchvision:NAME",
    "syntax:build": r"importing syntax failed with SyntaxError: .*\(syntax\.py, line 2\)",
    "at_import:build": r"importing at_import failed with RuntimeError: no GPU \(at_import\.py, line 1\)",
    "ends_at_import:build": r"importing ends_at_import failed with SystemExit: 3",
    "needs:build": r"needs imports `not_installed_anywhere`, which is not installed here \(needs\.py, line 1\)",
    "part:build": r"importing part failed with ImportError: cannot import name 'nothing'.*\(part\.py, line 1\)",
    "latin:build": r"importing latin failed with SyntaxError",
    "json.py:build": r"json\.py has the name of the module `json` of Python or of an installed package; rename it",
    "numpy:build": r"numpy\.py has the name of the module `numpy`",
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told_in_a_line(name, folder):
    (folder / "syntax.py").write_text("def build():\n    return (\n")
    (folder / "at_import.py").write_text('raise RuntimeError("no GPU\\nat all")\n')
    (folder / "ends_at_import.py").write_text("import sys\nsys.exit(3)\n")
    (folder / "needs.py").write_text("import not_installed_anywhere\n")
    (folder / "part.py").write_text("from own_parts import nothing\n")
    (folder / "latin.py").write_bytes("name = 'caf\u00e9'\n".encode("latin-1"))
    for shadow in ("json", "numpy"):
        (folder / f"{shadow}.py").write_text("def build(): pass\n")
    with pytest.raises(ModelError, match=MISTAKES[name]) as refused:
        load(name, folder)
    assert "\n" not in str(refused.value)


def test_options_that_the_function_does_not_take(folder):
    with pytest.raises(ModelError, match=r"no argument `classes`, which `network\.options` sets; nearest: num_classes"):
        load("own_net:sized", folder, options={"classes": 3})
    with pytest.raises(ModelError, match="it takes no arguments"):
        load("own_net:build", folder, options={"classes": 3})
    with pytest.raises(ModelError, match=r"takes no `network\.options`"):
        load("own_net:network", folder, options={"classes": 3})
    with pytest.raises(ModelError, match="give it a default, or name a function without arguments"):
        own_result("own_net:Net", str(folder))


def test_an_interrupt_is_no_error_of_theirs(folder):
    (folder / "slow.py").write_text("def build(): raise KeyboardInterrupt\n")
    with pytest.raises(KeyboardInterrupt):
        load("slow:build", folder)


def test_changed_code_is_imported_again(folder):
    assert load("own_net:build", folder).module[0].out_channels == 4
    (folder / "own_parts.py").write_text("from torch import nn\ndef block(): return nn.Conv2d(3, 9, 3)\n")
    assert load("own_net:build", folder).module[0].out_channels == 9


def test_namesakes_in_two_folders_bring_their_own_parts(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    shutil.copy(folder / "own_net.py", other)
    (other / "own_parts.py").write_text("from torch import nn\ndef block(): return nn.Conv2d(3, 6, 3)\n")
    widths = [load("own_net:build", place).module[0].out_channels for place in (folder, other, folder)]
    assert widths == [4, 6, 4]


def package(folder):
    """A module whose imports take every form."""
    (folder / "main.py").write_text(
        "import os, torch\nimport pack.deep.plain\nfrom pack import thing, side\nfrom own_parts import block\n"
        "def build():\n    from late import x\n    return block()\n"
    )
    (folder / "pack" / "deep").mkdir(parents=True)
    files = {
        "pack/__init__.py": "from .inner import thing\n",
        "pack/inner.py": "from . import side\nthing = 1\n",
        "pack/side.py": "from .deep import far\n",
        "pack/deep/__init__.py": "",
        "pack/deep/plain.py": "from ..above import y\n",
        "pack/deep/far.py": "",
        "pack/above.py": "y = 1\n",
        "late.py": "x = 1\n",
        "unused.py": "z = 1\n",
    }
    for name, source in files.items():
        (folder / name).write_text(source)
    return [name for name in files if name != "unused.py"] + ["main.py", "own_parts.py"]


def test_the_digest_covers_all_that_is_imported_from_the_folder(folder):
    used = package(folder)
    first = own_code_digest("main:build", str(folder))
    assert len(first) == 64
    assert own_code_digest("main:other", str(folder)) == first == own_code_digest("main.py:build", str(folder))
    (folder / "unused.py").write_text("z = 2\n")
    assert own_code_digest("main:build", str(folder)) == first
    for name in used:
        before = (folder / name).read_text()
        (folder / name).write_text(before + "# changed\n")
        assert own_code_digest("main:build", str(folder)) != first, name
        (folder / name).write_text(before)
    assert own_code_digest("main:build", str(folder)) == first


def test_the_digest_depends_on_sources_alone(folder, tmp_path_factory):
    """Neither on what else is imported, nor on the process, nor on where the folder is."""
    package(folder)
    first = own_code_digest("main:build", str(folder))
    load("own_net:build", folder)
    assert own_code_digest("main:build", str(folder)) == first
    moved = tmp_path_factory.mktemp("moved") / "job"
    shutil.copytree(folder, moved, ignore=shutil.ignore_patterns("__pycache__"))
    code = "import sys; from polyscan.vision.own_sources import own_code_digest; print(own_code_digest(*sys.argv[1:]))"
    command = [sys.executable, "-c", code, "main:build", str(moved)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert done.stdout.strip() == first


def test_modules_that_are_imported_by_computed_names_are_covered(folder):
    (folder / "registry.py").write_text("import importlib\nimportlib.import_module('own_' + 'parts')\n")
    first = own_code_digest("registry:build", str(folder))
    (folder / "own_parts.py").write_text("changed = 1\n")
    assert own_code_digest("registry:build", str(folder)) != first


def test_code_without_a_file_has_no_digest(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "__main__", ModuleType("__main__"))  # as in a notebook
    assert own_code_digest("__main__:build", "") == ""
    assert own_code_digest("not_there.anywhere:build", "") == ""


def test_code_on_the_python_path_is_covered(folder, monkeypatch):
    monkeypatch.syspath_prepend(str(folder))
    first = own_code_digest("own_net:build", "")
    assert len(first) == 64
    (folder / "own_parts.py").write_text("changed = 1\n")
    assert own_code_digest("own_net:build", "") != first


def test_names_that_are_not_own_code_have_no_digest(folder):
    for name in ("torchvision:resnet18", "timm:resnet18", "open_clip:ViT-B-32/openai", "penultimate"):
        assert own_code_digest(name, str(folder)) == ""
