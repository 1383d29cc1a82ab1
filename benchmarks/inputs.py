"""What the races run on: real weights and images out of POLYSCAN_TEST_DATA, never downloaded in their place."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import nn

from benchmarks.places import DATA
from benchmarks.race import Skipped
from polyscan.vision.devices import pick_device
from polyscan.vision.networks import Network, NetworkRequest, load_network

TRUNK_WEIGHTS = "weights/resnet18-trunk-conv1-to-layer3-imagenet.safetensors"
TRUNK_LAYERS = {"layer1": "layer1.1", "layer2": "layer2.1", "layer3": "layer3.1"}
"""The stage, as torchvision and lucent name its output, and its last block, as polyscan does."""
SIDE_PX = 128
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def held(path: str) -> Path:
    """A file of the shared data.

    Raises:
        Skipped: if it is not here.
    """
    if not (DATA / path).exists():
        raise Skipped(f"{path} is not in {DATA}; set POLYSCAN_TEST_DATA to where the shared test data lie")
    return DATA / path


def device() -> torch.device:
    """The GPU where `--device cuda` left it visible."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def resnet18_trunk() -> nn.Module:
    """torchvision's ResNet-18 with real weights up to layer3, as its user loads it; what follows is never read."""
    from safetensors.torch import load_file
    from torchvision.models import resnet18

    torch.manual_seed(0)
    module = resnet18()
    module.load_state_dict(load_file(held(TRUNK_WEIGHTS)), strict=False)
    return module.eval()


def trunk_network() -> Network:
    """The same network as polyscan loads a user's own."""
    held(TRUNK_WEIGHTS)
    request = NetworkRequest("benchmarks.inputs:resnet18_trunk", input_px=SIDE_PX, mean=MEAN, std=STD)
    return load_network(request, pick_device(device().type))


def mobilenet() -> Network:
    """MobileNetV2 with the shared weights, by torchvision's own loading."""
    find_weights()
    return load_network(NetworkRequest("torchvision:mobilenet_v2", "IMAGENET1K_V1"), pick_device(device().type))


def mobilenet_module() -> nn.Module:
    """The same network as a user of torchvision loads it."""
    from torchvision.models import mobilenet_v2

    find_weights()
    return mobilenet_v2(weights="IMAGENET1K_V1").eval().to(device())


def find_weights() -> None:
    """Lets torchvision find the shared weights, here and in processes started from here.

    Raises:
        Skipped: if they are not here.
    """
    held("torch_home/hub/checkpoints/mobilenet_v2-b0353104.pth")
    os.environ["TORCH_HOME"] = str(DATA / "torch_home")
