"""torch-dreams' side of the race, in a process of its own.

The call is the batched one of its README, without its augmentation and with the mean of the channel as objective. Its
own step size is .009, which reaches less in so few steps; its gradients are clipped at a norm of 1, as it leaves that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch_dreams import Dreamer
from torch_dreams.batched_image_param import BatchedAutoImageParam
from torch_dreams.batched_objective import BatchedObjective

from benchmarks.inputs import SIDE_PX, device, resnet18_trunk
from benchmarks.peers.orders import carry_out
from benchmarks.race import seconds


def channel_mean(unit: int) -> Callable[[list[torch.Tensor]], torch.Tensor]:
    """What a batch's one image is to lower."""
    return lambda outputs: -outputs[0][0, unit].mean()


def batched(
    model: torch.nn.Module, layer: str, units: list[int], steps: int, step_size: float
) -> BatchedAutoImageParam:
    """One image a unit in one batch, at the image's own size, without augmentation."""
    dreamer = Dreamer(model, quiet=True, device=str(device()))
    dreamer.set_custom_transforms(torch.nn.Identity())
    images = BatchedAutoImageParam(
        batch_size=len(units), height=SIDE_PX, width=SIDE_PX, lr=step_size, device=str(device())
    )
    objective = BatchedObjective([channel_mean(unit) for unit in units])
    return dreamer.render(
        layers=[model.get_submodule(layer)], image_parameter=images, iters=steps, custom_func=objective
    )


def answer(order: dict[str, Any]) -> dict[str, Any]:
    """Carries out one order and leaves the images in its file, rounded to what would be saved."""
    model = resnet18_trunk().to(device())
    if order["frozen"]:
        model.requires_grad_(requires_grad=False)
    torch.manual_seed(order["seed"])
    np.random.seed(order["seed"])  # noqa: NPY002  # the peer draws its first images there
    made: list[BatchedAutoImageParam] = []
    took = seconds(
        lambda: made.append(batched(model, order["layer"], order["units"], order["steps"], order["step_size"]))
    )
    images = np.stack([image.to_hwc_tensor(device=str(device())).cpu().numpy() for image in made[0].image_params])
    np.save(order["file"], (images * 255).round().astype(np.uint8))
    return {"seconds": took}


if __name__ == "__main__":
    carry_out(answer)
