"""Crops of images as the network sees these: cut out, and embedded in batches that all have the same shape."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pandas as pd
from jaxtyping import Float32, UInt8

from polyscan.errors import TableError
from polyscan.images import Picture
from polyscan.inputs.collected import CollectedImages
from polyscan.vision.embedders import Embedder

log = logging.getLogger(__name__)

BOX = ["top", "left", "bottom", "right"]
Crop = UInt8[np.ndarray, "y x c"]


def cut_out(rows: pd.DataFrame, images: CollectedImages, view: Callable[[Crop], Crop]) -> Iterator[Crop]:
    """The crops of these rows, in their order; an image is decoded once for all consecutive crops of it.

    Args:
        rows: `image` and its box.
        images: where they come from.
        view: from a picture to what the network sees of it.

    Raises:
        TableError: if an image can no longer be read.
    """
    # Consecutive rows of an image, not all its rows: the crops must come in the order of their rows.
    runs = [crops for _, crops in rows.groupby((rows["image"] != rows["image"].shift()).cumsum())]
    ids = [int(crops["image"].iloc[0]) for crops in runs]
    for crops, entry in zip(runs, images.read(ids), strict=True):
        if not isinstance(entry, Picture):
            raise TableError(f"image {entry.path} can no longer be read, but `collect` read it: {entry.reason}")
        seen = view(entry.pixels)
        for top, left, bottom, right in crops[BOX].itertuples(index=False):
            yield seen[top:bottom, left:right]


def embedded(embedder: Embedder, crops: Iterable[Crop], size: int) -> Float32[np.ndarray, "n d"]:
    """Vectors of these crops, `size` at a time; the last batch is padded, so that all batches have the same shape."""
    batch: list[Crop] = []
    vectors: list[Float32[np.ndarray, "b d"]] = []
    for crop in crops:
        batch.append(embedder.preprocessing.fitted(crop))
        if len(batch) == size:
            vectors.append(embedder(np.stack(batch)))
            batch = []
    if batch:
        padded = np.zeros((size, *batch[0].shape), dtype=np.uint8)
        padded[: len(batch)] = np.stack(batch)
        vectors.append(embedder(padded)[: len(batch)])
    return _finite(embedder, np.concatenate(vectors)) if vectors else np.empty((0, 0), dtype=np.float32)


def _finite(embedder: Embedder, vectors: Float32[np.ndarray, "n d"]) -> Float32[np.ndarray, "n d"]:
    """The vectors, with zeros for those that are not finite: of flat crops, which some networks divide by 0.

    So these are alike, and one of them never ends a scan.
    """
    bad = ~np.isfinite(vectors).all(axis=1)
    if bad.any():
        n_bad = int(bad.sum())
        log.warning(
            "%s gives no finite vector for %d of %d crops; they count as zeros", embedder.name, n_bad, len(vectors)
        )
        vectors[bad] = 0
    return vectors
