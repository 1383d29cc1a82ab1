"""`python -m benchmarks.real NAME RUN [--seed N] [--set KEY=VALUE ...]`: the scans behind `docs/measured.md`.

Real networks on real images of POLYSCAN_TEST_DATA, without visualizations, on two Ray workers. `benchmarks.findings`,
`benchmarks.mixtures`, `benchmarks.agreement` and `benchmarks.sheet` read the runs.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polyscan
from benchmarks.inputs import held
from benchmarks.places import DATA
from polyscan import job as jobs
from polyscan.studies.scanning import jobs_folder

TINY = "images/tiny_imagenet_train_10000.parquet"
PLANTS = ["planted", "planted50", "planted20", "one_class", "two_classes", "two_classes50", "random"]
JSON = tuple('0123456789[{"-')
"""What a number, a list or a text in quotes begins with; other values are texts."""
BLOCKS = [2, 4, 7, 10, 11, 12, 14, 16, 17, 18]
COMMON: Mapping[str, Any] = {
    "images.source": TINY,
    "survey.controls": 100,
    "survey.planted": 60,
    "survey.plants": PLANTS,
    "visualize.enabled": False,
    "embed.crops": False,
    "collect.images_per_shard": 500,
}


def imagenet(name: str, px: int, layers: Any) -> dict[str, Any]:
    """A network of torchvision with ImageNet weights, which sees images at this size."""
    network = {"name": f"torchvision:{name}", "weights": "IMAGENET1K_V1", "input_px": px, "resize_px": px}
    return {**{f"network.{key}": value for key, value in network.items()}, "network.layers": layers}


SCANS: dict[str, dict[str, Any]] = {
    "mobilenet_v2": imagenet("mobilenet_v2", 128, [*(f"features.{i}" for i in BLOCKS), "classifier.1"]),
    "mobilenet_v2-few": imagenet("mobilenet_v2", 128, [f"features.{i}" for i in (4, 14, 17, 18)]),
    "squeezenet1_1": imagenet("squeezenet1_1", 128, [*(f"features.{i}" for i in (3, 6, 9, 12)), "classifier.1"]),
    "resnet50": {
        **imagenet("resnet50", 64, "blocks"),
        "survey.controls": 40,
        "survey.planted": 40,
        "survey.plants": ["planted", "planted50", "random"],
    },
    "resnet20": {
        "network.name": "resnet20:cifar10",
        "network.weights": "weights/resnet20-cifar10.safetensors",
        "network.input_px": 32,
        "network.mean": (0.485, 0.456, 0.406),
        "network.std": (0.229, 0.224, 0.225),
        "network.layers": "blocks",
        "images.source": "images/cifar10_test_10000.parquet",
        "embed.pool": False,
    },
}


def settings_of(name: str, changes: list[str]) -> dict[str, Any]:
    """The settings of a scan by dotted key, with the places of its data; `changes` as in `collect.k=50`."""
    settings = {**COMMON, **SCANS[name], "folder": str(jobs_folder())}
    for key in ("images.source", "network.weights"):
        if Path(settings[key]).suffix:
            settings[key] = str(held(settings[key]))
    for change in changes:
        key, _, value = change.partition("=")
        settings[key] = json.loads(value) if value[:1] in JSON else value
    return settings


def main() -> None:
    """Makes one scan."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=SCANS)
    parser.add_argument("run")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    os.environ["TORCH_HOME"] = str(DATA / "torch_home")
    job = jobs.fill({**settings_of(args.name, args.set), "seed": args.seed})
    print(polyscan.scan(job, args.run, on="ray", workers=args.workers))


if __name__ == "__main__":
    main()
