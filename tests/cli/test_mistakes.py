"""The mistakes of a first hour: each ends with status 2 and a few plain lines, and no traceback."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
import toy
from safetensors.torch import save_file
from torch import nn

from polyscan import cli

MOST_LINES = 4

CODE = """
import sys
from torch import nn
def build(): return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
class Needs(nn.Module):
    def __init__(self, width): super().__init__()
class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = build()
    def forward(self, x, meta): return self.body(x)
class Odd(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = build()
    def forward(self, x): raise KeyError("masks")
def raises(): raise FileNotFoundError("checkpoints/best.pth")
def ends(): sys.exit("usage")
def number(): return 3
def lazy(): return nn.Sequential(nn.LazyConv2d(8, 3), nn.Flatten(), nn.LazyLinear(5))
constant = 7
"""
TOML = """
[network]
name = "mynet:build"
{network}
[images]
source = "images"
[survey]
readouts = 0
[collect]
k = 8
[visualize]
enabled = false
[embed]
model = "penultimate"
[calibrate]
nulls = []
"""
INPUT = "input_px = 16\nchannels = 3\n"


@dataclass
class Mistake:
    """What is typed in a folder with `job.toml`, `mynet.py` and `images`, and the decisive words of the answer."""

    words: str
    says: tuple[str, ...]
    writes: dict[str, str | bytes | object] = field(default_factory=dict)


def set_(setting: str, *says: str, command: str = "scan job.toml --run run", **writes: object) -> Mistake:
    files = {name.replace("__", "."): content for name, content in writes.items()}
    return Mistake(f"{command} --set {setting}", says, files)


def weights(name: str, content: object, *says: str) -> Mistake:
    return Mistake(f"scan job.toml --run run --set network.weights={name}", says, {name: content})


STATE = {
    "0.weight": torch.zeros(4, 3, 3, 3),
    "0.bias": torch.zeros(4),
    "4.weight": torch.zeros(3, 4),
    "4.bias": torch.zeros(3),
}
FINE = {**STATE, "4.weight": torch.zeros(9, 4), "4.bias": torch.zeros(9)}
MISTAKES = {
    "no --run": Mistake("scan job.toml", ("`--run` is missing",)),
    "no job file": Mistake("scan jbo.toml --run run", ("no job file at jbo.toml", "digits")),
    "a job that is not TOML": Mistake("scan bad.toml --run run", ("bad.toml is not TOML",), {"bad.toml": "[network\n"}),
    "a job in Latin-1": Mistake(
        "scan bad.toml --run run", ("is not TOML: byte 10 is not UTF-8",), {"bad.toml": b"[network]#\xe9\n"}
    ),
    "an empty job": Mistake("scan bad.toml --run run", ("`network` is missing", "`images` is"), {"bad.toml": ""}),
    "a folder as a job": Mistake("scan images --run run", ("no job file at images", "give an existing .toml file")),
    "a network without images": Mistake("scan --network mynet:build --run run", ("`images` is missing",)),
    "a typo in a key": set_("collect.kk=9", 'unknown key `collect.kk`; did you mean "k"?'),
    "a typo in a group": set_("colect.k=9", 'unknown key `colect`; did you mean "collect"?'),
    "text for a number": set_("collect.k=abc", "`collect.k`", "valid integer", "'abc'"),
    "no value": set_("collect.k", '--set "collect.k" is not key=value'),
    "a setting of a setting": set_("collect.k.x=3", "collect.k"),
    "more exemplars than images": set_("collect.k=61", "has 60 images, `collect.k` is 61"),
    "a layer that is not there": set_("network.layers=layer4", 'has no layer "layer4"'),
    "no images": set_("images.source=empty", "no images", **{"empty/__gitkeep": ""}),
    "no such folder": set_("images.source=imagse", "imagse"),
    "a run folder below a file": Mistake("scan job.toml --run mynet.py/run", ("can't be written", "another --run")),
    "a misspelled network": set_("network.name=torchvision:resnet", "torchvision has no model", "nearest: resnet"),
    "a network without a library": set_("network.name=resnet18", "Did you mean torchvision:resnet18?"),
    "a misspelled library": set_("network.name=torchvison:resnet18", "did you mean torchvision:resnet18?"),
    "a misspelled timm name": set_("network.name=timm:resnet51", "timm has no model", "nearest: resnet5"),
    "weights that timm lacks": set_("network={name='timm:resnet18',weights='imagenet'}", 'no weights "imagenet"'),
    "weights that torchvision lacks": set_(
        "network={name='torchvision:resnet18',weights='V3'}", 'no weights "V3"; it has: IMAGENET1K_V1'
    ),
    "an option that torchvision lacks": set_(
        "network={name='torchvision:resnet18',weights='random',options={classes=3}}", "has no option `classes`"
    ),
    "a misspelled module": set_("network.name=mynte:build", "no module named `mynte`", "nearest: mynet"),
    "a misspelled function": set_("network.name=mynet:biuld", "has no function `biuld`; nearest: build"),
    "a path without a function": set_("network.name=mynet.py", "name the function, too, as in mynet.py:build"),
    "a path that is not there": set_("network.name=./src/mynet.py:build", "no Python file at", "src/mynet.py"),
    "something that is no function": set_("network.name=mynet:constant", "`constant` is of type int"),
    "something that is no network": set_("network.name=mynet:number", "gave a int; it must give a torch.nn.Module"),
    "a class that needs arguments": set_("network.name=mynet:Needs", "needs `width`", "options = {width = ...}"),
    "a function that raises": set_("network.name=mynet:raises", "NotFoundError: checkpoints/best.pth (mynet.py, line"),
    "a function that ends": set_("network.name=mynet:ends", "failed with SystemExit: usage"),
    "a lazy network": set_("network.name=mynet:lazy", "LazyConv2d", "call the network once"),
    "a forward of two arguments": set_("network.name=mynet:Two", "needs 2 arguments (x, meta)"),
    "a forward that raises": set_("network.name=mynet:Odd", "KeyError: 'masks' (mynet.py, line"),
    "an error of syntax": set_("network.name=syn:build", "SyntaxError", "syn.py, line 1", syn__py="def build(:\n"),
    "a package that is missing": set_(
        "network.name=imp:build", "imports `einopz`, which is not installed", syn__py="", imp__py="import einopz\n"
    ),
    "grey images for a colour network": set_("network.channels=1", "set network.channels = 3"),
    "no input size": Mistake("scan job.toml --run run", ("set `input_px`",), {"job.toml": TOML.format(network="")}),
    "an option that the function lacks": set_("network.options.width=3", "no argument `width`", "takes no arguments"),
    "weights that are not there": set_("network.weights=best.pth", "no weights file at", "best.pth"),
    "weights by a library's name": set_("network.weights=DEFAULT", 'weights "DEFAULT" of mynet:build must be'),
    "a folder of weights": set_("network.weights=images", "are a folder"),
    "a web page": weights("w.pth", b"<!DOCTYPE html>", "web page"),
    "an empty file": weights("w.pth", b"", "the file is empty"),
    "a pointer of LFS": weights("w.safetensors", b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    "a whole network": weights("w.pth", nn.Sequential(nn.Conv2d(3, 4, 3)), "whole pickled network", "state_dict()"),
    "another architecture": weights("w.pth", {"conv1.weight": torch.zeros(2)}, "another architecture than mynet:build"),
    "another number of classes": weights("w.pth", {"model": FINE}, "9 classes, not 3", "{num_classes = 9}"),
    "two sets of weights": weights("w.pth", {"net": STATE, "ema": STATE}, '"ema"', '"net"', "network.weights_key"),
    "a key that is not there": Mistake(
        "scan job.toml --run run --set network.weights=w.pth --set network.weights_key=emma",
        ('no weights under `network.weights_key` "emma"', "ema"),
        {"w.pth": {"net": STATE, "ema": STATE}},
    ),
    "a key without a file": set_("network.weights_key=ema", "`network.weights` names no file"),
    "no vocabulary": set_("embed.vocabulary=words.txt", "words.txt can't be read (No such file"),
    "a vocabulary in Latin-1": set_("embed.vocabulary=w.txt", "line 2, is not UTF-8", w__txt=b"cat\ncaf\xe9\n"),
    "an empty vocabulary": set_("embed.vocabulary=w.txt", "holds no words", w__txt="\n\n"),
    "a folder as a vocabulary": set_("embed.vocabulary=images", "is a folder"),
    "a vocabulary without a text tower": set_("embed.vocabulary=w.txt", "has no text tower", w__txt="cat\n"),
    "a misspelled embedder": set_("embed.model=clip:ViT-B-32/openai", 'unknown embedder "clip:ViT-B-32/openai"'),
    "an embedder of own code that raises": set_("embed.model=mynet:raises", "FileNotFoundError: checkpoints/best.pth"),
    "a misspelled distance": set_("visualize={enabled=true,distance='lpips:alexnet'}", "lpips:alex|vgg|squeeze"),
    "a GPU that is not there": set_("device=cuda:9", "cuda:9"),
    "no memory for the input": set_(
        "network.input_px=2000000", "needs more memory than there is", "Lower network.input_px"
    ),
    "no memory for the input, in units": Mistake(
        "units job.toml --set network.input_px=2000000", ("needs more memory than there is",)
    ),
    "status of a file": Mistake("status job.toml", ("job.toml is a file and holds no run",)),
    "a figure of a file": Mistake("figure job.toml map --out map.pdf", ("job.toml is a file and holds no run",)),
    "a comparison of files": Mistake("compare job.toml mynet.py", ("job.toml", "no run")),
    "robustness of a file": Mistake("robustness job.toml", ("job.toml is a file and holds no run",)),
    "a port that is none": Mistake("show run --serve --port 99999999", ("no port; allowed are 1 to 65535",)),
    "a negative port": Mistake("show run --serve --port=-1", ("no port; allowed are 1 to 65535",)),
    "a run that is no run": Mistake("status images", ("holds no run",)),
    "units without anything": Mistake("units --network mynet:biuld", ("has no function `biuld`",)),
    "a plan of what is not there": Mistake("plan job.toml --set images.source=nowhere", ("nowhere",)),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that a user works in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "mynet.py").write_text(CODE)
    (tmp_path / "job.toml").write_text(TOML.format(network=INPUT))
    return tmp_path


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy.paint(tmp_path_factory.mktemp("mistakes") / "images")


def write(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, str):
        path.write_text(content)
    elif isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_answered_in_a_few_plain_lines(
    name: str, folder: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mistake = MISTAKES[name]
    (folder / "images").symlink_to(pictures)
    for file, content in mistake.writes.items():
        write(folder / file, content)
    monkeypatch.setattr(sys, "argv", ["polyscan", *mistake.words.split(" ")])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    out, err = capsys.readouterr()
    answer = [line for line in err.splitlines() if not line.startswith("running one worker")]
    assert stop.value.code == 2, out + err
    for says in mistake.says:
        assert says in err
    assert "Traceback" not in out + err
    assert len(answer) <= MOST_LINES
    assert not list(folder.glob("run/done"))  # nothing was computed before it was said


def test_the_table_would_notice_a_working_command(
    folder: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The folder of the mistakes without a mistake: every one of them is by its own words."""
    (folder / "images").symlink_to(pictures)
    save_file(STATE, folder / "w.safetensors")
    words = ["units", "job.toml", "--set", "network.weights=w.safetensors"]
    monkeypatch.setattr(sys, "argv", ["polyscan", *words])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 0
    assert "2 layers, 7 units" in capsys.readouterr().err
