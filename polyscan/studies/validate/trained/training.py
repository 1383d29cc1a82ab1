"""Training, seeded and on the CPU: small networks from scratch, and linear layers on features."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64, UInt8
from torch import Tensor, nn

from polyscan.studies.validate.trained.design import NO_OUTPUT
from polyscan.studies.validate.trained.networks import SmallNetwork
from polyscan.vision.preprocessing import Preprocessing

BATCH = 128
SEEN = 30_000
"""Images that a small network sees in training, each epoch counted; at least `EPOCHS` epochs."""
EPOCHS = 5
LEARNING_RATE = 1e-2
HEAD_BATCH = 512
HEAD_STEPS = 600
WEIGHT_DECAY = 1e-4
CPU = torch.device("cpu")

Views = UInt8[np.ndarray, "n y x c"]
Features = Float32[np.ndarray, "n d"]
Wanted = Int64[np.ndarray, " n"]


def trained_network(views: Views, wanted: Wanted, preprocessing: Preprocessing, *, seed: int) -> SmallNetwork:
    """A small network after training on the images that have an output.

    Args:
        views: the images as the network sees them.
        wanted: the output of each image; -1 for an image that is left out.
        preprocessing: turns images into inputs.
        seed: of the initial weights and of the order of images.
    """
    rows = np.flatnonzero(wanted != NO_OUTPUT)
    epochs = max(EPOCHS, math.ceil(SEEN / len(rows)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed % 2**63)
        network = SmallNetwork(preprocessing.channels, int(wanted.max()) + 1)
        network = network.to(memory_format=torch.channels_last).train()  # pyright: ignore[reportCallIssue]
        _fit(
            network,
            lambda chosen: preprocessing.batch(views[chosen], CPU),
            torch.from_numpy(wanted),
            _batches(rows, BATCH, epochs),
            steps=epochs * math.ceil(len(rows) / BATCH),
        )
    return network.to(memory_format=torch.contiguous_format).eval()  # pyright: ignore[reportCallIssue]


def trained_head(features: Features, wanted: Wanted, *, seed: int) -> nn.Linear:
    """A linear layer after training on the features of the images that have an output.

    It is trained on standardised features; mean and standard deviation then become a part of its weights.

    Args:
        features: of each image.
        wanted: the output of each image; -1 for an image that is left out.
        seed: of the initial weights and of the order of images.
    """
    rows = np.flatnonzero(wanted != NO_OUTPUT)
    mean, sd = features[rows].mean(axis=0), features[rows].std(axis=0)
    standard = torch.from_numpy((features - mean) / np.where(sd > 0, sd, 1))
    epochs = math.ceil(HEAD_STEPS * HEAD_BATCH / len(rows))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed % 2**63)
        head = nn.Linear(features.shape[1], int(wanted.max()) + 1)
        steps = epochs * math.ceil(len(rows) / HEAD_BATCH)
        batches = _batches(rows, HEAD_BATCH, epochs)
        _fit(head, lambda chosen: standard[torch.from_numpy(chosen)], torch.from_numpy(wanted), batches, steps=steps)
    with torch.no_grad():
        head.weight /= torch.from_numpy(np.where(sd > 0, sd, 1))
        head.bias.copy_(head.bias - head.weight @ torch.from_numpy(mean))
    return head


def _batches(rows: Int64[np.ndarray, " m"], size: int, epochs: int) -> Iterator[Int64[np.ndarray, " b"]]:
    """The rows in a new order for each epoch, drawn by torch's generator."""
    for _ in range(epochs):
        order = rows[torch.randperm(len(rows)).numpy()]
        for start in range(0, len(order), size):
            yield order[start : start + size]


def _fit(
    module: nn.Module,
    inputs: Callable[[Int64[np.ndarray, " b"]], Float[Tensor, "b ..."]],
    wanted: Int64[Tensor, " n"],
    batches: Iterator[Int64[np.ndarray, " b"]],
    *,
    steps: int,
) -> None:
    """Adam with decoupled weight decay on the cross-entropy; the learning rate rises and falls once."""
    optimizer = torch.optim.AdamW(module.parameters(), weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=LEARNING_RATE, total_steps=steps)
    for chosen in batches:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(module(inputs(chosen)), wanted[torch.from_numpy(chosen)])
        loss.backward()
        optimizer.step()
        schedule.step()
