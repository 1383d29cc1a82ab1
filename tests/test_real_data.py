"""Real weights and real images: exemplars against brute force, and a whole scan in miniature."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import polyscan
from polyscan import job as jobs
from polyscan.images import ImageOptions, Picture, open_images
from polyscan.job import Job
from polyscan.vision.networks import NetworkRequest, load_network

N_IMAGES, K = 96, 10
LAYERS = {  # layer: the module behind which it is read
    "features.0.0": "features.0.1",
    "features.4.conv.1.0": "features.4.conv.1.1",
    "features.14.conv.2": "features.14.conv.3",
}


@pytest.fixture
def job(shared_data: Path, torch_home: Path) -> Job:
    return jobs.build(
        {
            "network": {"name": "torchvision:mobilenet_v2", "weights": "IMAGENET1K_V1", "layers": list(LAYERS)},
            "images": {"source": str(shared_data / "images" / "imagenet_sample_1000.parquet"), "limit": N_IMAGES},
            "survey": {"readouts": 24, "controls": 8, "planted": 4, "images": N_IMAGES, "positions": 2000},
            "collect": {"k": K, "batch": 16, "images_per_shard": 40},
            "visualize": {
                "layers": ["features.4*"], "units_per_layer": 2, "steps": 16, "batch": 8,
                "min_images": 3, "max_images": 4, "distance": "lpips:squeeze",
            },
            "embed": {"model": "torchvision:squeezenet1_1/IMAGENET1K_V1", "input_px": 64},
            "calibrate": {"embedding_sets": 24},
            "score": {"max_clusters": 4, "restarts": 4},
        },
        "the test",
    )  # fmt: skip


@pytest.mark.slow
def test_exemplars_of_mobilenet_equal_a_brute_force_top_k(job: Job, tmp_path: Path, no_pages: None) -> None:
    results = polyscan.scan(job, str(tmp_path / "run"))
    peaks = brute_force(job)
    exemplars = results.table("exemplars")
    generator = np.random.default_rng(0)
    compared = 0
    for layer, values in peaks.items():
        mine = exemplars[exemplars["layer"] == layer]
        for channel in generator.choice(values.shape[1], 50, replace=values.shape[1] < 50):
            found = mine[mine["channel"] == channel].sort_values("rank")
            best = np.lexsort((np.arange(N_IMAGES), -values[:, channel]))[:K]
            assert found["image"].tolist() == best.tolist(), (layer, channel)
            assert np.array_equal(found["activation"].to_numpy(), values[best, channel])
            compared += 1
    assert compared == 150
    frame = results.map
    assert len(frame) == sum(values.shape[1] for values in peaks.values())
    assert np.isfinite(frame.loc[~frame["is_dead"], "semanticity"]).all()
    assert frame["visualization_beats_data"].notna().sum() == 2
    assert results.run.manifest()["distance"].startswith("lpips 0.1.4 squeeze")


def brute_force(job: Job) -> dict[str, np.ndarray]:
    """Peaks [image, unit] of each layer by plain hooks on a network of its own, in the same batches."""
    network = load_network(NetworkRequest("torchvision:mobilenet_v2", "IMAGENET1K_V1"), torch.device("cpu"))
    modules = dict(network.module.named_modules())
    peaks: dict[str, list[np.ndarray]] = {layer: [] for layer in LAYERS}
    for layer, behind in LAYERS.items():

        def hook(_module: object, _inputs: object, output: torch.Tensor, layer: str = layer) -> None:
            peaks[layer].append(output.flatten(2).amax(dim=2).numpy() if output.ndim == 4 else output.numpy().copy())

        modules[behind].register_forward_hook(hook)
    source = open_images(job.images.source, options=ImageOptions(limit=N_IMAGES))
    pictures = [entry for entry in source.read(range(N_IMAGES)) if isinstance(entry, Picture)]
    views = np.stack([network.preprocessing.view(picture.pixels) for picture in pictures])
    with torch.inference_mode():
        for start in range(0, N_IMAGES, job.collect.batch):
            network.module(network.preprocessing.batch(views[start : start + job.collect.batch], network.device))
    return {layer: np.concatenate(blocks) for layer, blocks in peaks.items()}
