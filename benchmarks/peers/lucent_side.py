"""The peer's side of the race: a process of its own, so that torch-lucent never enters polyscan's environment.

The calls are those of the peer's own README and the best batched one that its API offers; the network is loaded anew
for each, outside the measured time, because `render_vis` leaves its hooks on the network it is given.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from lucent.optvis import objectives, param, render

from benchmarks.inputs import SIDE_PX, device, resnet18_trunk
from benchmarks.peers.orders import carry_out
from benchmarks.race import seconds


def documented(model: torch.nn.Module, layer: str, unit: int, steps: int) -> list[np.ndarray]:
    """One unit, everything else as the peer's README leaves it: shown at 224 px, with its own augmentation."""
    return render.render_vis(model, f"{layer}:{unit}", thresholds=(steps,), show_image=False, progress=False)


def batched(model: torch.nn.Module, layer: str, units: list[int], steps: int, step_size: float) -> list[np.ndarray]:
    """One image a unit in one batch, at the image's own size, without augmentation."""
    each = [objectives.channel(layer, unit, batch=place) for place, unit in enumerate(units)]
    return render.render_vis(
        model,
        objectives.Objective.sum(each),
        lambda: param.image(SIDE_PX, batch=len(units)),
        optimizer=lambda parameters: torch.optim.Adam(parameters, lr=step_size),
        thresholds=(steps,),
        transforms=[],
        fixed_image_size=SIDE_PX,
        show_image=False,
        progress=False,
    )


def answer(order: dict[str, Any]) -> dict[str, Any]:
    """Carries out one order and leaves the images in its file, as the peer's own export rounds them."""
    model = resnet18_trunk().to(device())
    if order["frozen"]:
        model.requires_grad_(requires_grad=False)
    torch.manual_seed(order["seed"])
    np.random.seed(order["seed"])  # noqa: NPY002  # the peer draws its augmentation there
    made: list[np.ndarray] = []
    layer, units, steps = order["layer"], order["units"], order["steps"]
    if order["call"] == "batched":
        took = seconds(lambda: made.append(batched(model, layer, units, steps, order["step_size"])[-1]))
    else:
        took = seconds(lambda: made.extend(documented(model, layer, unit, steps)[-1] for unit in units))
    np.save(order["file"], (np.concatenate(made) * 255).round().astype(np.uint8))
    return {"seconds": took}


if __name__ == "__main__":
    carry_out(answer)
