"""Networks of torchvision and timm: default weights, random ones, options, and words for what is wrong."""

from __future__ import annotations

import socket

import pytest
import torch
import torchvision

from polyscan.errors import ModelError
from polyscan.vision import libraries
from polyscan.vision.libraries import of_timm, of_torchvision
from polyscan.vision.networks import NetworkRequest, load_network

CPU = torch.device("cpu")
TIMM, SMALL = "test_resnet", "squeezenet1_1"


@pytest.fixture
def asked(monkeypatch):
    """What timm was asked to build, without building or fetching pretrained weights."""
    import timm

    calls = []
    create = timm.create_model

    def create_model(name, pretrained=False, **options):
        calls.append((name, pretrained))
        return create(name, pretrained=False, **options)

    monkeypatch.setattr(timm, "create_model", create_model)
    monkeypatch.setattr(libraries, "_refuse_unreachable", lambda _: None)
    return calls


def test_no_weights_are_timms_default_ones(asked):
    import timm

    default = timm.models.get_pretrained_cfg(TIMM).tag
    for name, weights in ((TIMM, ""), (f"{TIMM}.{default}", ""), (TIMM, default), (f"{TIMM}.{default}", default)):
        built = of_timm(name, weights, {})
        assert built.weights_taken == f"timm's weights {default}"
        assert not built.is_untrained
    assert asked == [(f"{TIMM}.{default}", True)] * 4


def test_random_weights_are_asked_for_by_name(asked):
    network = load_network(NetworkRequest(f"timm:{TIMM}", "random"), CPU)
    assert asked == [(TIMM, False)]
    assert network.is_untrained
    assert network.weights_taken == "random weights: the network is untrained"


def test_torchvisions_random_weights_fetch_no_trunk(monkeypatch):
    monkeypatch.setattr("torch.hub.load_state_dict_from_url", lambda *_, **__: pytest.fail("weights were fetched"))
    assert of_torchvision("lraspp_mobilenet_v3_large", "random", {}).is_untrained


def test_options_reach_the_libraries():
    assert of_torchvision(SMALL, "random", {"num_classes": 17}).module.classifier[1].out_channels == 17
    assert of_timm(TIMM, "random", {"num_classes": 17, "in_chans": 1}).module.fc.out_features == 17


def test_a_fine_tuned_head_is_taken_with_its_option(tmp_path):
    tuned = of_torchvision(SMALL, "random", {"num_classes": 17}).module
    torch.save({"model": tuned.state_dict()}, tmp_path / "tuned.pth")
    for library, name in (("torchvision", SMALL), ("timm", TIMM)):
        build = of_torchvision if library == "torchvision" else of_timm
        torch.save({"model": build(name, "random", {"num_classes": 17}).module.state_dict()}, tmp_path / "tuned.pth")
        request = NetworkRequest(f"{library}:{name}", str(tmp_path / "tuned.pth"))
        with pytest.raises(ModelError, match=r"17 classes, not 1000: set network\.options = \{num_classes = 17\}"):
            load_network(request, CPU)
        taken = load_network(NetworkRequest(request.name, request.weights, options={"num_classes": 17}), CPU)
        assert taken.weights_taken == 'tuned.pth "model"'
        assert not taken.is_untrained


WRONG = {
    ("torchvision", "resnet19", "", ""): r'torchvision has no model "resnet19"; nearest: .*resnet18',
    ("torchvision", "quantized_resnet18", "", ""): r"is quantized.*scan torchvision:resnet18",
    (
        "torchvision",
        SMALL,
        "imagenet",
        "",
    ): r'no weights "imagenet"; it has: IMAGENET1K_V1, DEFAULT; .*"random"',
    (
        "torchvision",
        SMALL,
        "random",
        "classes",
    ): r"no option `classes` for `network\.options`; nearest: num_classes",
    (
        "torchvision",
        SMALL,
        "random",
        "weights",
    ): r"`weights` can't be set in `network\.options`; set `network",
    ("torchvision", SMALL, "", "num_classes"): r"have 1000 classes, `network\.options` asks for 7; name the file of",
    ("torchvision", "resnet18", "random", "zero_init_residual"): None,
    ("torchvision", "resnet18", "random", "width_per_group"): r"can't be built with network\.options .*width_per_group",
    ("timm", "resnet19", "", ""): r'timm has no model "resnet19"; nearest: .*resnet1',
    ("timm", "resnet18", "a1_in2k", ""): r'timm:resnet18 has no weights "a1_in2k"; nearest: a1_in1k',
    ("timm", "resnet18.a1_in2k", "", ""): r'timm:resnet18 has no weights "a1_in2k"; nearest: a1_in1k',
    ("timm", "resnet18.a1_in1k", "a2_in1k", ""): r'names the weights "a1_in1k", but `network\.weights` are "a2_in1k"',
    ("timm", "nf_resnet26", "", ""): r"timm has no pretrained weights for nf_resnet26; name a file .*\"random\"",
    ("timm", TIMM, "random", "clases"): r"has no option `clases` for `network\.options`",
    ("timm", TIMM, "", "num_classes"): r"have 1000 classes, `network\.options` asks for 7",
    ("timm", TIMM, "random", "checkpoint_path"): r"`checkpoint_path` can't be set in `network\.options`",
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_told(case, torch_home):
    library, name, weights, option = case
    build = of_torchvision if library == "torchvision" else of_timm
    value = "wide" if option == "width_per_group" else 7
    if WRONG[case] is None:
        build(name, weights, {option: value})
        return
    with pytest.raises(ModelError, match=WRONG[case]) as refused:
        build(name, weights, {option: value} if option else {})
    assert "\n" not in str(refused.value)


def test_a_hub_that_is_not_there_is_told_at_once(monkeypatch, tmp_path):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("urllib.request.getproxies", dict)
    monkeypatch.setattr(socket, "getaddrinfo", _no_network)
    says = r"timm:test_resnet\..* could not be fetched \(no route to host\); put them into HF_HOME, .*\"random\""
    with pytest.raises(ModelError, match=says):
        of_timm(TIMM, "", {})


def test_a_host_that_stays_silent_is_given_up(monkeypatch, tmp_path):
    """A real socket that accepts and never answers, as behind some firewalls."""
    silent = socket.create_server(("127.0.0.1", 0))
    address = f"http://127.0.0.1:{silent.getsockname()[1]}/weights-12345678.pth"
    weights = torchvision.models.SqueezeNet1_1_Weights.IMAGENET1K_V1
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(type(weights), "url", property(lambda _: address), raising=False)
    monkeypatch.setattr(libraries, "PATIENCE_S", 0.2)
    with pytest.raises(ModelError, match=r"squeezenet1_1 .* could not be fetched \(.*timed out\)"):
        of_torchvision(SMALL, "", {})
    assert socket.getdefaulttimeout() is None
    silent.close()


def _no_network(*_, **__):
    raise OSError("no route to host")


def test_an_offline_hub_is_told(monkeypatch, tmp_path):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelError, match=r"not on this machine and could not be fetched"):
        of_timm(TIMM, "", {})
