"""Perceptual distance: the lpips package's numbers, at one forward pass an image."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from polyscan.errors import ModelError
from polyscan.vision.networks import NetworkRequest, load_network
from polyscan.vision.perceptual import MeanPairwise, load_distance

CPU = torch.device("cpu")


@pytest.fixture
def squeeze(torch_home):
    return load_distance("lpips:squeeze", network=None, device=CPU)


def images(n, side, channels=3, seed=0):
    return torch.rand(n, channels, side, side, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("side", [64, 91])
def test_it_is_lpips(squeeze, side):
    import lpips

    reference = lpips.LPIPS(net="squeeze", verbose=False).eval()
    first, second = images(4, side), images(4, side, seed=1)
    first[3], second[3] = 0.0, second[3] * 0.1  # black: nothing but the small number in the normalisation
    with torch.inference_mode():
        expected = reference(first * 2 - 1, second * 2 - 1).flatten()
        ours = (squeeze.features(first) - squeeze.features(second)).square().sum(dim=1)
    assert expected.min() > 0.01
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)
    assert squeeze.version.startswith("lpips 0.")
    assert squeeze.version.endswith("squeeze v0.1")


def test_small_and_grey_images(squeeze):
    with torch.inference_mode():
        small = images(2, 20)
        upsampled = nn.functional.interpolate(small, size=(64, 64), mode="bilinear", align_corners=False)
        assert torch.equal(squeeze.features(small), squeeze.features(upsampled))
        grey = images(2, 64, channels=1)
        assert torch.equal(squeeze.features(grey), squeeze.features(grey.repeat(1, 3, 1, 1)))


def test_images_that_are_not_square_keep_their_shape_and_many_channels_are_seen_by_three(squeeze):
    generator = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        wide = torch.rand(2, 3, 20, 30, generator=generator)
        upsampled = nn.functional.interpolate(wide, size=(64, 96), mode="bilinear", align_corners=False)
        assert torch.equal(squeeze.features(wide), squeeze.features(upsampled))
        many = torch.rand(2, 8, 64, 80, generator=generator)
        assert torch.equal(squeeze.features(many), squeeze.features(many[:, :3]))
        assert torch.equal(squeeze.features(many[:, :2]), squeeze.features(many[:, :1].repeat(1, 3, 1, 1)))


def test_features_of_the_scanned_network(network_of):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(1, 5, 3), nn.ReLU(inplace=True), nn.Conv2d(5, 4, 3, stride=2), nn.Flatten(),
                           nn.Linear(4 * 6 * 6, 3))  # fmt: skip
    network = network_of(module, channels=1)
    distance = load_distance("features", network=network, device=CPU)
    both = images(2, 16, channels=1)
    with torch.inference_mode():
        u, v = distance.features(both)
        first = module[0](both * 2 - 1).relu()
        layers = [first, module[2](first).relu()]
        expected = 0.0
        for layer in layers:  # LPIPS' formula, literally, with all weights 1
            unit = layer / (layer.square().sum(dim=1, keepdim=True).sqrt() + 1e-10)
            expected += (unit[0] - unit[1]).square().sum(dim=0).mean()
    torch.testing.assert_close((u - v).square().sum(), expected, rtol=1e-5, atol=1e-6)
    assert distance.version == "features of toy, unit weights"
    assert distance.features(images(1, 40, channels=1)).shape == (1, len(u))  # brought to the network's size


def test_features_leave_out_layers_that_are_never_called():
    network = load_network(NetworkRequest("torchvision:googlenet", "random", input_px=64), CPU)
    assert any(name.startswith("aux1") for name, _ in network.module.named_modules())
    with torch.inference_mode():
        assert load_distance("features", network=network, device=CPU).features(images(1, 64)).ndim == 2


def test_a_network_without_convolutions_has_none(network_of):
    network = network_of(nn.Sequential(nn.Flatten(), nn.Linear(16 * 16 * 3, 3)))
    with pytest.raises(ModelError, match="toy has no convolutions whose features could make a distance"):
        load_distance("features", network=network, device=CPU)


@pytest.mark.parametrize("name", ["lpips:resnet", "lpips", "ssim", "features:x"])
def test_names_that_are_none(name):
    with pytest.raises(ModelError, match=r"unknown `visualize.distance` .*; allowed: lpips:alex\|vgg\|squeeze, or"):
        load_distance(name, network=None, device=CPU)


def test_a_trunk_that_is_not_there(monkeypatch, tmp_path):
    def offline(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", offline)
    with pytest.raises(ModelError, match=r"trunk of lpips:alex is not on this machine.*no route to host"):
        load_distance("lpips:alex", network=None, device=CPU)


def test_the_running_mean_is_the_mean_over_all_pairs():
    features = torch.randn(9, 50, generator=torch.Generator().manual_seed(0)) * 3 + 10
    pairs = MeanPairwise()
    means = [pairs.add(vector) for vector in features]
    assert means[0] != means[0]
    for n in range(2, 10):
        each = [(u - v).double().square().sum() for u, v in itertools.combinations(features[:n], 2)]
        assert means[n - 1] == pytest.approx(float(sum(each) / len(each)), rel=1e-6)


def test_equal_images_are_at_zero(squeeze):
    with torch.inference_mode():
        vector = squeeze.features(images(1, 64))[0]
    pairs = MeanPairwise()
    means = [pairs.add(vector) for _ in range(12)]
    assert all(0 <= mean < 1e-10 for mean in means[1:])
