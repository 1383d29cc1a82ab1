"""From pictures to inputs: the very tensors that torchvision's and timm's own transforms give."""

from __future__ import annotations

import numpy as np
import pytest
import timm
import torch
import torchvision.models as zoo
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from timm.data import create_transform, resolve_data_config
from timm.models import get_pretrained_cfg

from polyscan.errors import ImagesError
from polyscan.vision.preprocessing import Preprocessing, from_timm, from_torchvision

CPU = torch.device("cpu")
SIZES = [(256, 256), (333, 500), (500, 333), (64, 65), (1, 7), (224, 1000)]


def picture(height, width):
    generator = np.random.default_rng(height * 1009 + width)
    coarse = generator.integers(0, 256, (height // 9 + 1, width // 9 + 1, 3), dtype=np.uint8)
    grain = generator.integers(-20, 21, (height, width, 3))
    smooth = np.repeat(np.repeat(coarse, 9, axis=0), 9, axis=1)[:height, :width]
    return np.clip(smooth + grain, 0, 255).astype(np.uint8)


PRESETS = {repr(weights.transforms()): weights for name in zoo.list_models() for weights in zoo.get_model_weights(name)}
"""Weights of torchvision, one for each preset; a preset is made without its weights."""
CLASSIFYING = [weights for preset, weights in PRESETS.items() if preset.startswith("ImageClassification")]


def ours(own, pixels):
    return own.batch(own.view(pixels)[None], CPU)[0]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("weights", CLASSIFYING, ids=str)
def test_every_preset_of_torchvision(weights, size):
    transforms = weights.transforms()
    pixels = picture(*size)
    torch.testing.assert_close(
        ours(from_torchvision(transforms), pixels), transforms(Image.fromarray(pixels)), rtol=0, atol=0
    )


def test_presets_that_are_no_crop_are_none():
    kinds = {preset.partition("(")[0] for preset in PRESETS}
    assert kinds > {"ImageClassification", "VideoClassification", "SemanticSegmentation"}
    for preset, weights in PRESETS.items():
        assert (from_torchvision(weights.transforms()) is not None) == preset.startswith("ImageClassification")


SIDES = st.integers(8, 90)
TIMM = st.fixed_dictionaries(
    {
        "input_size": st.one_of(SIDES.map(lambda side: (3, side, side)), st.tuples(st.just(3), SIDES, SIDES)),
        "interpolation": st.sampled_from(["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"]),
        "crop_pct": st.one_of(st.sampled_from([0.875, 0.9, 0.95, 1.0]), st.floats(0.5, 1.2)),
        "crop_mode": st.sampled_from(["center", "squash", "border"]),
        "mean": st.tuples(*[st.floats(0, 1)] * 3),
        "std": st.tuples(*[st.floats(0.1, 1)] * 3),
    }
)


@given(TIMM, st.integers(4, 150), st.integers(4, 150))
@settings(max_examples=300, deadline=None)
def test_timm_exactly(config, height, width):
    """Tall, wide and small pictures; squares and other inputs; crops larger than the resized picture."""
    pixels = picture(height, width)
    found, transform = ours(from_timm(config), pixels), create_transform(**config, is_training=False)
    try:
        theirs = transform(Image.fromarray(pixels))
    except ValueError:  # timm rounds the short side of a long picture within a border to 0 px; ours has 1 px
        assert config["crop_mode"] == "border"
        assert max(height, width) > 8 * min(height, width)
        return
    torch.testing.assert_close(found, theirs, rtol=0, atol=0)


def test_timm_of_pretrained_networks():
    """Each distinct configuration of timm's weights, of which some squash and some add a border."""
    names = timm.list_models(pretrained=True)
    configs = {}
    for name in names:
        config = resolve_data_config({}, pretrained_cfg=get_pretrained_cfg(name).to_dict())
        small = {**config, "input_size": (3, *(side // 4 for side in config["input_size"][1:]))}
        configs[repr(small)] = small
    assert {config["crop_mode"] for config in configs.values()} == {"center", "squash", "border"}
    pixels = picture(120, 200)
    for config in configs.values():
        theirs = create_transform(**config, is_training=False)(Image.fromarray(pixels))
        assert torch.equal(ours(from_timm(config), pixels), theirs), config


def test_timm_draws_its_interpolation_only_while_it_trains():
    config = {"input_size": (3, 32, 32), "mean": (0.5,) * 3, "std": (0.5,) * 3, "interpolation": "random"}
    assert from_timm(config).interpolation == "bilinear"


def test_one_mean_of_timm_counts_for_all_channels():
    config = {"input_size": (2, 32, 32), "mean": (0.4,), "std": (0.3,), "interpolation": "bicubic"}
    own = from_timm(config)
    assert (own.mean, own.std, own.channels) == ((0.4, 0.4), (0.3, 0.3), 2)


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


def of_size(input_px, resize_px=None, channels=3, **more):
    return Preprocessing(resize_px or input_px, input_px, (0.5,) * channels, (0.25,) * channels, **more)


def test_the_view_is_what_boxes_refer_to():
    """Squashed, the whole picture is in the view; with a border, its place is known."""
    pixels = np.zeros((40, 80, 3), np.uint8)
    pixels[30:, 60:] = 255  # the last quarter of both axes
    squashed = of_size(32, crop_mode="squash", interpolation="box").view(pixels)
    assert (squashed[24:, 24:] == 255).all()
    assert not squashed[:24].any()
    bordered = of_size(32, crop_mode="border", interpolation="box").view(pixels)
    assert (bordered[:8] == 128).all()
    assert (bordered[20:24, 24:] == 255).all()
    assert (bordered[24:] == 128).all()
    assert not bordered[8:20].any()


@pytest.mark.parametrize(("mean", "fill"), [(-0.2, 0), (0.0, 0), (0.5, 128), (1.0, 255), (1.7, 255)])
def test_a_border_is_black_or_white_where_its_colour_would_lie_beyond(mean, fill):
    own = Preprocessing(32, 32, (mean,) * 3, (0.25,) * 3, crop_mode="border")
    view = own.view(np.full((8, 32, 3), 100, np.uint8))
    assert (view[:8] == fill).all()
    assert (view[14:18] == 100).all()


@pytest.mark.parametrize("crop_mode", ["center", "squash", "border"])
def test_the_view_of_many_channels_is_that_of_each(crop_mode):
    pixels = np.concatenate([picture(50, 70)] * 3, axis=2)[:, :, :8]
    own = of_size((24, 40), (30, 50), channels=8, crop_mode=crop_mode)
    view = own.view(pixels)
    assert view.shape == (24, 40, 8)
    colours = of_size((24, 40), (30, 50), crop_mode=crop_mode).view(pixels[:, :, :3])
    assert np.array_equal(view[:, :, :3], colours)
    assert own.batch(view[None], CPU).shape == (1, 8, 24, 40)


def test_a_picture_of_other_channels_is_refused_by_both_numbers():
    with pytest.raises(ImagesError, match=r"unsupported: it has 3 channels, the network takes 4; .*`network.ch"):
        of_size(16, channels=4).view(picture(20, 20))
    with pytest.raises(ImagesError, match="it has 8 channels, the network takes 1"):
        of_size(16, channels=1).view(np.zeros((9, 9, 8), np.uint8))


def test_an_embedder_of_colours_sees_the_first_three():
    crop = np.concatenate([picture(16, 16)] * 3, axis=2)[:, :, :5]
    assert np.array_equal(of_size(16).fitted(crop), crop[:, :, :3])
    assert np.array_equal(of_size(16).fitted(crop[:, :, :2]), np.repeat(crop[:, :, :1], 3, axis=2))
    grey = np.asarray(Image.fromarray(crop[:, :, :3]).convert("L"))
    assert np.array_equal(of_size(16, channels=1).fitted(crop)[:, :, 0], grey)
    assert np.array_equal(of_size(16, channels=5).fitted(crop), crop)
    with pytest.raises(ImagesError, match="the embedder takes 4 channels, the image to embed has 5"):
        of_size(16, channels=4).fitted(crop)


def test_another_size_of_a_squashed_input_keeps_its_share():
    own = of_size(100, 110, crop_mode="squash").at((50, 200))
    assert (own.resize_px, own.size, own.crop_mode) == ((55, 220), (50, 200), "squash")
    assert own.at(100).size == (100, 100)
