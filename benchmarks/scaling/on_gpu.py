"""What a GPU does: collect, gradient ascent and embedding by batch size, and whether pictures are the same twice.

    python -m benchmarks.scaling.on_gpu [--out build/gpu.json]

Architectures with random weights: speed does not depend on them. Nothing is read from a disk or the network.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from polyscan.vision.devices import pick_device
from polyscan.vision.embedders import penultimate
from polyscan.vision.feature_visualization import Ascent, AscentSettings, ascent_to
from polyscan.vision.networks import Network, NetworkRequest, load_network
from polyscan.vision.peaks import LayerPeakTally
from polyscan.vision.readouts import Reader

K = 100


def seconds(work: Callable[[], Any], repeats: int = 5) -> float:
    """Mean of some calls behind one that warms up."""
    work()
    torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(repeats):
        work()
    torch.cuda.synchronize()
    return (time.perf_counter() - started) / repeats


def collect(network: Network, layers: str, batch: int) -> dict[str, float]:
    """Images per second of the bare forward pass and of reading every unit's peaks on the way."""
    reader = Reader(network, layers)
    inputs = torch.randn(batch, 3, 224, 224, device=network.device).contiguous(memory_format=torch.channels_last)
    ids = torch.arange(batch, device=network.device)
    tallies = [
        LayerPeakTally(point.n_channels, k=K, layer=point.layer, device=network.device) for point in reader.points
    ]  # fmt: skip

    def bare() -> None:
        with torch.inference_mode():
            network.module(inputs)

    forward = seconds(bare)
    read = seconds(lambda: reader.read_peaks(inputs, lambda index, peaks: tallies[index].add(peaks, ids)))
    return {"bare_images_s": batch / forward, "collect_images_s": batch / read, "ratio": read / forward}


def ascent(reader: Reader, place: int, batch: int) -> dict[str, float]:
    """Milliseconds per image and step, and whether images are the same again and beside other neighbours."""
    point, settings = reader.points[place], AscentSettings(steps=16, batch=batch)
    machine = ascent_to(reader, point, settings)
    side = max(machine.shape.size)
    channels, seeds = [index % point.n_channels for index in range(batch)], list(range(batch))
    torch.cuda.reset_peak_memory_stats()
    each = seconds(lambda: machine(channels, seeds), 1) / settings.steps / batch * 1e3
    first = machine(channels, seeds)
    return {
        "px": side,
        "ms_per_image_step": each,
        "peak_gib": torch.cuda.max_memory_allocated() / 2**30,
        "equal_again": float((machine(channels, seeds) == first).all(axis=(1, 2, 3)).mean()),
        "equal_beside_others": same_beside_others(machine, channels, seeds, first),
    }


def same_beside_others(machine: Ascent, channels: list[int], seeds: list[int], first: np.ndarray) -> float:
    """Share of images that stay the same when the batch is turned round."""
    turned = machine(channels[::-1], seeds[::-1])[::-1]
    return float((turned == first).all(axis=(1, 2, 3)).mean())


def main() -> None:
    """Measures, fingerprints, writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("build/gpu.json"))
    out = parser.parse_args().out
    if not torch.cuda.is_available():
        sys.exit("this machine has no CUDA GPU")
    device = pick_device("cuda")
    found: dict[str, Any] = {"gpu": torch.cuda.get_device_name(0), "torch": torch.__version__}

    def note(name: str, figures: dict[str, float]) -> None:
        found[name] = figures
        print(name, {key: round(value, 4) for key, value in figures.items()}, flush=True)
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(found, indent=1))

    network = load_network(NetworkRequest("torchvision:resnet50", "random"), device)
    for layers in ("blocks", "all"):
        for batch in (64, 256):
            note(f"collect resnet50 {layers} batch {batch}", collect(network, layers, batch))
    network = load_network(NetworkRequest("torchvision:mobilenet_v2", "random"), device)
    reader = Reader(network, "blocks")
    for place in (3, 9, 16):
        for batch in (16, 64, 256):
            note(f"ascent mobilenet_v2 {reader.points[place].layer} batch {batch}", ascent(reader, place, batch))
    encode = penultimate(network)
    for side in (64, 224):
        inputs = torch.randn(512, 3, side, side, device=device).contiguous(memory_format=torch.channels_last)
        with torch.inference_mode():
            note(f"embed mobilenet_v2 {side} px", {"crops_s": 512 / seconds(lambda x=inputs: encode(x))})


if __name__ == "__main__":
    main()
