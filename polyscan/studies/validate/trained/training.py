"""Training, seeded and on the CPU: small networks from scratch, and linear layers on features."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64, UInt8
from torch import Tensor, nn

from polyscan.studies.validate.trained.design import Layout
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
Wanted = Float32[np.ndarray, "n o"]
Rows = Int64[np.ndarray, " b"]


def trained_network(
    views: Views, wanted: Wanted, preprocessing: Preprocessing, *, layout: Layout, seed: int
) -> SmallNetwork:
    """A small network after training.

    Args:
        views: the images as the network sees them.
        wanted: see `targets`.
        preprocessing: turns images into inputs.
        layout: decides the loss.
        seed: of the initial weights and of the order of images.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed % 2**63)
        network = SmallNetwork(preprocessing.channels, wanted.shape[1])
        network = network.to(memory_format=torch.channels_last).train()  # pyright: ignore[reportCallIssue]
        rows = _trained_on(wanted, layout)
        epochs = max(EPOCHS, math.ceil(SEEN / len(rows)))
        _fit(
            network,
            lambda chosen: preprocessing.batch(views[chosen], CPU),
            _loss(wanted, layout),
            _batches(rows, BATCH, epochs),
            steps=epochs * math.ceil(len(rows) / BATCH),
        )
    return network.to(memory_format=torch.contiguous_format).eval()  # pyright: ignore[reportCallIssue]


def trained_head(features: Features, wanted: Wanted, *, layout: Layout, seed: int) -> nn.Linear:
    """A linear layer after training.

    It is trained on standardised features; mean and standard deviation then become a part of its weights.

    Args:
        features: of each image.
        wanted: see `targets`.
        layout: decides the loss.
        seed: of the initial weights and of the order of images.
    """
    rows = _trained_on(wanted, layout)
    mean, sd = features[rows].mean(axis=0), features[rows].std(axis=0)
    sd = np.where(sd > 0, sd, np.float32(1))
    standard = torch.from_numpy((features - mean) / sd)
    epochs = math.ceil(HEAD_STEPS * HEAD_BATCH / len(rows))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed % 2**63)
        head = nn.Linear(features.shape[1], wanted.shape[1])
        steps = epochs * math.ceil(len(rows) / HEAD_BATCH)
        batches = _batches(rows, HEAD_BATCH, epochs)
        _fit(head, lambda chosen: standard[torch.from_numpy(chosen)], _loss(wanted, layout), batches, steps=steps)
    with torch.no_grad():
        head.weight /= torch.from_numpy(sd)
        head.bias.copy_(head.bias - head.weight @ torch.from_numpy(mean))
    return head


def _trained_on(wanted: Wanted, layout: Layout) -> Rows:
    """Images with an output, where outputs compete; else those that any output is trained on."""
    return np.flatnonzero((wanted == 1).any(axis=1) if layout == "instead" else np.isfinite(wanted).any(axis=1))


def _loss(wanted: Wanted, layout: Layout) -> Callable[[Rows, Float[Tensor, "b o"]], Tensor]:
    """Cross-entropy over the outputs, or the mean of each output's own."""
    known = torch.from_numpy(np.nan_to_num(wanted))
    is_known = torch.from_numpy(np.isfinite(wanted).astype(np.float32))

    def of_competing(chosen: Rows, said: Float[Tensor, "b o"]) -> Tensor:
        return nn.functional.cross_entropy(said, known[torch.from_numpy(chosen)].argmax(dim=1))

    def of_each(chosen: Rows, said: Float[Tensor, "b o"]) -> Tensor:
        at = torch.from_numpy(chosen)
        return nn.functional.binary_cross_entropy_with_logits(said, known[at], weight=is_known[at])

    return of_competing if layout == "instead" else of_each


def _batches(rows: Rows, size: int, epochs: int) -> Iterator[Rows]:
    """The rows in a new order for each epoch, drawn by torch's generator."""
    for _ in range(epochs):
        order = rows[torch.randperm(len(rows)).numpy()]
        for start in range(0, len(order), size):
            yield order[start : start + size]


def _fit(
    module: nn.Module,
    inputs: Callable[[Rows], Float[Tensor, "b ..."]],
    loss: Callable[[Rows, Float[Tensor, "b o"]], Tensor],
    batches: Iterator[Rows],
    *,
    steps: int,
) -> None:
    """Adam with decoupled weight decay; the learning rate rises and falls once."""
    optimizer = torch.optim.AdamW(module.parameters(), weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=LEARNING_RATE, total_steps=steps)
    for chosen in batches:
        optimizer.zero_grad()
        loss(chosen, module(inputs(chosen))).backward()
        optimizer.step()
        schedule.step()
