"""The neutral judge: how strong a unit is on a finished image, by torchvision's plain network alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from benchmarks.inputs import MEAN, STD, resnet18_trunk


def reached(images: np.ndarray, layer: str, units: Sequence[int]) -> list[float]:
    """Mean of each image's own channel at the module's output.

    Args:
        images: one a unit, uint8 [b, y, x, c], as it would be saved; seen without augmentation.
        layer: torchvision's module.
        units: its channels.
    """
    network = resnet18_trunk()
    outputs: list[Tensor] = []
    network.get_submodule(layer).register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
    values = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    mean, std = torch.tensor(MEAN).view(1, 3, 1, 1), torch.tensor(STD).view(1, 3, 1, 1)
    with torch.inference_mode():
        network((values - mean) / std)
    return outputs[0][torch.arange(len(units)), list(units)].mean(dim=(1, 2)).tolist()
