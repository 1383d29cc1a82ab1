"""zennit-crp's side of the race, in a process of its own: its `FeatureVisualization.run`, without a composite.

It has no way to leave out the backward pass, so it also collects the images of largest relevance (here the gradient):
that is the work which a user who wants the strongest images has to wait for. Units are pooled by the maximum over
space, as polyscan reads them.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from crp.attribution import CondAttribution
from crp.concepts import ChannelConcept
from crp.helper import load_maximization
from crp.visualization import FeatureVisualization

from benchmarks.inputs import mobilenet_module
from benchmarks.peers.orders import carry_out
from benchmarks.race import seconds
from benchmarks.races.collecting import BATCH, LAYERS
from benchmarks.races.views import Views


def collected(model: torch.nn.Module, images: Views, folder: str) -> np.ndarray:
    """Ids of each unit's 40 strongest images [u, k]; so many are built into it."""
    concepts = {layer: ChannelConcept() for layer in LAYERS}
    collector = FeatureVisualization(
        CondAttribution(model), images, concepts, max_target="max", abs_norm=False, path=folder
    )
    collector.run(None, 0, len(images), BATCH)
    found = [load_maximization(Path(collector.ActMax.PATH), layer)[0] for layer in LAYERS]
    return np.concatenate([np.asarray(ids).T for ids in found])


def answer(order: dict[str, Any]) -> dict[str, Any]:
    """Carries out one order and leaves the ids in its file."""
    model = mobilenet_module()
    images = Views(order["views"], order["images"])
    found: list[np.ndarray] = []
    with tempfile.TemporaryDirectory() as folder:
        took = seconds(lambda: found.append(collected(model, images, folder)))
    np.save(order["ids"], found[0])
    return {"seconds": took}


if __name__ == "__main__":
    carry_out(answer)
