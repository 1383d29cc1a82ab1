"""One forward pass on noise, so that what a network can't take is told at once, in its own words."""

from __future__ import annotations

import re
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from polyscan.errors import ModelError
from polyscan.vision.memory import is_out_of_memory
from polyscan.vision.networks import Network
from polyscan.vision.own_code import required_arguments, told

CHANNELS = re.compile(r"to have (\d+) channels, but got (\d+)")

MEANS = (0.0, 1.0, -1.0)


def example(network: Network, count: int) -> Float[Tensor, "b c y x"]:
    """Inputs of fixed noise; they show whether a graph took another branch than the network."""
    shape = (network.preprocessing.channels, *network.preprocessing.size)
    noise = torch.randn(count, *shape, generator=torch.Generator().manual_seed(0))
    # Of several spreads and means, so that few layers are silent on all of them.
    kinds = torch.arange(count).view(-1, 1, 1, 1) % len(MEANS)
    noise = noise * (1 + kinds) + torch.tensor(MEANS)[kinds]
    return noise.to(network.device).contiguous(memory_format=network.preprocessing.memory_format)


def output_on(network: Network, images: Float[Tensor, "b c y x"], *, seed: int | None = 0) -> Any:
    """The network's output.

    Args:
        network: the network.
        images: its input.
        seed: of torch's random numbers during the pass; None to take them as they come.

    Raises:
        ModelError: if it does not take these inputs, with what to do.
    """
    try:
        with torch.random.fork_rng(devices=[], enabled=seed is not None):
            if seed is not None:
                torch.manual_seed(seed)
            return network.module(images)
    except (Exception, SystemExit) as error:  # the user's own code may raise anything
        if isinstance(error, RuntimeError) and is_out_of_memory(error):
            raise
        raise ModelError(
            f"{network.name} does not take images of shape {tuple(images.shape[1:])} ({_told(error)}); "
            f"{_advice(network.module, error, images.shape[1])}"
        ) from error


def _told(error: BaseException) -> str:
    return told(error) if isinstance(error, Exception) else f"it ended the program: {error!r}"


def _advice(module: nn.Module, error: BaseException, channels: int) -> str:
    if any(isinstance(part, nn.Conv3d) for part in module.modules()):
        return "it takes videos or volumes, and only networks of images can be scanned"
    if (wanted := CHANNELS.search(str(error))) and int(wanted[2]) == channels != int(wanted[1]):
        return f"set network.channels = {wanted[1]}"
    needed = required_arguments(module.forward)
    if len(needed) != 1:
        return (
            f"its forward needs {len(needed)} arguments ({', '.join(needed)}): "
            "wrap it in a module whose forward takes a batch of images alone"
        )
    return "check `input_px` and `channels` in [network]"
