"""Crops of exemplars: cut out, embedded, and stored as thumbnails."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from polyscan.evidence import has_pool, whole_images
from polyscan.inputs import BOX, CollectedImages, Crop, cut_out, embedded
from polyscan.job import Job
from polyscan.run import Run
from polyscan.tables import Columns
from polyscan.units import JUDGED
from polyscan.vision.channels import jpeg
from polyscan.vision.embedders import Embedder
from polyscan.vision.preprocessing import Preprocessing


def crops_in_use(job: Job, run: Run) -> pd.DataFrame:
    """Distinct crops, each once, in the order of the first layer that uses them, then by image.

    In this order, the crops of one image lie together in a shard, and the vectors of a layer's units in few parts.
    Crops of judged units are shown (`is_shown`), even if nothing is compared by them. `is_embedded` marks the crops of
    layers that are compared by crops, those of all judged units if `embed.crops` is set, and every whole image if there
    is a pool.
    """
    layers = run.layer_table().set_index("layer")
    rows = _exemplar_crops(job, run, layers)
    if has_pool(job, run):
        pool = whole_images(run)
        pool["depth"], pool["is_shown"], pool["is_embedded"] = int(layers["depth"].max()), False, True
        rows = pd.concat([rows, pool], ignore_index=True)
    rows = rows.sort_values(["depth", "image", *BOX], kind="stable")
    for name in ("is_shown", "is_embedded"):  # one use of a crop is enough
        rows[name] = rows.groupby("crop")[name].transform("any")
    return rows.drop_duplicates("crop").reset_index(drop=True)


def _exemplar_crops(job: Job, run: Run, layers: pd.DataFrame) -> pd.DataFrame:
    """Crops of live units' exemplars that are shown or embedded: each once per layer that uses it.

    Layer by layer, since all exemplars of a large network take gigabytes.
    """
    frames = [
        _crops_of(job, run, str(layer)).assign(depth=depth, is_shown=is_shown, is_embedded=is_embedded)
        for layer, depth, is_shown, is_embedded in _uses(job, layers)
    ]
    names = ["depth", "image", *BOX, "crop", "is_shown", "is_embedded"]
    return pd.concat(frames, ignore_index=True)[names] if frames else pd.DataFrame(columns=names)


def _uses(job: Job, layers: pd.DataFrame) -> Iterator[tuple[str, int, bool, bool]]:
    """Layers whose crops are used, with their depth, and whether these crops are shown and whether embedded."""
    for layer, row in layers.iterrows():
        is_judged = bool(row["role"] in JUDGED)
        is_shown = is_judged and job.embed.thumbnail_px > 0
        is_embedded = bool(row["space"] == "image") or (is_judged and job.embed.crops)
        if is_shown or is_embedded:
            yield str(layer), int(row["depth"]), is_shown, is_embedded


def _crops_of(job: Job, run: Run, layer: str) -> pd.DataFrame:
    """The distinct crops of a layer's live units."""
    columns = ["channel", "rank", "image", "crop", *BOX]
    first, second = (run.read(table, columns, where={"layer": layer}) for table in ("exemplars", "second_exemplars"))
    rows = pd.concat([first[first["rank"] < job.n_embedded], second], ignore_index=True)
    units = run.read("units", ["channel", "is_dead"], where={"layer": layer})
    rows = rows[~rows["channel"].isin(units["channel"][units["is_dead"]])]
    return rows.drop_duplicates("crop")[["image", *BOX, "crop"]]


class Crops:
    """The distinct crops of a run."""

    def __init__(
        self, job: Job, run: Run, images: CollectedImages, preprocessing: Preprocessing, embedder: Embedder
    ) -> None:
        self.job = job
        self.images = images
        self.view = preprocessing.view
        self.embedder = embedder
        self.rows = crops_in_use(job, run)

    def __len__(self) -> int:
        return len(self.rows)

    def __call__(self, range_: range) -> dict[str, Columns]:
        """Embeddings and thumbnails of a range of crops."""
        rows = self.rows.iloc[range_.start : range_.stop]
        items, is_embedded = rows["crop"].to_numpy(), rows["is_embedded"].to_numpy()
        thumbnails: list[bytes] = []
        vectors = embedded(self.embedder, self._embedded_crops(rows, thumbnails), self.job.embed.batch)
        return {
            "embeddings": {
                "space": [self.embedder.name] * len(vectors),
                "item": items[is_embedded],
                "embedding": vectors,
            },
            "thumbnails": {"item": items[rows["is_shown"].to_numpy()], "image": thumbnails},
        }

    def _embedded_crops(self, rows: pd.DataFrame, thumbnails: list[bytes]) -> Iterator[Crop]:
        """Crops to embed; appends a thumbnail of each crop that is shown to `thumbnails`."""
        crops = cut_out(rows, self.images, self.view)
        for crop, is_shown, is_embedded in zip(crops, rows["is_shown"], rows["is_embedded"], strict=True):
            if is_shown:
                thumbnails.append(jpeg(crop, self.job.embed.thumbnail_px))
            if is_embedded:
                yield crop
