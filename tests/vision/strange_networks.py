"""Networks built at random from the parts that go wrong when a network is read: what they are is known, part by part.

Each network tells the place at which each of its layers is ready (a module's name, and the axis of its channels there),
and whether it must be refused: because it is random, or looks at the other images of a batch.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune
from torchvision.ops import FrozenBatchNorm2d

WIDTH = 4
SIDE = 16


@dataclass
class Ready:
    """Where a layer is ready: the module whose output is read, and the axis of its channels."""

    module: str
    channels: int


@dataclass
class Built:
    """A network, its ready places by layer, and why it must be refused ("" if it must not)."""

    network: nn.Module
    ready: dict[str, Ready]
    parts: list[str]
    refused_as: str = ""


# ---- norms -----------------------------------------------------------------------------------------------------------


class OwnNorm(nn.Module):
    """A layer norm over channels, written out."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(WIDTH))
        self.bias = nn.Parameter(torch.randn(WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(1, keepdim=True)
        spread = (x - mean).pow(2).mean(1, keepdim=True)
        return (x - mean) / (spread + 1e-5).sqrt() * self.weight[:, None, None] + self.bias[:, None, None]


class ScaleShift(nn.Module):
    """A factor and a summand per channel, as some networks have in place of a norm."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.randn(1, WIDTH, 1, 1))
        self.shift = nn.Parameter(torch.randn(1, WIDTH, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale + self.shift


class Turned(nn.Module):
    """A layer norm on channels that come last, as in ConvNeXt; the maps come back as they were."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def frozen() -> nn.Module:
    norm = FrozenBatchNorm2d(WIDTH)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    nn.init.uniform_(norm.running_var, 0.5, 2)
    return norm


def with_random_scales(norm: nn.Module) -> nn.Module:
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    if getattr(norm, "running_var", None) is not None:
        nn.init.normal_(norm.running_mean)
        nn.init.uniform_(norm.running_var, 0.5, 2)
    return norm


NORMS: dict[str, Callable[[], nn.Module]] = {
    "batch": lambda: with_random_scales(nn.BatchNorm2d(WIDTH)),
    "sync batch": lambda: with_random_scales(nn.SyncBatchNorm(WIDTH)),
    "group": lambda: with_random_scales(nn.GroupNorm(2, WIDTH)),
    "instance": lambda: with_random_scales(nn.InstanceNorm2d(WIDTH, affine=True)),
    "frozen": frozen,
    "own": OwnNorm,
    "scale and shift": ScaleShift,
    "turned": Turned,
}


class ByBatch(nn.BatchNorm2d):
    """A batch norm that takes its statistics from the batch."""

    def __init__(self) -> None:
        super().__init__(WIDTH, track_running_stats=False)
        nn.init.normal_(self.weight)


# ---- convolutions ----------------------------------------------------------------------------------------------------


class WithParameter(nn.Module):
    """A convolution whose kernel is a parameter, not a module's."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(WIDTH, WIDTH, 3, 3) / 5)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.kernel, padding=1)


def convolution() -> nn.Conv2d:
    return nn.Conv2d(WIDTH, WIDTH, 3, padding=1)


CONVOLUTIONS: dict[str, Callable[[], nn.Module]] = {
    "plain": convolution,
    "pointwise": lambda: nn.Conv2d(WIDTH, WIDTH, 1),
    "depthwise": lambda: nn.Conv2d(WIDTH, WIDTH, 3, padding=1, groups=WIDTH),
    "strided": lambda: nn.Conv2d(WIDTH, WIDTH, 3, padding=1, stride=2),
    "transposed": lambda: nn.ConvTranspose2d(WIDTH, WIDTH, 2, stride=2),
    "weight norm": lambda: parametrizations.weight_norm(convolution()),
    "spectral norm": lambda: parametrizations.spectral_norm(convolution()),
    "pruned": lambda: prune.l1_unstructured(convolution(), "weight", 0.5),
    "parameter": WithParameter,
}


# ---- activations and other operations between layers -----------------------------------------------------------------


class Call(nn.Module):
    """A function as a module, so that parts can be written in one line."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def written_over(x: Tensor) -> Tensor:
    """Overwrites its input by `out=`, and a part of it by assignment."""
    torch.add(x, 1, out=x)
    x[:, :2] *= 0.5
    return x


def unnamed(x: Tensor) -> Tensor:
    """Overwrites its input by a statement whose result has no name."""
    F.relu(x, True)
    return x


def of_a_view(x: Tensor) -> Tensor:
    """Overwrites its input through a view."""
    x[:, :1].mul_(-1)
    return x


ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "relu in place": lambda: nn.ReLU(inplace=True),
    "functional relu in place": lambda: Call(unnamed),
    "relu_": lambda: Call(torch.relu_),
    "hardswish": lambda: nn.Hardswish(inplace=True),
    "gelu": lambda: Call(F.gelu),
    "silu": nn.SiLU,
    "out=": lambda: Call(written_over),
    "view": lambda: Call(of_a_view),
    "dropout": lambda: nn.Dropout2d(0.5),
    "nothing": nn.Identity,
}


class Optional(nn.Module):
    """Has arguments that are left out when it is scanned."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor, mask: Tensor | None = None, *, scale: float = 1.0) -> Tensor:
        x = self.inner(x)
        if mask is not None:
            x = x * mask
        return x * scale if scale != 1.0 else x


class Untraceable(nn.Module):
    """Branches on values, which can't be traced."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) if float(x.abs().sum()) >= 0 else x


class AddsInput(nn.Module):
    """Adds its input in place, if the shapes fit."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        y = self.inner(x)
        if y.shape == x.shape:
            y += x
        return y


# ---- batches inside --------------------------------------------------------------------------------------------------


class Tiles(nn.Module):
    """Each image as 4 tiles, the tiles of an image one after the other."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        tiles = x.reshape(b, c, 2, h // 2, 2, w // 2).permute(0, 2, 4, 1, 3, 5).reshape(b * 4, c, h // 2, w // 2)
        return F.adaptive_avg_pool2d(self.inner(tiles), 4).reshape(b, 4, -1, 4, 4).mean(1)


class Mirrored(nn.Module):
    """All images, then all of them mirrored."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        one, other = self.inner(torch.cat([x, x.flip(3)])).chunk(2)
        return one + other


class Halves(nn.Module):
    """Mirrored copies of tiles: the images in the middle of the axis."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.both = Mirrored(Tiles(inner))

    def forward(self, x: Tensor) -> Tensor:
        return self.both(x)


class TimeFirst(nn.Module):
    """Positions as a sequence with time first, through a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.mix(x.flatten(2).permute(2, 0, 1)))
        return y.permute(1, 2, 0).reshape(x.shape)


class Folded(nn.Module):
    """Positions and images in one axis, time outermost, as in a CRNN."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        t = x.flatten(2).permute(2, 0, 1)
        steps, b, c = t.shape
        return self.mix(t.reshape(steps * b, c)).view(steps, b, c).permute(1, 2, 0).reshape(x.shape)


class Windows(nn.Module):
    """Windows of tokens, as in Swin: images outermost, a linear layer on the last axis."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        y = self.mix(x.permute(0, 2, 3, 1).reshape(b * h, w, c))
        return y.reshape(b, h, w, c).permute(0, 3, 1, 2)


WRAPS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "optional arguments": Optional,
    "untraceable": Untraceable,
    "adds its input": AddsInput,
    "tiles": Tiles,
    "mirrored": Mirrored,
    "halves": Halves,
}
MIXES: dict[str, Callable[[], nn.Module]] = {"time first": TimeFirst, "folded": Folded, "windows": Windows}


# ---- building --------------------------------------------------------------------------------------------------------


def build(seed: int) -> Built:
    """A network of two to four parts, each wrapped in nothing or in something strange."""
    draw = random.Random(seed)
    torch.manual_seed(seed)
    built = Built(nn.Sequential(nn.Conv2d(3, WIDTH, 1)), {"0": Ready("0", 1)}, [])
    for _ in range(draw.randint(1, 3)):
        _append(built, draw)
    n = len(built.network)
    built.network.append(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(WIDTH, 5)))
    built.ready[f"{n}.2"] = Ready(f"{n}.2", -1)
    return built


def _append(built: Built, draw: random.Random) -> None:
    position = str(len(built.network))
    if draw.random() < 0.25:
        name = draw.choice(list(MIXES))
        built.network.append(MIXES[name]())
        built.ready[f"{position}.mix"] = Ready(f"{position}.mix", -1)
        built.parts.append(name)
        return
    kinds = draw.choice(list(CONVOLUTIONS)), draw.choice([*NORMS, "", ""]), draw.choice(list(ACTIVATIONS))
    part = nn.Sequential(CONVOLUTIONS[kinds[0]](), *([NORMS[kinds[1]]()] if kinds[1] else []), ACTIVATIONS[kinds[2]]())
    inner = "inner." if (wrap := draw.choice([*WRAPS, "", "", ""])) else ""
    inner = "both.inner.inner." if wrap == "halves" else inner
    layer = f"{position}.{inner}0" + (".kernel" if kinds[0] == "parameter" else "")
    built.ready[layer] = _ready(f"{position}.{inner}", kinds[1])
    if draw.random() < 0.08 and not built.refused_as:
        _spoil(part, built, draw)
    built.network.append(WRAPS[wrap](part) if wrap else part)
    built.parts.append(" / ".join((*kinds, wrap)))


def _ready(prefix: str, norm: str) -> Ready:
    if norm == "turned":
        return Ready(f"{prefix}1.norm", 3)
    return Ready(f"{prefix}1" if norm else f"{prefix}0", 1)


def _spoil(part: nn.Sequential, built: Built, draw: random.Random) -> None:
    """Adds something after which no image has values of its own."""
    if draw.random() < 0.5:
        part.append(Call(lambda x: F.dropout(x + 1, 0.5)))
        built.refused_as = "random"
    else:
        part.append(ByBatch())
        built.refused_as = "by batch"
