"""What a network gives, by plain hooks on a module of its own: nothing of the pipeline's reading is used."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from polyscan.images import Picture
from polyscan.inputs.opening import open_images
from polyscan.job import Job
from polyscan.vision.networks import NetworkRequest, load_network


def maps_of(job: Job, behind: dict[str, str]) -> dict[str, np.ndarray]:
    """Maps [image, channel, y, x] of each layer, taken behind the module named beside it, in the job's batches.

    A name that begins with `>` is that of a module whose input is taken.
    """
    wanted = job.network.model_dump(exclude={"layers"})
    network = load_network(NetworkRequest(**wanted, folder=job.folder), torch.device("cpu"))
    modules: dict[str, nn.Module] = dict(network.module.named_modules())
    found: dict[str, list[np.ndarray]] = {layer: [] for layer in behind}
    for layer, name in behind.items():

        def hook(_module: object, _inputs: object, output: torch.Tensor, layer: str = layer) -> None:
            found[layer].append((output if output.ndim == 4 else output[:, :, None, None]).numpy().copy())

        def pre_hook(module: nn.Module, inputs: tuple[torch.Tensor], hook=hook) -> None:
            hook(module, None, inputs[0])

        if name.startswith(">"):
            modules[name[1:]].register_forward_pre_hook(pre_hook)
        else:
            modules[name].register_forward_hook(hook)
    source = open_images(job)
    pictures = [entry for entry in source.read(range(len(source))) if isinstance(entry, Picture)]
    views = np.stack([network.preprocessing.view(picture.pixels) for picture in pictures])
    with torch.inference_mode():
        for start in range(0, len(views), job.collect.batch):
            part = views[start : start + job.collect.batch]
            padded = np.zeros((job.collect.batch, *part.shape[1:]), dtype=np.uint8)
            padded[: len(part)] = part
            network.module(network.preprocessing.batch(padded, network.device))
    return {layer: np.concatenate(blocks)[: len(views)] for layer, blocks in found.items()}


TOY = {"paint": "norm", "mix": "mix", "head": "head"}
WIDE = {"fine": "fine", "coarse": "coarse", "head": "head"}
READ = {"paint": "norm", "mix": "mix", "fine": "fine", "coarse": "coarse", "head": ">head"}
"""What readouts of each layer read: `head` has few channels, so they are made of its inputs."""


def top(values: np.ndarray, k: int, ids: np.ndarray | None = None) -> list[int]:
    """Images of the k largest values, equal ones by rising image."""
    ids = np.arange(len(values)) if ids is None else ids
    return sorted(ids.tolist(), key=lambda image: (-values[image], image))[:k]
