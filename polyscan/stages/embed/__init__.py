"""embed: maps each piece of evidence once into the space where it is compared.

Crops and visualizations go through an embedder. If a layer's units see only a part of the image, the scanned network's
own features at the peak's position say more than an embedding of the crop; they are gathered in one pass.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate

from polyscan.inputs import CollectedImages, check_worker, open_embedder, open_images, open_reader
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
    n_images = len(open_images(job)) if _has_feature_layers(run) else 0
    sizes = [1, len(crops_in_use(job, run)), n_images, len(run.read("visualizations", ["index"]))]
    limits = (1, job.embed.crops_per_shard, job.collect.images_per_shard, job.embed.crops_per_shard)
    ranges = [
        (start + shard.start, start + shard.stop)
        for start, size, most in zip([0, *accumulate(sizes)], sizes, limits, strict=False)
        for shard in split_within("embed", [size], most)
    ]
    return [Shard("embed", index, len(ranges), start, stop) for index, (start, stop) in enumerate(ranges)]


def _has_feature_layers(run: Run) -> bool:
    """Whether some layer is compared by the network's own features."""
    return bool((run.layer_table()["space"] != "image").any())


class Worker:
    """Holds the network, the embedder and the image source, and the four kinds of things to embed."""

    def __init__(self, job: Job, run: Run) -> None:
        images = open_images(job)
        reader = open_reader(job)
        check_worker(job, run, reader.network, images)
        collected = CollectedImages(images, run)
        embedder = open_embedder(job, reader.network)
        crops = Crops(job, run, collected, reader.network.preprocessing, embedder)
        visualizations = Visualizations(job, run, embedder)
        self.parts = (
            ConceptVectors(job, run, collected, reader.network.preprocessing, embedder),
            crops,
            Features(job, run, collected, reader),
            visualizations,
        )
        n_images = len(images) if _has_feature_layers(run) else 0
        self.starts = [0, *accumulate((1, len(crops), n_images))]

    def __call__(self, shard: Shard) -> dict[str, Columns]:
        """The tables of one range of items: concepts, embeddings with thumbnails, or features."""
        part = bisect_right(self.starts, shard.start) - 1
        start = self.starts[part]
        return self.parts[part](range(shard.start - start, shard.stop - start))
