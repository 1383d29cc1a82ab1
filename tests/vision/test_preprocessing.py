"""From pictures to inputs: the same tensors that torchvision's and timm's own transforms give."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torchvision.models as zoo
from PIL import Image

from polyscan.vision.preprocessing import Preprocessing, from_timm, from_torchvision

CPU = torch.device("cpu")
SIZES = [(256, 256), (333, 500), (500, 333), (97, 231), (64, 65), (1, 7), (224, 1000), (257, 258)]


def picture(height, width):
    generator = np.random.default_rng(height * 1009 + width)
    coarse = generator.integers(0, 256, (height // 9 + 1, width // 9 + 1, 3), dtype=np.uint8)
    grain = generator.integers(-20, 21, (height, width, 3))
    smooth = np.repeat(np.repeat(coarse, 9, axis=0), 9, axis=1)[:height, :width]
    return np.clip(smooth + grain, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "weights",
    [zoo.ResNet18_Weights.IMAGENET1K_V1, zoo.ConvNeXt_Tiny_Weights.DEFAULT, zoo.EfficientNet_B3_Weights.DEFAULT],
    ids=["resnet18", "convnext_tiny", "efficientnet_b3"],
)
def test_torchvision(weights, size):
    transforms = weights.transforms()
    pixels = picture(*size)
    own = from_torchvision(transforms)
    ours = own.batch(own.view(pixels)[None], CPU)[0]
    torch.testing.assert_close(ours, transforms(Image.fromarray(pixels)), rtol=0, atol=1e-6)


@pytest.mark.parametrize("size", SIZES[:5])
@pytest.mark.parametrize("crop_pct", [0.875, 0.9, 0.95])
def test_timm(size, crop_pct):
    from timm.data.transforms_factory import create_transform

    config = {"input_size": (3, 224, 224), "interpolation": "bicubic", "crop_pct": crop_pct,
              "mean": (0.5, 0.4, 0.3), "std": (0.2, 0.3, 0.4)}  # fmt: skip
    pixels = picture(*size)
    own = from_timm(config)
    theirs = create_transform(**config, is_training=False)(Image.fromarray(pixels))
    torch.testing.assert_close(own.batch(own.view(pixels)[None], CPU)[0], theirs, rtol=0, atol=1e-6)


def test_transforms_without_one_crop_are_none():
    assert from_torchvision(zoo.segmentation.FCN_ResNet50_Weights.DEFAULT.transforms()) is None


def test_grey_input_has_one_channel():
    own = Preprocessing(40, 32, (0.5,), (0.25,))
    pixels = picture(60, 80)
    view = own.view(pixels)
    assert view.shape == (32, 32, 1)
    grey = np.asarray(Image.fromarray(pixels).convert("L").resize((53, 40), Image.Resampling.BILINEAR))
    assert np.array_equal(view[:, :, 0], grey[4:36, 10:42])
    batch = own.batch(view[None], CPU)
    assert batch.shape == (1, 1, 32, 32)
    np.testing.assert_allclose(batch[0, 0].numpy(), (view[:, :, 0] / 255 - 0.5) / 0.25, atol=1e-6)


def test_another_input_size_keeps_the_crops_share():
    own = Preprocessing(256, 224, (0.5,) * 3, (0.5,) * 3)
    assert (own.at(112).resize_px, own.at(112).input_px) == (128, 112)
    assert own.at(None) is own
    assert own.at(224) is own
    assert own.at(16).resize_px >= 16


def test_a_fitted_crop_is_whole():
    own = Preprocessing(20, 16, (0.5,) * 3, (0.5,) * 3)
    crop = picture(8, 32)
    fitted = own.fitted(crop)
    assert np.array_equal(fitted, np.asarray(Image.fromarray(crop).resize((16, 16), Image.Resampling.BILINEAR)))
    exact = picture(16, 16)
    assert np.array_equal(own.fitted(exact), exact)
    grey = own.fitted(crop[:, :, :1])
    assert grey.shape == (16, 16, 3)
    assert np.array_equal(grey[..., 0], grey[..., 2])
    assert Preprocessing(20, 16, (0.5,), (0.5,)).fitted(crop).shape == (16, 16, 1)


def test_read_only_pixels_are_taken_as_they_are():
    own = Preprocessing(16, 16, (0.5,) * 3, (0.5,) * 3)
    pixels = np.asarray(Image.fromarray(picture(16, 16)))
    assert not pixels.flags.writeable
    expected = torch.from_numpy(pixels.astype(np.float32)).permute(2, 0, 1) / 127.5 - 1
    torch.testing.assert_close(own.batch(own.fitted(pixels)[None], CPU)[0], expected, rtol=0, atol=1e-6)
    frozen = own.view(pixels)[None]
    frozen.flags.writeable = False
    torch.testing.assert_close(own.batch(frozen, CPU)[0], expected, rtol=0, atol=1e-6)
    assert not frozen.flags.writeable
