"""A network of inputs that are not square and have 8 channels, one unit for each, and pictures for it as arrays."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from polyscan.vision.embedders import Embedder
from polyscan.vision.preprocessing import Preprocessing

HEIGHT, WIDTH, BANDS = 48, 36, 8
FORMS = ("y x c", "c y x, 16 bits", "y x c, floats")


def network() -> nn.Module:
    """Its layer `bands` gives each channel of the input, `pairs` the mean of 4 x 2 px of it."""
    bands = nn.Conv2d(BANDS, BANDS, 1, bias=False)
    pairs = nn.Conv2d(BANDS, BANDS, (4, 2), stride=(4, 2), groups=BANDS, bias=False)
    with torch.no_grad():
        bands.weight.copy_(torch.eye(BANDS)[:, :, None, None])
        pairs.weight.fill_(1 / 8)
    head = nn.Linear(BANDS * 12 * 18, 4)  # takes one size of input alone
    parts = OrderedDict(bands=bands, relu=nn.ReLU(), pairs=pairs, relu2=nn.ReLU(), flat=nn.Flatten(), head=head)
    return nn.Sequential(parts)


class MeanColour(nn.Module):
    """An embedder: 3 x 3 mean colours, and their squares."""

    def forward(self, images: Tensor) -> Tensor:
        means = nn.functional.adaptive_avg_pool2d(images, 3).flatten(1)
        return torch.cat([means, means.square()], dim=1)


def of_five_channels() -> Embedder:
    """An embedder that takes neither colours nor the network's channels."""
    preprocessing = Preprocessing(16, 16, (0.5,) * 5, (0.5,) * 5)
    return Embedder("five", preprocessing, torch.device("cpu"), lambda images: images.mean(dim=(2, 3)), "five")


def paint(folder: Path, n: int = 54) -> np.ndarray:
    """Pictures [n, y, x, c] in 0..255 with one bright spot in each channel, saved in three forms, in order of names."""
    random = np.random.default_rng(0)
    pictures = random.integers(0, 60, (n, HEIGHT, WIDTH, BANDS), dtype=np.uint8)
    folder.mkdir()
    for number, picture in enumerate(pictures):
        y, x = random.integers(0, HEIGHT, BANDS), random.integers(0, WIDTH, BANDS)
        picture[y, x, np.arange(BANDS)] = random.permutation(np.arange(100, 250))[:BANDS]
        form = FORMS[number % 3]
        if form.startswith("c"):
            np.save(folder / f"{number:02d}.npy", np.moveaxis(picture, 2, 0).astype(np.uint16) << 8)
        else:
            np.save(folder / f"{number:02d}.npy", picture if form == FORMS[0] else (picture / 255).astype(np.float32))
    return pictures
