"""Which classes the outputs of each trained network answer to: two that are merged, or one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float32, Int64

from polyscan.errors import ImagesError
from polyscan.shards import seed

SHARES = {"1:1": 1, "3:1": 3, "9:1": 9}
"""By strength of a merge: the major class is seen this many times as often in training as the minor one."""
ONE_CLASS = "one class"
FEWEST_CLASSES = 4
FEWEST_IMAGES = 18
"""Training images of a class: at 9:1, two are left of the minor class."""
MOST_CLASSES = 200

Layout = Literal["beside", "instead"]
"""`beside`: each class also has an output of its own, so that the layer tells merged classes apart, and each output is
trained by itself (sigmoid). `instead`: merged classes have no other output, and outputs compete (softmax). Then the
layer does not tell merged classes apart, and its single-concept readouts, which are the null, answer to both, too."""


@dataclass(frozen=True)
class Output:
    """One output of a trained network.

    Args:
        kind: a strength of `SHARES`, or `ONE_CLASS`.
        major: label of its class; of two merged classes, of the one that is seen at least as often.
        minor: label of the other merged class; None for an output of one class.
    """

    kind: str
    major: int
    minor: int | None = None


def usable_classes(labels: Int64[np.ndarray, " n"]) -> list[int]:
    """The labels of at least 18 images, at most 200 of them: the commonest, ties in favour of the smaller label.

    Args:
        labels: of the training images; -1 for an image without a label.

    Raises:
        ImagesError: if no image has a label, or fewer than four classes have enough images.
    """
    if not (labels >= 0).any():
        raise ImagesError(
            "validation by training needs images with labels, and these have none; give images in class folders, or "
            "set `images.label_column`"
        )
    classes, counts = np.unique(labels[labels >= 0], return_counts=True)
    is_enough = counts >= FEWEST_IMAGES
    if is_enough.sum() < FEWEST_CLASSES:
        raise ImagesError(
            f"validation by training needs at least {FEWEST_CLASSES} classes of {FEWEST_IMAGES} training images or "
            f"more, and {is_enough.sum()} of {len(classes)} classes have so many (the largest has {counts.max()}); "
            "give more images of each class"
        )
    order = np.argsort(-counts[is_enough], kind="stable")[:MOST_CLASSES]
    return sorted(int(label) for label in classes[is_enough][order])


def n_merged(n_classes: int) -> int:
    """Number of merged outputs per network: three in ten classes are the major class of one.

    >>> n_merged(4), n_merged(10), n_merged(200)
    (1, 3, 60)
    """
    return max(1, 3 * n_classes // 10)


def designs(classes: Sequence[int], per_strength: int, *, layout: Layout, run_seed: int) -> list[list[Output]]:
    """The outputs of each network: merged ones first, then those of one class.

    Strengths take turns over all merged outputs, and there are as many networks as give each strength `per_strength`
    of them. Which classes are merged is drawn anew for each network; none is merged twice in a network.

    Args:
        classes: the labels in use, at least four.
        per_strength: number of merged outputs of each strength, over all networks.
        layout: whether merged classes have outputs of their own, too.
        run_seed: seed of the job.
    """
    merged = n_merged(len(classes))
    n_networks = math.ceil(per_strength * len(SHARES) / merged)
    kinds = list(SHARES)
    drawn: list[list[Output]] = []
    for network in range(n_networks):
        generator = np.random.default_rng(seed(run_seed, "validate trained: classes", "", network))
        order = [int(label) for label in generator.permutation(classes)]
        pairs = zip(order[:merged], order[merged : 2 * merged], strict=True)
        outputs = [
            Output(kinds[(network * merged + place) % len(kinds)], major, minor)
            for place, (major, minor) in enumerate(pairs)
        ]
        alone = order if layout == "beside" else order[2 * merged :]
        drawn.append([*outputs, *(Output(ONE_CLASS, label) for label in alone)])
    return drawn


def targets(
    labels: Int64[np.ndarray, " n"], outputs: Sequence[Output], generator: np.random.Generator
) -> Float32[np.ndarray, "n o"]:
    """What each output must say of each training image: 1 or 0; NaN where it is not trained on the image.

    A minor class that is seen less is represented by fewer images, and the output is not trained on the others. A
    smaller weight in the loss would do next to nothing: a network that fits all its images gives each of them its
    output, whatever the weights.

    Source: Byrd & Lipton 2019, "What is the effect of importance weighting in deep learning?".

    Args:
        labels: of the training images; -1 for none.
        outputs: of the network.
        generator: draws the images of minor classes.
    """
    used = {label for output in outputs for label in (output.major, output.minor) if label is not None}
    wanted = np.full((len(labels), len(outputs)), np.nan, dtype=np.float32)
    wanted[np.isin(labels, list(used))] = 0
    for place, output in enumerate(outputs):
        major = np.flatnonzero(labels == output.major)
        wanted[major, place] = 1
        if output.minor is not None:
            minor = generator.permutation(np.flatnonzero(labels == output.minor))
            n = math.ceil(min(len(major), len(minor)) / SHARES[output.kind])
            wanted[minor[:n], place], wanted[minor[n:], place] = 1, np.nan
    return wanted
