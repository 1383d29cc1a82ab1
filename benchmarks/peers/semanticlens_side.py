"""SemanticLens' side of the race, in a process of its own: the collector that its README makes a `Lens` of.

Units are pooled by the maximum over space (its own `aggregate_conv_max`), as polyscan reads them. It keeps its results
in a folder, which is a new one for each call: with an old one it would load them and do nothing.
"""

from __future__ import annotations

import tempfile
from typing import Any

import numpy as np
import torch
from semanticlens.component_visualization import ActivationComponentVisualizer
from semanticlens.component_visualization.aggregators import aggregate_conv_max

from benchmarks.inputs import mobilenet_module
from benchmarks.peers.orders import carry_out
from benchmarks.race import seconds
from benchmarks.races.collecting import BATCH, LAYERS, K
from benchmarks.races.views import Views


def collected(model: torch.nn.Module, images: Views, folder: str) -> np.ndarray:
    """Ids of each unit's strongest images [u, k]; -1 where it has none."""
    visualizer = ActivationComponentVisualizer(
        model,
        images,
        images,
        layer_names=list(LAYERS),
        num_samples=K,
        aggregate_fn=aggregate_conv_max,
        cache_dir=folder,
    )
    visualizer.run(batch_size=BATCH, num_workers=0)
    return np.concatenate([visualizer.get_max_reference(layer).numpy() for layer in LAYERS])


def answer(order: dict[str, Any]) -> dict[str, Any]:
    """Carries out one order and leaves the ids in its file."""
    model = mobilenet_module()
    model.name = "mobilenet_v2"
    images = Views(order["views"], order["images"])
    found: list[np.ndarray] = []
    with tempfile.TemporaryDirectory() as folder:
        took = seconds(lambda: found.append(collected(model, images, folder)))
    np.save(order["ids"], found[0])
    return {"seconds": took}


if __name__ == "__main__":
    carry_out(answer)
