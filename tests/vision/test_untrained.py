"""What a name of weights decides besides their numbers."""

from __future__ import annotations

import pytest

from polyscan.vision.untrained import Architecture, architecture_of


@pytest.mark.parametrize(
    ("name", "weights", "expected"),
    [
        ("timm:convnext_base", "fb_in22k", Architecture("timm:convnext_base.fb_in22k")),
        ("timm:convnext_base", "", Architecture("timm:convnext_base")),
        ("timm:convnext_base", "trained.safetensors", Architecture("timm:convnext_base")),
        ("timm:convnext_base", "no_such_tag", Architecture("timm:convnext_base")),
        ("timm:convnext_bass", "fb_in22k", Architecture("timm:convnext_bass")),
        ("torchvision:regnet_y_16gf", "IMAGENET1K_SWAG_E2E_V1", Architecture("torchvision:regnet_y_16gf", 384)),
        ("torchvision:regnet_y_16gf", "DEFAULT", Architecture("torchvision:regnet_y_16gf", 224)),
        ("torchvision:resnet18", "", Architecture("torchvision:resnet18")),
        ("torchvision:resnet18", "trained.pth", Architecture("torchvision:resnet18")),
        ("torchvision:resnet19", "DEFAULT", Architecture("torchvision:resnet19")),
        ("torchvision:fcn_resnet50", "DEFAULT", Architecture("torchvision:fcn_resnet50")),  # weights without a crop
        ("nets:small", "trained.pth", Architecture("nets:small")),
    ],
)
def test_the_tag_is_part_of_timms_name_and_the_crop_that_of_torchvisions_weights(name, weights, expected):
    assert architecture_of(name, weights) == expected
