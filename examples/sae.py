"""Trains a small top-k sparse autoencoder on a layer, and writes its latents as directions that polyscan scans.

    python examples/sae.py jobs/mine.toml features.14 --latents 512 --out sae.safetensors
    polyscan scan jobs/mine.toml --run runs/sae --directions features.14=sae.safetensors

The autoencoder is that of Gao et al. 2024 ("Scaling and evaluating sparse autoencoders", section 2.1, without its
auxiliary loss): x' = D topk(E (x - b) + e) + b, on single vectors of the layer's map. Latents that never fire are left
out.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from polyscan.inputs import batches, open_images, open_network, pinned_threads
from polyscan.job import Job
from polyscan.studies.scanning import job_of
from polyscan.vision.readouts import Reader

BATCH, RATE, PER_IMAGE = 512, 1e-3, 16


class TopKAutoencoder(nn.Module):
    """Latents of which the k largest are kept; the decoder begins as the encoder's transpose."""

    def __init__(self, n_channels: int, n_latents: int, k: int, mean: Tensor) -> None:
        super().__init__()
        self.k = k
        self.centre = nn.Parameter(mean.clone())
        self.encoder = nn.Linear(n_channels, n_latents)
        self.decoder = nn.Linear(n_latents, n_channels, bias=False)
        with torch.no_grad():
            self.encoder.bias.zero_()
            self.decoder.weight.copy_(nn.functional.normalize(self.encoder.weight, dim=1).T)

    def latents(self, x: Tensor) -> Tensor:
        """The kept latents; the others are 0."""
        values = torch.relu(self.encoder(x - self.centre))
        top = values.topk(self.k, dim=1)
        return torch.zeros_like(values).scatter(1, top.indices, top.values)

    def forward(self, x: Tensor) -> Tensor:
        """The reconstruction."""
        return self.decoder(self.latents(x)) + self.centre


def layer_vectors(job: Job, layer: str) -> Tensor:
    """Vectors of the layer at seeded positions of all images of the job, [n, channels]."""
    network, images = open_network(job), open_images(job)
    reader = Reader(network, [layer])
    generator = torch.Generator().manual_seed(job.seed)
    kept: list[Tensor] = []
    for batch in batches(network, images, range(len(images)), job.collect.batch):

        def keep(_: int, maps: Tensor, n: int = len(batch)) -> None:
            flat = maps[:n].flatten(2).permute(0, 2, 1)  # [b, positions, c]
            places = torch.randint(flat.shape[1], (n, min(PER_IMAGE, flat.shape[1])), generator=generator)
            kept.append(flat[torch.arange(n)[:, None], places.to(flat.device)].flatten(0, 1).cpu().float())

        reader.read(batch.inputs, keep)
    return torch.cat(kept)


def trained(vectors: Tensor, n_latents: int, k: int, steps: int, seed: int) -> TopKAutoencoder:
    """The autoencoder after so many steps of Adam."""
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    model = TopKAutoencoder(vectors.shape[1], n_latents, k, vectors.mean(dim=0))
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    for _ in range(steps):
        x = vectors[torch.randint(len(vectors), (BATCH,), generator=generator)]
        loss = (model(x) - x).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():  # columns of length 1, so that latents can't shrink
            model.decoder.weight.copy_(nn.functional.normalize(model.decoder.weight, dim=0))
    return model


def main() -> None:
    """Trains, reports, and writes the directions."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("job", help="a job file; its network, images, seed and threads are taken")
    parser.add_argument("layer")
    parser.add_argument("--latents", type=int, default=512)
    parser.add_argument("--k", type=int, default=16, help="latents that fire on a vector")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--out", type=Path, default=Path("sae.safetensors"))
    given = parser.parse_args()
    job = job_of(given.job)
    with pinned_threads(job):
        vectors = layer_vectors(job, given.layer)
        scale = vectors.std()  # so that one rate of learning suits every layer
        model = trained(vectors / scale, given.latents, given.k, given.steps, job.seed)
        with torch.no_grad():
            parts = (vectors / scale).split(8192)
            fires = torch.stack([(model.latents(part) > 0).float().sum(dim=0) for part in parts]).sum(dim=0)
            left = torch.stack([(model(part) - part).square().sum() for part in parts]).sum()
            explained = 1 - left / (vectors / scale - vectors.mean(dim=0) / scale).square().sum()
            live = fires > 0
            weights = model.encoder.weight[live] / scale
            bias = model.encoder.bias[live] - model.encoder.weight[live] @ model.centre
    names = json.dumps([f"latent {number}" for number in torch.nonzero(live).flatten().tolist()])
    tensors = {"weights": weights.contiguous(), "bias": bias.contiguous()}
    save_file(tensors, str(given.out), {"names": names, "activation": "relu"})
    print(f"{len(vectors):,} vectors, {int(live.sum())} of {given.latents} latents fire, explained {explained:.1%}")
    print(f"{given.out}: polyscan scan {given.job} --run runs/sae --directions {given.layer}={given.out}")


if __name__ == "__main__":
    main()
