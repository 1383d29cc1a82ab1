"""Vectors of crops in the space of the model that names: of units' items, of random crops, and of whole images."""

from __future__ import annotations

import numpy as np
import pandas as pd
from jaxtyping import Float32, Float64

from polyscan.evidence import whole_images
from polyscan.inputs import BOX, CollectedImages, cut_out, embedded
from polyscan.job import Job
from polyscan.run import Run
from polyscan.shards import seed
from polyscan.tables.boxes import boxes_of
from polyscan.tables.keys import crop_keys
from polyscan.vision.embedders import Embedder
from polyscan.vision.preprocessing import Preprocessing

POOL = 512
"""Random crops per layer, of which random sets are drawn."""
KEPT_BYTES = 256e6
"""Vectors kept in memory: many units of many layers show the same whole images."""

Vectors = Float32[np.ndarray, "n d"]


class CropVectors:
    """Embeds each crop once per worker, as long as memory allows."""

    def __init__(
        self, job: Job, run: Run, images: CollectedImages, preprocessing: Preprocessing, embedder: Embedder
    ) -> None:
        self.job = job
        self.run = run
        self.images = images
        self.view = preprocessing.view
        self.embedder = embedder
        self.layers = {str(row["layer"]): row for _, row in run.layer_table().iterrows()}
        self._kept: dict[int, Float32[np.ndarray, " d"]] = {}

    def __call__(self, rows: pd.DataFrame) -> Vectors:
        """Raw vectors of crops, given `image`, box and `crop`; the same crop may occur several times."""
        missing = rows[~rows["crop"].isin(self._kept.keys())].drop_duplicates("crop")
        missing = missing.sort_values(["image", *BOX], kind="stable")
        vectors = embedded(self.embedder, cut_out(missing, self.images, self.view), self.job.embed.batch)
        self._kept |= dict(zip(missing["crop"].tolist(), vectors, strict=True))
        gathered = np.stack([self._kept[crop] for crop in rows["crop"].tolist()])
        self._forget(gathered.shape[1])
        return gathered

    def _forget(self, width: int) -> None:
        """Drops the oldest vectors if there are too many."""
        for crop in list(self._kept)[: max(0, len(self._kept) - int(KEPT_BYTES / (4 * width)))]:
            del self._kept[crop]

    def random(self, layer: str) -> Vectors:
        """Crops of the layer's box size, at random positions of random images: the same images for all layers."""
        rows = self.sampled(POOL, "random crops of names")
        generator = np.random.default_rng(seed(self.job.seed, "positions of random crops", layer))
        about = self.layers[layer]
        places = pd.DataFrame({axis: generator.integers(int(about[f"map_{axis}"]), size=len(rows)) for axis in "yx"})
        boxes = boxes_of(places, about, self.run.input_size)
        crops = pd.DataFrame({"image": rows["image"].to_numpy(), **dict(zip(BOX, boxes.T, strict=True))})
        return self(crops.assign(crop=crop_keys(crops["image"].to_numpy(), boxes)))

    def image_centre(self) -> Float64[np.ndarray, " d"]:
        """The mean of whole images, of as many as there are random crops of a layer: what an image is seen from."""
        return self(self.sampled(POOL, "random crops of names")).mean(axis=0, dtype=np.float64)

    def sampled(self, most: int, purpose: str) -> pd.DataFrame:
        """A seeded sample of whole images as crops, by image."""
        rows = whole_images(self.run)
        generator = np.random.default_rng(seed(self.job.seed, purpose))
        return rows.iloc[np.sort(generator.permutation(len(rows))[:most])].reset_index(drop=True)
