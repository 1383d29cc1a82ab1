"""embed: each distinct crop and each visualization, once, into the space where evidence is compared."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd
from jaxtyping import Float32, Int64, UInt8
from PIL import Image

from polyscan.errors import TableError
from polyscan.images import Picture
from polyscan.job import Job
from polyscan.run import Run
from polyscan.run.inputs import open_embedder, open_images, open_network
from polyscan.run.keys import visualization_keys
from polyscan.shards import Shard, split_within
from polyscan.tables import Columns

BOX = ["top", "left", "bottom", "right"]
JPEG_QUALITY = 85
Crop = UInt8[np.ndarray, "y x c"]


def shards(job: Job, run: Run) -> list[Shard]:
    """Ranges of distinct crops, then of visualizations."""
    sizes = [len(distinct_crops(job, run)), len(_visualizations(run))]
    return split_within("embed", sizes, job.embed.crops_per_shard)


def distinct_crops(job: Job, run: Run) -> pd.DataFrame:
    """The crops of live units' exemplars, each once, in the order of the first layer that uses them, then by image.

    So the crops of one image lie together in a shard, and the vectors of a layer's units in few parts.
    """
    rows = run.read("exemplars", ["layer", "channel", "rank", "image", "crop", *BOX])
    dead = run.read("units", ["layer", "channel", "is_dead"])
    dead = dead[dead["is_dead"]]
    rows = rows[rows["rank"] < (job.embed.n_exemplars or job.collect.k)]
    rows["depth"] = rows["layer"].map({layer.name: layer.depth for layer in run.layers()})
    if len(dead):
        gone = pd.MultiIndex.from_frame(dead[["layer", "channel"]])
        rows = rows[~pd.MultiIndex.from_frame(rows[["layer", "channel"]]).isin(gone)]
    rows = rows[["depth", "image", *BOX, "crop"]].sort_values(["depth", "image", *BOX], kind="stable")
    return rows.drop_duplicates("crop").reset_index(drop=True)


def _visualizations(run: Run) -> pd.DataFrame:
    return run.read("visualizations", ["layer", "channel", "index"])


class Worker:
    """Holds the embedder, the image source, and the list of what is to be embedded."""

    def __init__(self, job: Job, run: Run) -> None:
        self.job = job
        self.run = run
        network = open_network(job)
        self.embedder = open_embedder(job, network)
        self.images = open_images(job)
        self.view = network.preprocessing.view
        self.crops = distinct_crops(job, run)
        self.visualizations = _visualizations(run)

    def __call__(self, shard: Shard) -> dict[str, Columns]:
        """Embeddings of one range, and thumbnails of its crops."""
        if shard.start >= len(self.crops):
            start, stop = shard.start - len(self.crops), shard.stop - len(self.crops)
            rows = self.visualizations.iloc[start:stop]
            items = visualization_keys(rows["layer"], rows["channel"], rows["index"])
            return {"embeddings": self._embedded(items, self._stored_images(rows))}
        rows = self.crops.iloc[shard.start : shard.stop]
        items = rows["crop"].to_numpy()
        thumbnails: list[bytes] = []
        embeddings = self._embedded(items, self._with_thumbnails(self._cut_out(rows), thumbnails))
        if not self.job.embed.thumbnail_px:
            return {"embeddings": embeddings}
        return {"embeddings": embeddings, "thumbnails": {"item": items, "image": thumbnails}}

    def _cut_out(self, rows: pd.DataFrame) -> Iterator[Crop]:
        """The crops of these rows; an image is decoded once for all its crops in a row."""
        # Runs of one image, not all rows of it: the crops must come in the order of their rows.
        runs = [crops for _, crops in rows.groupby((rows["image"] != rows["image"].shift()).cumsum())]
        ids = [int(crops["image"].iloc[0]) for crops in runs]
        for crops, entry in zip(runs, self.images.read(ids), strict=True):
            if not isinstance(entry, Picture):
                raise TableError(f"image {entry.path} could be read by `collect` and can't any more: {entry.reason}")
            view = self.view(entry.pixels)
            for top, left, bottom, right in crops[BOX].itertuples(index=False):
                yield view[top:bottom, left:right]

    def _stored_images(self, rows: pd.DataFrame) -> Iterator[Crop]:
        """The pixels of these visualizations."""
        for layer, wanted in rows.groupby("layer", sort=False):
            stored = self.run.read("visualizations", ["channel", "index", "image"], where=("layer", str(layer)))
            stored = stored.set_index(["channel", "index"])["image"]
            for channel, index in zip(wanted["channel"], wanted["index"], strict=True):
                array = np.asarray(Image.open(io.BytesIO(stored.loc[(channel, index)])))
                yield array[:, :, None] if array.ndim == 2 else array

    def _with_thumbnails(self, crops: Iterable[Crop], thumbnails: list[bytes]) -> Iterator[Crop]:
        for crop in crops:
            if self.job.embed.thumbnail_px:
                thumbnails.append(jpeg(crop, self.job.embed.thumbnail_px))
            yield crop

    def _embedded(self, items: Int64[np.ndarray, " n"], crops: Iterable[Crop]) -> Columns:
        """Vectors of these crops, in batches of one shape."""
        batch: list[Crop] = []
        vectors: list[Float32[np.ndarray, "b d"]] = []
        for crop in crops:
            batch.append(self.embedder.preprocessing.fitted(crop))
            if len(batch) == self.job.embed.batch:
                vectors.append(self._vectors(batch))
                batch = []
        if batch:
            vectors.append(self._vectors(batch))
        return {"space": [self.embedder.name] * len(items), "item": items, "embedding": np.concatenate(vectors)}

    def _vectors(self, batch: list[Crop]) -> Float32[np.ndarray, "b d"]:
        """Vectors of one batch; a short one is padded, so that every batch has one shape."""
        padded = np.zeros((self.job.embed.batch, *batch[0].shape), dtype=np.uint8)
        padded[: len(batch)] = np.stack(batch)
        return self.embedder(padded)[: len(batch)]


def jpeg(crop: Crop, side: int) -> bytes:
    """The crop as a JPEG of at most `side` px; a smaller one is enlarged in whole steps, so that pixels stay seen."""
    picture = Image.fromarray(crop if crop.shape[2] == 3 else crop[:, :, 0])
    longest = max(picture.size)
    if longest > side:
        scale = side / longest
        picture = picture.resize(
            (max(1, round(picture.width * scale)), max(1, round(picture.height * scale))), Image.Resampling.BILINEAR
        )
    elif (step := side // longest) > 1:
        picture = picture.resize((picture.width * step, picture.height * step), Image.Resampling.NEAREST)
    sink = io.BytesIO()
    picture.save(sink, format="JPEG", quality=JPEG_QUALITY)
    return sink.getvalue()
