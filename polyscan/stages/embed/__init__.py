"""embed: each piece of evidence, once, into the space where it is compared.

Crops and visualizations go through an embedder. Where a layer's units see but a part of the image, the scanned
network's own features at the peak's place say more than an embedding of the crop; they are gathered in one pass.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate

from polyscan.inputs import open_embedder, open_images, open_reader
from polyscan.job import Job
from polyscan.run import Run
from polyscan.shards import Shard, split_within
from polyscan.stages.embed.concepts import ConceptVectors
from polyscan.stages.embed.crops import Crops, crops_in_use
from polyscan.stages.embed.features import Features
from polyscan.stages.embed.visualizations import Visualizations
from polyscan.tables import Columns


def shards(job: Job, run: Run) -> list[Shard]:
    """The concepts, then ranges of distinct crops, of images for their features, and of visualizations."""
    layers = run.layer_table()
    n_images = len(open_images(job)) if (layers["space"] != "image").any() else 0
    n_visualizations = len(run.read("visualizations", ["index"]))
    sizes = [1, len(crops_in_use(job, run)), n_images, n_visualizations]
    whole = [
        split_within("embed", [size], most)
        for size, most in zip(
            sizes, (1, job.embed.crops_per_shard, job.collect.images_per_shard, job.embed.crops_per_shard), strict=True
        )
    ]
    starts = [0, *accumulate(sizes)]
    count = sum(map(len, whole))
    ranges = [
        (start + shard.start, start + shard.stop) for start, part in zip(starts, whole, strict=False) for shard in part
    ]
    return [Shard("embed", index, count, start, stop) for index, (start, stop) in enumerate(ranges)]


class Worker:
    """Holds the network, the embedder and the image source, and knows what is to be embedded."""

    def __init__(self, job: Job, run: Run) -> None:
        images = open_images(job)
        reader = open_reader(job)
        embedder = open_embedder(job, reader.network)
        crops = Crops(job, run, images, reader.network.preprocessing, embedder)
        visualizations = Visualizations(job, run, embedder)
        self.parts = (
            ConceptVectors(job, images, reader.network.preprocessing, embedder),
            crops,
            Features(job, run, images, reader),
            visualizations,
        )
        n_images = len(images) if (run.layer_table()["space"] != "image").any() else 0
        self.starts = [0, *accumulate((1, len(crops), n_images))]

    def __call__(self, shard: Shard) -> dict[str, Columns]:
        """What one range of items gives: concepts, embeddings with thumbnails, or features."""
        part = bisect_right(self.starts, shard.start) - 1
        start = self.starts[part]
        return self.parts[part](range(shard.start - start, shard.stop - start))
