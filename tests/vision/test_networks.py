"""Networks by name: what is loaded, what is refused, and that a weights file runs no code."""

from __future__ import annotations

import sys

import pytest
import torch
from places import REPOSITORY
from torch import nn

from polyscan.errors import ModelError
from polyscan.vision.devices import pick_device
from polyscan.vision.networks import Network, NetworkRequest, load_network
from polyscan.vision.preprocessing import Preprocessing
from polyscan.vision.readouts import Reader

CPU = torch.device("cpu")
CODE = """
import torch
from torch import nn

def tiny():
    return nn.Sequential(nn.Conv2d(3, {width}, 3), nn.BatchNorm2d({width}), nn.ReLU(), nn.Conv2d({width}, 2, 3))

def grey():
    return nn.Conv2d(1, 2, 3)

def number():
    return 3

constant = 7
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A job's folder with code in it; what it leaves in the interpreter is taken back."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "a_tiny_network.py").write_text(CODE.format(width=4))
    yield tmp_path
    sys.modules.pop("a_tiny_network", None)


def load(folder, weights="", name="a_tiny_network:tiny", **settings):
    return load_network(NetworkRequest(name, str(weights), str(folder), **({"input_px": 16} | settings)), CPU)


def test_a_callable_in_a_folder(folder):
    network = load(folder)
    assert isinstance(network.module[0], nn.Conv2d)
    assert network.name == "a_tiny_network:tiny"
    assert not network.module.training
    assert not any(parameter.requires_grad for parameter in network.module.parameters())
    assert network.preprocessing == Preprocessing(16, 16, (0.5,) * 3, (0.5,) * 3)


def test_weights_left_random_are_the_same_everywhere(folder):
    torch.manual_seed(1)
    first, before = load(folder).digest, torch.rand(1)
    torch.manual_seed(2)
    assert load(folder).digest == first
    torch.manual_seed(1)
    assert torch.equal(torch.rand(1), before)  # and the caller's own random numbers go on undisturbed


def test_a_namesake_in_another_folder_is_another_network(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    (other / "a_tiny_network.py").write_text(CODE.format(width=6))
    assert [load(place).module[0].out_channels for place in (folder, other, folder, other)] == [4, 6, 4, 6]


def test_names_that_are_none(folder):
    with pytest.raises(ModelError, match=r'torchvision has no model "resnet19"; nearest: .*resnet18'):
        load(folder, name="torchvision:resnet19")
    with pytest.raises(ModelError, match=r'timm has no model "resnet19"; nearest: .*resnet1'):
        load(folder, name="timm:resnet19")
    with pytest.raises(ModelError, match=r'resnet18 has no weights "V7"; it has: IMAGENET1K_V1'):
        load(folder, "V7", name="torchvision:resnet18")
    with pytest.raises(ModelError, match="write torchvision:NAME, timm:NAME or module:callable"):
        load(folder, name="resnet18")
    with pytest.raises(ModelError, match=f"no module named `not_there`; looked in {folder}"):
        load(folder, name="not_there:tiny")
    with pytest.raises(ModelError, match=r"a_tiny_network\.py has no function `huge`; there are: tiny, grey, number"):
        load(folder, name="a_tiny_network:huge")
    with pytest.raises(ModelError, match=r"`constant` is of type int, neither a function nor a torch\.nn\.Module"):
        load(folder, name="a_tiny_network:constant")
    with pytest.raises(ModelError, match=r"gave a int; it must give a torch\.nn\.Module"):
        load(folder, name="a_tiny_network:number")
    with pytest.raises(ModelError, match=r'weights "BEST" of .* must be a \.safetensors or \.pth file'):
        load(folder, "BEST")


def test_torchvision_weights_by_name(torch_home):
    named = load_network(NetworkRequest("torchvision:squeezenet1_1", "IMAGENET1K_V1"), CPU)
    assert named.preprocessing.resize_px == 256
    assert named.preprocessing.input_px == 224
    assert named.preprocessing.mean == (0.485, 0.456, 0.406)
    default = load_network(NetworkRequest("torchvision:squeezenet1_1", "DEFAULT"), CPU)
    assert default.digest == named.digest
    unnamed = load_network(NetworkRequest("torchvision:squeezenet1_1"), CPU)
    assert unnamed.digest == named.digest  # as one who names none expects
    assert unnamed.weights_taken == "torchvision's weights IMAGENET1K_V1"
    assert not unnamed.is_untrained
    assert default.digest != load_network(NetworkRequest("torchvision:squeezenet1_1", "random"), CPU).digest
    state = torch.load(torch_home / "hub/checkpoints/squeezenet1_1-b8a52dc0.pth", weights_only=True)
    torch.testing.assert_close(named.module.state_dict()["features.0.weight"], state["features.0.weight"])


def test_weights_that_can_not_be_fetched(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", _offline)
    with pytest.raises(
        ModelError, match=r"not on this machine and could not be fetched.*no route to host.*TORCH_HOME.*random"
    ):
        load_network(NetworkRequest("torchvision:squeezenet1_1", "IMAGENET1K_V1"), CPU)


def _offline(*_, **__):
    raise OSError("no route to host")


def test_preprocessing_is_the_networks_with_what_the_request_sets(folder):
    base = load(folder, "random", name="torchvision:resnet18", input_px=None).preprocessing
    assert base == Preprocessing(256, 224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "bilinear")
    small = load(folder, "random", name="torchvision:resnet18", input_px=112, mean=(0.1, 0.2, 0.3)).preprocessing
    assert small == Preprocessing(128, 112, (0.1, 0.2, 0.3), base.std)
    grey = load(folder, name="a_tiny_network:grey", channels=1, resize_px=20).preprocessing
    assert grey == Preprocessing(20, 16, (0.5,), (0.5,))
    assert load(folder, name="a_tiny_network:grey", mean=(0.3,), std=(0.2,)).preprocessing.channels == 1
    with pytest.raises(ModelError, match=r"the preprocessing of .* is not known; set `input_px`"):
        load(folder, input_px=None)
    with pytest.raises(ModelError, match="`mean` has 2 and `std` 3 numbers; `channels` is 3"):
        load(folder, channels=3, mean=(0.1, 0.2))


def test_input_that_is_not_square_and_has_many_channels(folder):
    own = load(folder, input_px=(16, 24), channels=8, mean=0.5, std=0.25).preprocessing
    assert own == Preprocessing((16, 24), (16, 24), (0.5,) * 8, (0.25,) * 8)
    assert load(folder, input_px=(16, 24), resize_px=20).preprocessing.resize_px == (20, 30)
    assert load(folder, input_px=(16, 24), resize_px=(18, 24)).preprocessing.resize_px == (18, 24)
    assert load(folder, std=(0.2,) * 5).preprocessing.channels == 5
    with pytest.raises(ModelError, match=r"`resize_px` 15 is smaller than `input_px` 16, .* Raise `resize_px`"):
        load(folder, resize_px=15)


def test_a_request_may_set_crop_mode_and_interpolation(folder):
    own = load(
        folder, "random", name="torchvision:resnet18", input_px=None, crop_mode="squash", interpolation="box"
    ).preprocessing
    assert (own.crop_mode, own.interpolation, own.resize_px) == ("squash", "box", 256)


def test_timms_own_preprocessing(folder):
    own = load(folder, "random", name="timm:mobilenetv3_small_050", input_px=None).preprocessing
    assert (own.resize_px, own.input_px, own.interpolation) == (256, 224, "bicubic")
    squashed = load(folder, "random", name="timm:convnext_tiny.fb_in22k_ft_in1k_384", input_px=None).preprocessing
    assert (squashed.resize_px, squashed.input_px, squashed.crop_mode) == (384, 384, "squash")


def test_the_digest_is_of_the_weights_alone():
    def network(module):
        return Network("toy", module, Preprocessing(8, 8, (0.5,), (0.5,)), CPU)

    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).eval()
    digest = network(module).digest
    assert len(digest) == 64
    assert network(module.to(memory_format=torch.channels_last)).digest == digest
    assert not module[0].weight.is_contiguous()
    with torch.no_grad():
        module[0].weight[3, 2, 1, 0] += 1e-6
    changed = network(module).digest
    assert changed != digest
    module[1].running_mean[0] += 1  # buffers count too
    assert network(module).digest != changed
    half = nn.Sequential(nn.Conv2d(3, 4, 3)).to(torch.bfloat16)
    assert network(half).digest != network(half.float()).digest


def test_devices():
    assert pick_device("cpu") == CPU
    assert pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(ModelError, match='unknown `device` "gpu"; allowed: auto, cpu, cuda'):
        pick_device("gpu")
    with pytest.raises(ModelError, match=r'"cuda:99", but this machine has \d+ CUDA GPUs; use "auto" or "cpu"'):
        pick_device("cuda:99")


def test_this_repositorys_own_networks():
    jobs = REPOSITORY / "jobs"
    path = jobs / "lenet5_digits.safetensors"
    if not path.exists():
        pytest.skip("no jobs/lenet5_digits.safetensors in this checkout")
    assert load(jobs, path, name="lenet5:digits", channels=1, input_px=32).digest


INPUTS = """
from torch import nn

class Two(nn.Module):
    def forward(self, x, meta): return x

class Split(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3), nn.Conv2d(2, 4, 3)
    def forward(self, x): return self.second(self.first(x))

def grey(): return nn.Conv2d(1, 4, 3)
def deep(): return nn.Conv3d(3, 4, (3, 3, 3))
def flat(): return nn.Sequential(nn.Flatten(), nn.Linear(7, 4))
"""


@pytest.mark.parametrize(
    ("name", "says"),
    [
        (
            "Two",
            r"its forward needs 2 arguments \(x, meta\): wrap it in a module whose forward takes a batch",
        ),
        ("grey", r"shape \(3, 16, 16\) .*set network\.channels = 1$"),
        ("Split", r"\(a_tiny_network\.py, line 11\)\); check `input_px` and `channels`"),
        ("deep", "it takes videos or volumes"),
        ("flat", r"check `input_px` and `channels` in \[network\]"),
    ],
)
def test_a_network_that_does_not_take_its_input_is_told(folder, capsys, name, says):
    (folder / "a_tiny_network.py").write_text(INPUTS)
    with pytest.raises(ModelError, match=says):
        Reader(load(folder, name=f"a_tiny_network:{name}"), "all")
    assert capsys.readouterr().err == ""


def test_three_dimensional_weights_are_no_obstacle(folder):
    (folder / "a_tiny_network.py").write_text(
        "from torch import nn\n\nclass Spare(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.used, self.spare = nn.Conv2d(3, 4, 3), nn.Conv3d(1, 1, 1)\n"
        "    def forward(self, x): return self.used(x)\n"
    )
    assert load(folder, name="a_tiny_network:Spare").digest


VIEWS = """
import torch.nn.functional as F
from torch import nn

class LeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(36, 5)
    def forward(self, x):
        x = F.max_pool2d(self.conv(x), 4)
        return self.fc(x.view(x.size(0), -1))

class Standardised(nn.Conv2d):
    def forward(self, x):
        w = self.weight
        return F.conv2d(x, w / w.view(w.size(0), -1).std(1)[:, None, None, None], self.bias)

def standardised(): return nn.Sequential(Standardised(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 1))
"""


@pytest.mark.parametrize("name", ["LeNet", "standardised"])
def test_networks_that_view_their_maps_as_rows_are_read(folder, name):
    """Such a view does not go with the order of memory in which convolutions are fast."""
    (folder / "a_tiny_network.py").write_text(VIEWS)
    network = load(folder, name=f"a_tiny_network:{name}")
    reader = Reader(network, "all")
    batch = network.preprocessing.normalised(torch.rand(3, 3, 16, 16))
    seen = {}
    reader.read(batch, lambda index, maps: seen.__setitem__(reader.points[index].layer, maps.clone()))
    last = "fc" if name == "LeNet" else "2"
    with torch.no_grad():
        torch.testing.assert_close(seen[last].flatten(1), network.module(batch).flatten(1))


def test_random_weights_replace_those_that_own_code_has_loaded(folder):
    (folder / "a_tiny_network.py").write_text(
        "import torch\nfrom torch import nn\n\ndef trained():\n    net = nn.Sequential(nn.Conv2d(3, 4, 3))\n"
        "    nn.init.constant_(net[0].weight, 7.0)\n    return net\n\nclass Own(nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n"
        "        self.kernel = nn.Parameter(torch.ones(2, 3, 3, 3))\n"
    )
    assert float(load(folder, name="a_tiny_network:trained").module[0].weight.min()) == 7
    network = load(folder, "random", name="a_tiny_network:trained")
    assert float(network.module[0].weight.abs().max()) < 1
    assert network.is_untrained
    with pytest.raises(ModelError, match="can't draw `kernel` of a_tiny_network:Own anew"):
        load(folder, "random", name="a_tiny_network:Own")
