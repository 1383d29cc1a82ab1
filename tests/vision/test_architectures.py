"""Real architectures with random weights: their blocks, and that what is read is what the network computes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from polyscan.vision.networks import NetworkRequest, load_network
from polyscan.vision.readouts import Reader

CPU = torch.device("cpu")


def load(name, **settings):
    network = load_network(NetworkRequest(name, "random", **settings), CPU)
    generator = torch.Generator().manual_seed(0)
    for part in network.module.modules():  # fresh norms are the identity and would hide what is read where
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.weight.data = torch.randn(part.weight.shape, generator=generator)
            part.bias.data = torch.randn(part.bias.shape, generator=generator)
            part.running_mean.data = torch.randn(part.weight.shape, generator=generator) / 10
    return network


def values(reader, batch):
    seen = {}
    reader.read(batch, lambda index, maps: seen.__setitem__(reader.points[index].layer, maps.clone()))
    return seen


def outputs(network, batch, names):
    """What these modules give, copied by plain hooks before anything overwrites it."""
    seen, handles = {}, []
    for name in names:
        part = network.module.get_submodule(name)
        handles.append(part.register_forward_hook(lambda _, __, out, name=name: seen.__setitem__(name, out.clone())))
    with torch.inference_mode():
        network.module(batch)
    for handle in handles:
        handle.remove()
    return seen


@pytest.mark.parametrize(
    ("name", "n_blocks", "first", "last"),
    [
        ("torchvision:resnet18", 8, "layer1.0", "layer4.1"),
        ("torchvision:mobilenet_v2", 19, "features.0", "features.18"),
        ("torchvision:googlenet", 12, "conv1", "inception5b"),
        ("torchvision:convnext_tiny", 19, "features.0", "features.7.2"),
        ("torchvision:densenet121", 7, "features.denseblock1", "features.denseblock4"),
        ("torchvision:regnet_y_400mf", 17, "stem", "trunk_output.block4.block4-5"),
        ("torchvision:squeezenet1_1", 8, "features.3", "features.12"),
        ("timm:resnet18", 8, "layer1.0", "layer4.1"),
        ("timm:mobilenetv3_small_050", 12, "blocks.0.0", "blocks.5.0"),
    ],
)
def test_blocks(name, n_blocks, first, last):
    reader = Reader(load(name, input_px=64), "blocks")
    assert reader.is_traced, reader.untraced_because
    assert len(reader.points) == n_blocks
    assert (reader.points[0].layer, reader.points[-1].layer) == (first, last)
    assert [p.depth for p in reader.points] == list(range(n_blocks))


@pytest.mark.parametrize("name", ["torchvision:resnet18", "timm:resnet18"])
def test_resnet_is_read_behind_its_norms_and_before_its_last_relus(name, noise):
    network = load(name, input_px=64)
    reader = Reader(network, ["all", "blocks"])
    batch = noise(2, 3, 64, 64)
    seen = values(reader, batch)
    assert len([p for p in reader.points if p.readout.startswith("after batch norm")]) == 20
    truth = outputs(network, batch, ["bn1", "layer1.0.bn1", "layer2.0.downsample.1", "layer4.1.bn2", "layer2.0", "fc"])
    norms = {
        "conv1": "bn1",
        "layer1.0.conv1": "layer1.0.bn1",
        "layer2.0.downsample.0": "layer2.0.downsample.1",
        "layer4.1.conv2": "layer4.1.bn2",
    }
    for layer, norm in norms.items():
        torch.testing.assert_close(seen[layer], truth[norm], rtol=1e-4, atol=1e-4)
        assert seen[layer].min() < 0
    torch.testing.assert_close(seen["layer2.0"].relu(), truth["layer2.0"], rtol=1e-4, atol=1e-4)
    assert seen["layer2.0"].min() < 0
    torch.testing.assert_close(seen["fc"][:, :, 0, 0], truth["fc"], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("name", "n_layers"), [("timm:mobilenetv3_small_050", 54), ("timm:efficientnet_b0", 82)])
def test_a_norm_with_its_own_activation_is_read_between_the_two(name, n_layers, noise):
    network = load(name, input_px=64)
    reader = Reader(network, "all")
    assert len(reader.points) == n_layers
    (stem,) = (p for p in reader.points if p.layer == "conv_stem")
    assert stem.readout == "after batch norm bn1"
    assert stem.field[0].field == 3
    batch = noise(2, 3, 64, 64)
    raw = outputs(network, batch, ["conv_stem", "bn1"])
    norm = network.module.bn1
    expected = torch.nn.functional.batch_norm(
        raw["conv_stem"], norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps
    )
    seen = values(reader, batch)["conv_stem"]
    torch.testing.assert_close(seen, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(norm.act(seen.clone()), raw["bn1"], rtol=1e-4, atol=1e-4)


def test_layers_derived_from_torchs_are_layers():
    """timm's weight-standardised convolutions would dissolve into functions if they were traced into."""
    network = load("timm:nfnet_l0", input_px=64)
    convolutions = [name for name, part in network.module.named_modules() if isinstance(part, nn.Conv2d)]
    assert {p.layer for p in Reader(network, "all").points} == {*convolutions, "head.fc"}


@pytest.mark.parametrize("name", ["torchvision:googlenet", "torchvision:densenet121", "torchvision:shufflenet_v2_x0_5",
                                  "torchvision:convnext_tiny"])  # fmt: skip
def test_the_graph_computes_what_the_network_does(name, noise):
    network = load(name, input_px=64)
    reader = Reader(network, "all")
    batch = noise(2, 3, 64, 64)
    logits = values(reader, batch)[reader.points[-1].layer][:, :, 0, 0]
    with torch.inference_mode():
        torch.testing.assert_close(logits, network.module(batch), rtol=1e-3, atol=1e-3)
