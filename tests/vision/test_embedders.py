"""Spaces for evidence: the vectors that the networks themselves have before their last layer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torchvision.models as zoo
from torch import nn
from vision.strange_networks import Mirrored, Tiles
from vision.strange_networks import Untraceable as UntraceableWrap

from polyscan.errors import ModelError
from polyscan.vision.embedders import EmbedderRequest, load_embedder, penultimate

CPU = torch.device("cpu")


class LeNet(nn.Sequential):
    def __init__(self):
        torch.manual_seed(0)
        super().__init__(
            nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5),
            nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(400, 120), nn.ReLU(inplace=True),
            nn.Linear(120, 84), nn.ReLU(inplace=True), nn.Dropout(), nn.Linear(84, 10),
        )  # fmt: skip


class Untraceable(nn.Module):
    """Lists its head first and calls it last."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(4, 2)
        self.body = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        maps = self.body(x)
        return self.head(maps.amax(dim=(2, 3)) if maps.sum() > -1e9 else maps)


def head_input(module, head, batch):
    """What a hook on the head catches."""
    caught = []
    hook = head.register_forward_pre_hook(lambda _, inputs: caught.append(inputs[0].clone()))
    with torch.inference_mode():
        module(batch)
    hook.remove()
    return caught[-1]


def crops(n, side, channels=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, side, side, channels), dtype=np.uint8)


@pytest.mark.parametrize(
    ("build", "head", "shape", "width"),
    [
        (zoo.resnet18, "fc", (3, 64, 64), 512),
        (zoo.mobilenet_v2, "classifier.1", (3, 64, 64), 1280),
        (LeNet, "12", (1, 28, 28), 84),
        (Untraceable, "head", (3, 16, 16), 4),
    ],
)
def test_penultimate_is_the_heads_input(build, head, shape, width, noise, network_of):
    torch.manual_seed(0)
    module = build().eval()
    batch = noise(3, *shape)
    with torch.inference_mode():
        vectors = penultimate(network_of(module, side=shape[1], channels=shape[0]))(batch)
    assert vectors.shape == (3, width)
    expected = head_input(module, module.get_submodule(head), batch)
    # Batch norm is folded into the convolutions, which moves the last digits.
    torch.testing.assert_close(vectors, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))
    assert not any(part._forward_pre_hooks for part in module.modules())


def test_before_a_convolutional_head_maps_are_pooled(noise, network_of):
    torch.manual_seed(0)
    module = zoo.squeezenet1_1().eval()
    batch = noise(2, 3, 64, 64)
    with torch.inference_mode():
        vectors = penultimate(network_of(module, side=64))(batch)
    caught = head_input(module, module.classifier[1], batch)
    assert caught.ndim == 4
    torch.testing.assert_close(vectors, caught.mean(dim=(2, 3)), rtol=1e-4, atol=1e-5)


def test_the_head_itself_is_not_called(noise, network_of):
    module = LeNet().eval()
    body = penultimate(network_of(module, side=28, channels=1))
    module[12].register_forward_pre_hook(lambda *_: pytest.fail("the head was called"))
    with torch.inference_mode():
        assert body(noise(2, 1, 28, 28)).shape == (2, 84)


def test_a_module_without_layers_has_none(network_of):
    with pytest.raises(ModelError, match="ReLU has no linear or convolutional layer whose input"):
        penultimate(network_of(nn.ReLU()))


@pytest.mark.parametrize("wrap", [Tiles, Mirrored, UntraceableWrap])
def test_each_image_has_its_own_vector_where_images_are_folded(wrap, noise, network_of):
    torch.manual_seed(0)

    class Folded(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = wrap(nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 1)))

        def forward(self, x):
            return self.body(x)

    network = network_of(Folded(), side=16)
    encode = penultimate(network)
    batch = noise(3, 3, 16, 16)
    with torch.inference_mode():
        together = encode(batch)
        alone = torch.cat([encode(image.expand(2, -1, -1, -1))[:1] for image in batch.split(1)])
    assert together.shape == (3, 4)
    torch.testing.assert_close(together, alone)


def test_the_scanned_networks_own_space(network_of):
    network = network_of(LeNet(), side=28, channels=1)
    embedder = load_embedder(
        EmbedderRequest("penultimate", scanned=lambda: network, folder="", input_px=None, device=CPU)
    )
    views = crops(5, 28, 1)
    vectors = embedder(views)
    assert vectors.shape == (5, 84)
    assert vectors.dtype == np.float32
    expected = head_input(network.module, network.module[12], network.preprocessing.batch(views, CPU))
    assert np.array_equal(vectors, expected.numpy())
    assert (embedder.name, embedder.digest) == ("penultimate", network.digest)


def test_padding_and_batching_do_not_change_vectors(network_of):
    embedder = load_embedder(
        EmbedderRequest(
            "penultimate", scanned=lambda: network_of(zoo.resnet18(), side=64), folder="", input_px=None, device=CPU
        )
    )
    views = crops(7, 64)
    together = embedder(views)
    padded = np.zeros((16, 64, 64, 3), dtype=np.uint8)
    padded[:7] = views
    alone = np.concatenate([embedder(view[None]) for view in views])
    # Other batch shapes may take other kernels: float32 sums in another order, nothing more.
    np.testing.assert_allclose(embedder(padded)[:7], together, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(alone, together, rtol=1e-4, atol=1e-5)
    # In one shape, neighbours change nothing at all.
    padded[7:] = crops(9, 64, seed=1)
    other = embedder(padded)[:7]
    padded[7:] = 0
    assert np.array_equal(embedder(padded)[:7], other)


def test_pretrained_mobilenet(torch_home):
    embedder = load_embedder(
        EmbedderRequest(
            "torchvision:mobilenet_v2/IMAGENET1K_V1", scanned=pytest.fail, folder="", input_px=96, device=CPU
        )
    )
    assert embedder.preprocessing.input_px == 96
    assert embedder.preprocessing.resize_px == 110
    vectors = embedder(crops(2, 96))
    assert vectors.shape == (2, 1280)
    assert (vectors >= 0).all()
    assert vectors.std() > 0.05


def test_open_clip_with_random_weights():
    embedder = load_embedder(
        EmbedderRequest("open_clip:ViT-S-32-alt/random", scanned=pytest.fail, folder="", input_px=None, device=CPU)
    )
    assert embedder.preprocessing.input_px == 224
    assert embedder.preprocessing.interpolation == "bicubic"
    views = crops(3, 224)
    vectors = embedder(views)
    assert vectors.shape == (3, 256)
    assert vectors.dtype == np.float32
    again = load_embedder(
        EmbedderRequest("open_clip:ViT-S-32-alt/random", scanned=pytest.fail, folder="", input_px=224, device=CPU)
    )
    assert again.digest == embedder.digest  # random, and the same on every worker
    np.testing.assert_allclose(again(views[:1]), vectors[:1], rtol=1e-4, atol=1e-5)
    with pytest.raises(ModelError, match=r"takes 224 px, `embed.input_px` is 96; leave it out"):
        load_embedder(
            EmbedderRequest("open_clip:ViT-S-32-alt/random", scanned=pytest.fail, folder="", input_px=96, device=CPU)
        )


@pytest.mark.parametrize(
    ("model", "pattern"),
    [
        ("resnet18", 'unknown embedder "resnet18"; write torchvision:NAME/WEIGHTS'),
        ("clip:ViT-B-32/openai", "; write torchvision:NAME/WEIGHTS"),
        ("torchvision:/IMAGENET1K_V1", "; write"),
        ("torchvision:resnet18", "has no weights in its name; write torchvision:resnet18/WEIGHTS"),
        ("torchvision:resnet19/IMAGENET1K_V1", 'no model "resnet19"; nearest'),
        ("torchvision:resnet18/IMAGENET1K_V9", 'has no weights "IMAGENET1K_V9"; it has: IMAGENET1K_V1'),
        ("open_clip:ViT-B-33/openai", 'open_clip has no model "ViT-B-33"; nearest: .*ViT-B-32'),
        ("open_clip:ViT-B-32", "has no weights in its name; open_clip has for it: .*openai"),
        ("open_clip:ViT-S-32-alt/laion9", 'weights "laion9" of open_clip ViT-S-32-alt could not be loaded'),
    ],
)
def test_names_that_are_none(model, pattern):
    with pytest.raises(ModelError, match=pattern):
        load_embedder(EmbedderRequest(model, scanned=pytest.fail, folder="", input_px=None, device=CPU))


def test_a_network_without_a_vector_is_refused(network_of):
    class Maps(nn.Module):
        def __init__(self):
            super().__init__()
            self.mix = nn.Linear(16, 4)

        def forward(self, x):
            return self.mix(x.mean(0))

    with pytest.raises(ModelError, match="the input of the last layer of toy is not divided among the images"):
        load_embedder(
            EmbedderRequest("penultimate", scanned=lambda: network_of(Maps()), folder="", input_px=None, device=CPU)
        )


def test_the_text_tower_gives_words_the_space_of_images():
    embedder = load_embedder(
        EmbedderRequest("open_clip:ViT-S-32-alt/random", scanned=pytest.fail, folder="", input_px=None, device=CPU)
    )
    assert embedder.words is not None
    first, again = embedder.words(["a crane", "a screen"]), embedder.words(["a screen"])
    side = embedder.preprocessing.input_px
    assert first.shape[1] == embedder(np.zeros((1, side, side, 3), dtype=np.uint8)).shape[1]
    np.testing.assert_allclose(first[1], again[0], rtol=1e-4, atol=1e-5)
    assert not np.allclose(first[0], first[1])


OWN = """
import torch
from torch import nn


class MeanColour(nn.Module):
    def forward(self, images):
        return images.mean(dim=(2, 3))


class Maps(nn.Module):
    def forward(self, images):
        return images


def words():
    return "no module"
"""


def own(name, folder, input_px=8):
    (folder / "ownspace.py").write_text(OWN)
    request = EmbedderRequest(
        f"ownspace:{name}", scanned=pytest.fail, folder=str(folder), input_px=input_px, device=CPU
    )
    return load_embedder(request)


def test_own_code_is_an_embedder(tmp_path):
    embedder = own("MeanColour", tmp_path)
    assert embedder.name == "ownspace:MeanColour"
    assert embedder.preprocessing.input_px == 8
    grey = np.full((2, 8, 8, 3), 255, dtype=np.uint8)
    grey[1] = 0
    np.testing.assert_allclose(embedder(grey), [[1, 1, 1], [-1, -1, -1]], atol=1e-6)


@pytest.mark.parametrize(
    ("name", "input_px", "says"),
    [
        ("MeanColour", None, "set `embed.input_px`"),
        ("Maps", 8, "but must give one vector per image"),
        ("words", 8, "gave a str; it must give a torch.nn.Module"),
        ("Missing", 8, "has no function `Missing`; there are: .*MeanColour"),
    ],
)
def test_own_code_that_is_no_embedder_is_refused(tmp_path, name, input_px, says):
    with pytest.raises(ModelError, match=says):
        own(name, tmp_path, input_px)
