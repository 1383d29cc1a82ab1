"""`python -m benchmarks.zoo [NAME ...]`: which networks of torchvision and timm are read, and where.

Each network is built with random weights and opened on all its layers. Peaks that the reader gives are compared with
those of plain forward hooks, for every layer that is read at its own output: they must be equal. The table goes to
standard output; with --write it replaces the one in `docs/networks.md`. What can't be opened is named with its reason,
and then the exit status is 1.
"""

from __future__ import annotations

import argparse
import gc
import os
import re
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.places import REPOSITORY

if TYPE_CHECKING:
    from polyscan.vision.readouts import Reader

TORCHVISION = """
alexnet convnext_tiny densenet121 densenet169 efficientnet_b0 efficientnet_b1 efficientnet_v2_s googlenet inception_v3
maxvit_t mnasnet0_5 mnasnet1_0 mobilenet_v2 mobilenet_v3_small mobilenet_v3_large regnet_x_400mf regnet_x_800mf
regnet_y_400mf regnet_y_800mf resnet18 resnet34 resnet50 resnext50_32x4d wide_resnet50_2 shufflenet_v2_x0_5
shufflenet_v2_x1_0 squeezenet1_0 squeezenet1_1 swin_t swin_v2_t vgg11 vgg11_bn vgg16 vgg16_bn vit_b_16 vit_b_32
deeplabv3_mobilenet_v3_large deeplabv3_resnet50 fcn_resnet50 lraspp_mobilenet_v3_large
"""
TIMM = """
resnet18 seresnet18 resnetv2_50 regnety_002 regnetz_005 convnext_atto convnextv2_atto efficientnet_b0
tf_efficientnetv2_b0 tf_efficientnet_lite0 mobilenetv3_small_050 mobilenetv4_conv_small ghostnet_050 densenet121
vgg11_bn inception_next_atto xception41 nf_resnet50 dm_nfnet_f0 dla34 hrnet_w18_small repvgg_a0 levit_128s
maxvit_nano_rw_256 vit_tiny_patch16_224 swin_tiny_patch4_window7_224 mixer_s32_224 poolformer_s12 edgenext_xx_small
darknet53 cspresnet50 selecsls42b res2net50_14w_8s skresnet18 resnest14d tresnet_m fastvit_t8 rdnet_tiny mobileone_s0
rexnet_100
"""
"""Forty of each library, so that every family of convolutional networks is there, and some others."""

NETWORKS = (*(f"torchvision:{name}" for name in TORCHVISION.split()), *(f"timm:{name}" for name in TIMM.split()))
PAGE = REPOSITORY / "docs" / "networks.md"
SAME = 1e-4
"""Largest difference of peaks, relative to a layer's largest: batches of other sizes are rounded in another way."""
BEGIN, END = "<!-- python -m benchmarks.zoo --write: begins -->", "<!-- ends -->"
HEAD = ("network", "graph", "layers", "units", "after a norm", "own output", "of whole image", "peaks", "seconds")
SIDE = 224
"""Input of networks whose weights name no crop: those for segmentation."""


@dataclass(frozen=True)
class Read:
    """How a network is read."""

    name: str
    untraced_because: str = ""
    layers: int = 0
    units: int = 0
    after_norm: float = 0.0
    own_output: float = 0.0
    whole_image: float = 0.0
    unequal: tuple[str, ...] = ()
    seconds: float = 0.0
    crash: str = ""

    def cells(self) -> tuple[str, ...]:
        """The row of the table."""
        if self.crash:
            return (f"`{self.name}`", f"not opened: {self.crash}", *[""] * (len(HEAD) - 2))
        shares = (f"{share:.0%}" for share in (self.after_norm, self.own_output, self.whole_image))
        graph = f"no: {self.untraced_because}" if self.untraced_because else "yes"
        peaks = f"differ: {', '.join(self.unequal)}" if self.unequal else "equal"
        return (f"`{self.name}`", graph, str(self.layers), f"{self.units:,}", *shares, peaks, f"{self.seconds:.1f}")


def main() -> int:
    """Returns 1 if a network could not be read as it is, else 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.zoo", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="networks to read; default: forty of each library")
    parser.add_argument("--write", action="store_true", help=f"put the table into {PAGE.name}")
    arguments = parser.parse_args()
    rows = list(all_read(arguments.names or NETWORKS))
    table = "\n".join(markdown(rows)) + "\n"
    sys.stdout.write(table)
    if arguments.write:
        text = PAGE.read_text(encoding="utf-8")
        filled = re.sub(f"{BEGIN}.*{END}", lambda _: f"{BEGIN}\n\n{table}\n{END}", text, flags=re.DOTALL)
        PAGE.write_text(filled, encoding="utf-8")
    return int(any(row.crash or row.unequal for row in rows))


def all_read(names: Sequence[str]) -> Iterator[Read]:
    """One network at a time; each is freed before the next."""
    for name in names:
        begun = time.monotonic()
        try:
            row = read(name)
        except Exception as error:  # that it can't be read is what the table says
            row = Read(name, crash=f"{type(error).__name__}: {error}".splitlines()[0])
        gc.collect()
        sys.stderr.write(f"{time.monotonic() - begun:6.1f} s  {' | '.join(row.cells())}\n")
        sys.stderr.flush()
        yield row


def read(name: str) -> Read:
    """Builds a network with random weights, opens a reader on all layers, and compares peaks."""
    import torch

    from polyscan.errors import ModelError
    from polyscan.studies.layers import UNTRAINED
    from polyscan.vision.networks import NetworkRequest, load_network
    from polyscan.vision.readouts import Reader

    cpu = torch.device("cpu")
    try:
        network = load_network(NetworkRequest(name, UNTRAINED), cpu)
    except ModelError as error:
        if "input_px" not in str(error):
            raise
        network = load_network(NetworkRequest(name, UNTRAINED, input_px=SIDE), cpu)
    begun = time.monotonic()
    reader = Reader(network, "all")
    seconds = time.monotonic() - begun
    points = reader.points
    readouts = [point.readout for point in points]
    return Read(
        name,
        reader.untraced_because,
        len(points),
        sum(point.n_channels for point in points),
        share(readout.startswith("after") for readout in readouts),
        share(is_own(readout) for readout in readouts),
        share(point.field is None for point in points),
        tuple(unequal_layers(reader)),
        seconds,
    )


def share(claims: Iterator[bool]) -> float:
    """Share of claims that are true."""
    values = list(claims)
    return sum(values) / len(values)


def is_own(readout: str) -> bool:
    """Whether a layer is read at the output of its own module."""
    return readout == "own output" or readout.startswith("module output")


def unequal_layers(reader: Reader) -> list[str]:
    """Layers read at their own output, whose peaks on two random images are not those that plain hooks see.

    The hooks see one image at a time, so that all of an output belongs to it, whatever axis holds the batch.
    """
    import torch

    from polyscan.vision.trial import example

    modules = dict(reader.network.module.named_modules())
    points = [
        (index, point)
        for index, point in enumerate(reader.points)
        if is_own(point.readout) and point.layer.partition("#")[0] in modules
    ]
    batch = example(reader.network, 2)
    read_peaks: dict[int, Any] = {}
    reader.read_peaks(batch, read_peaks.__setitem__)
    names = {point.layer.partition("#")[0] for _, point in points}
    alone = [hooked_outputs(reader.network.module, names, image) for image in batch.split(1)]
    unequal: list[str] = []
    for index, point in points:
        name, _, call = point.layer.partition("#")
        outputs = [seen[name][int(call or 1) - 1] for seen in alone]
        truth = torch.stack(
            [output.movedim(channels(modules[name], output), 0).flatten(1).amax(1) for output in outputs]
        )
        if not torch.allclose(read_peaks[index].value, truth, rtol=0, atol=SAME * float(truth.abs().max())):
            unequal.append(point.layer)
    return unequal


def channels(module: Any, output: Any) -> int:
    """The axis of the channels in a layer's output: before the positions of a convolution, else the last."""
    return output.ndim - 1 - len(getattr(module, "kernel_size", ()))


def hooked_outputs(module: Any, names: set[str], batch: Any) -> dict[str, list[Any]]:
    """The outputs of each of these modules, call by call, copied before anything overwrites them."""
    import torch

    seen: dict[str, list[Any]] = {name: [] for name in names}
    handles = [
        module.get_submodule(name).register_forward_hook(lambda _, __, out, name=name: seen[name].append(out.clone()))
        for name in names
    ]
    with torch.inference_mode():
        module(batch)
    for handle in handles:
        handle.remove()
    return seen


def markdown(rows: Sequence[Read]) -> Iterator[str]:
    """The rows as a Markdown table."""
    yield "| " + " | ".join(HEAD) + " |"
    yield "| --- | --- |" + " ---: |" * (len(HEAD) - 2)
    for row in rows:
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row.cells()) + " |"


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
