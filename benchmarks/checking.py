"""Seconds that the check before a scan takes: opening a network's graph, and reading images in several companies.

python -m benchmarks.checking
"""

from __future__ import annotations

import time

import torch

from polyscan.vision.checking import check_reading, values_on_noise
from polyscan.vision.networks import NetworkRequest, load_network
from polyscan.vision.readouts import Reader
from polyscan.vision.trial import example

NAMES = ("torchvision:mobilenet_v2", "torchvision:resnet50")
TIMES = 3


def main() -> None:
    """Prints the shortest of three times, on one core."""
    torch.set_num_threads(1)
    for name in NAMES:
        opened, checked = zip(*(times(name) for _ in range(TIMES)), strict=True)
        print(f"{name}: graph and places {min(opened):.2f} s, check {min(checked):.2f} s")


def times(name: str) -> tuple[float, float]:
    """Seconds to open all layers of a network, and to check it."""
    network = load_network(NetworkRequest(name, "random"), torch.device("cpu"))
    images = example(network, 2)
    start = time.perf_counter()
    reader = Reader(network, "all")
    opened = time.perf_counter()
    values_on_noise(reader)
    check_reading(reader, images)
    return opened - start, time.perf_counter() - opened


if __name__ == "__main__":
    main()
