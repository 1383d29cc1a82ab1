"""A hand-wired network and painted images with known truth: one unit sees red, one red OR blue, one nothing at all.

Layer `paint` (1x1 convolution, batch norm with one NEGATIVE scale, in-place ReLU) has five units:
0 red, 1 red or blue, 2 green (through a negative scale), 3 dead, 4 brightness. `mix` (3x3) and `head` (linear) follow.
"""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from polyscan import job as jobs
from polyscan.images import ImageOptions, open_images
from polyscan.inputs import note_stamps
from polyscan.job import Job
from polyscan.pipeline import STAGES, shard_worker
from polyscan.results import Results
from polyscan.run import Run
from polyscan.worker import ShardWorker

N_IMAGES = 60
N_WIDE = 240
SIDE = 16
K = 8
COLOURS = {"red": (230, 20, 20), "green": (20, 230, 20), "blue": (20, 20, 230)}
RED, RED_OR_BLUE, GREEN, DEAD, BRIGHT = range(5)


class Toy(nn.Module):
    """Five painted units, four mixed ones, three classes."""

    def __init__(self) -> None:
        super().__init__()
        self.paint = nn.Conv2d(3, 5, 1)
        self.norm = nn.BatchNorm2d(5)
        self.relu = nn.ReLU(inplace=True)
        self.mix = nn.Conv2d(5, 4, 3, padding=1)
        self.head = nn.Linear(4, 3)
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            self.paint.weight.copy_(
                torch.tensor(
                    [[1.0, -1, -1], [1, -2, 1], [1, -1, 1], [0, 0, 0], [1, 1, 1]],
                )[:, :, None, None]
            )
            self.paint.bias.copy_(torch.tensor([0.0, 0.0, 0.0, -1.0, 0.0]))
            self.norm.weight.copy_(torch.tensor([1.0, 1.0, -1.0, 1.0, 1.0]))
            for weight in (self.mix.weight, self.mix.bias, self.head.weight, self.head.bias):
                weight.copy_(torch.randn(weight.shape, generator=generator))

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.norm(self.paint(x)))
        x = torch.relu(self.mix(x))
        return self.head(x.mean(dim=(2, 3)))


def network() -> Toy:
    """What `toy:network` builds."""
    return Toy()


def wide() -> nn.Module:
    """What `toy:wide` builds: random weights, enough channels for one thing and two to lie apart."""
    torch.manual_seed(0)
    return nn.Sequential(
        OrderedDict(
            fine=nn.Conv2d(3, 16, 3, padding=1),
            relu=nn.ReLU(inplace=True),
            coarse=nn.Conv2d(16, 24, 3, stride=2, padding=1),
            relu2=nn.ReLU(inplace=True),
            pool=nn.AdaptiveAvgPool2d(1),
            flat=nn.Flatten(),
            head=nn.Linear(24, 6),
        )
    )


def broad() -> nn.Module:
    """What `toy:broad` builds: more channels than a small survey has positions."""
    torch.manual_seed(0)
    parts = (("broad", nn.Conv2d(3, 80, 3)), ("relu", nn.ReLU()), ("last", nn.Conv2d(80, 4, 1)))
    return nn.Sequential(OrderedDict(parts))


def seeing_all() -> nn.Module:
    """What `toy:seeing_all` builds: every position of its last map sees all of the 16 x 16 image."""
    torch.manual_seed(0)
    parts = (("near", nn.Conv2d(3, 5, 1)), ("relu", nn.ReLU()), ("far", nn.Conv2d(5, 4, 31, padding=15)))
    return nn.Sequential(OrderedDict(parts))


class WithASilentLayer(Toy):
    """The toy with a layer beside `mix` that says the same of everything."""

    def __init__(self) -> None:
        super().__init__()
        self.silent = nn.Conv2d(5, 4, 1)
        with torch.no_grad():
            self.silent.weight.zero_()
            self.silent.bias.fill_(0.5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.norm(self.paint(x)))
        x = torch.relu(self.mix(x)) + self.silent(x)
        return self.head(x.mean(dim=(2, 3)))


def with_a_silent_layer() -> Toy:
    """What `toy:with_a_silent_layer` builds."""
    return WithASilentLayer()


def narrow() -> nn.Module:
    """What `toy:narrow` builds: a layer of one channel, and a layer that says the same of everything."""
    torch.manual_seed(0)
    dead = nn.Conv2d(16, 4, 1)
    nn.init.zeros_(dead.weight)
    return nn.Sequential(
        OrderedDict(
            fine=nn.Conv2d(3, 16, 3, padding=1),
            relu=nn.ReLU(),
            one=nn.Conv2d(16, 1, 1),
            more=nn.Conv2d(1, 16, 3),
            relu2=nn.ReLU(),
            dead=dead,
            last=nn.Conv2d(4, 3, 1),
        )
    )


BROKEN = float("nan")


def broken() -> Toy:
    """What `toy:broken` builds: a weight of its third painted unit is no number."""
    network = Toy()
    with torch.no_grad():
        network.paint.bias[2] = BROKEN
    return network


class Normalising(Toy):
    """Divides each image by its own spread, which is 0 for a flat one."""

    def forward(self, x: Tensor) -> Tensor:
        x = (x - x.mean(dim=(1, 2, 3), keepdim=True)) / x.std(dim=(1, 2, 3), keepdim=True)
        return super().forward(x)


def normalising() -> Toy:
    """What `toy:normalising` builds."""
    return Normalising()


def paint(folder: Path, *, n: int = N_IMAGES, seed: int = 0) -> Path:
    """A class folder of noisy pictures with one coloured square each, in turn red, green, blue."""
    generator = np.random.default_rng(seed)
    for number in range(n):
        name = list(COLOURS)[number % 3]
        pixels = generator.integers(0, 60, (SIDE, SIDE, 3), dtype=np.uint8)
        y, x = generator.integers(0, SIDE - 5, 2)
        pixels[y : y + 5, x : x + 5] = np.array(COLOURS[name]) - generator.integers(0, 20, 3)
        (folder / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / name / f"{number:03d}.png")
    return folder


def job(folder: Path, **changes: Any) -> Job:
    """A job on the toy, with its pictures painted into `folder`; changes by dotted key, dots written as `__`."""
    if not folder.exists():
        paint(folder)
    content: dict[str, Any] = {
        "folder": str(Path(__file__).parent),
        "network": {"name": "toy:network", "input_px": SIDE, "channels": 3},
        "images": {"source": str(folder)},
        "survey": {"readouts": 40, "controls": 6, "planted": 4, "images": N_IMAGES, "positions": 600},
        "collect": {"k": K, "batch": 8, "images_per_shard": 20},
        "visualize": {
            "distance": "features",
            "steps": 8,
            "batch": 8,
            "min_images": 3,
            "max_images": 5,
            "patience": 1,
            "units_per_shard": 2,
            "jitter_px": 1,
            "layers": ["paint", "mix"],
        },
        "embed": {"model": "penultimate", "batch": 16, "crops_per_shard": 40, "thumbnail_px": 16},
        "calibrate": {"embedding_sets": 40, "sets_per_shard": 40},
        "score": {"max_clusters": 4, "restarts": 4, "units_per_shard": 12},
        "picture": {"units_per_shard": 12},
    }
    for key, value in changes.items():
        *groups, name = key.split("__")
        place = content
        for group in groups:
            place = place.setdefault(group, {})
        place[name] = value
    return jobs.build(content, "the toy")


def job_with_all(folder: Path) -> Job:
    """The job on the toy with every stage that has shards on it, those that are off by default as well."""
    return job(folder, swap__enabled=True, swap__units="all", swap__recipients=4, swap__donors=2, swap__virtual_units=1)


def wide_job(folder: Path, **changes: Any) -> Job:
    """A job on the wide toy with pictures, readouts and exemplars enough for a null with power."""
    if not folder.exists():
        paint(folder, n=N_WIDE)
    settings: dict[str, Any] = {
        "network__name": "toy:wide",
        "visualize__enabled": False,
        "survey__readouts": 80,
        "survey__controls": 20,
        "survey__planted": 20,
        "survey__images": N_WIDE,
        "survey__positions": 4 * N_WIDE,
        "collect__k": 20,
        "collect__images_per_shard": 120,
        "collect__batch": 40,
        "embed__crops": False,
        "calibrate__sets_per_shard": 100,
        "score__units_per_shard": 64,
    }
    return job(folder, **{**settings, **changes})


def stored_job(results: Results) -> Job:
    """The job that a run was made with."""
    text = results.run.storage.read("job.toml").decode()
    return jobs.parse(text, "the run's job", {})


def forge_stamps(run: Path, images: Path) -> None:
    """Makes a run believe that its image files have not been written to since it read them."""
    note_stamps(Run(str(run)), open_images(str(images), options=ImageOptions()))


def worker_of(stage: str, job: Job, run: Run, fingerprint: str) -> ShardWorker:
    """What does the shards of the stage of that name."""
    return shard_worker(next(one for one in STAGES if one.name == stage), job, run, fingerprint)
