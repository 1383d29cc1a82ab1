"""Decoded images as the peers' data set."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from benchmarks.inputs import MEAN, STD


class Views(Dataset[tuple[Tensor, int]]):
    """The first images of a file of uint8 [n, y, x, c], normalised when they are asked for, and one label for all.

    One label, since zennit-crp files every image under its own as well: this is the least work that it can be given.
    """

    name = "views"

    def __init__(self, file: str, count: int) -> None:
        self.views = np.load(file)[:count]
        self._mean, self._std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)

    def __len__(self) -> int:
        return len(self.views)

    def __getitem__(self, place: int) -> tuple[Tensor, int]:
        values = torch.from_numpy(self.views[place]).permute(2, 0, 1).float() / 255
        return (values - self._mean) / self._std, 0
