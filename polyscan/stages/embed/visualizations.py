"""Embeds visualizations."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
import pandas as pd
from PIL import Image

from polyscan.inputs import Crop, embedded
from polyscan.job import Job
from polyscan.run import Run
from polyscan.tables import Columns
from polyscan.tables.keys import visualization_keys
from polyscan.vision.embedders import Embedder


class Visualizations:
    """All visualizations of a run, in the order of their table."""

    def __init__(self, job: Job, run: Run, embedder: Embedder) -> None:
        self.job = job
        self.run = run
        self.embedder = embedder
        self.rows = run.read("visualizations", ["layer", "channel", "index"])

    def __call__(self, range_: range) -> dict[str, Columns]:
        """Embeddings of a range of visualizations."""
        rows = self.rows.iloc[range_.start : range_.stop]
        items = visualization_keys(rows["layer"], rows["channel"], rows["index"])
        vectors = embedded(self.embedder, self._pictures(rows), self.job.embed.batch)
        return {"embeddings": {"space": [self.embedder.name] * len(items), "item": items, "embedding": vectors}}

    def _pictures(self, rows: pd.DataFrame) -> Iterator[Crop]:
        for layer, of_layer in rows.groupby("layer", sort=False):
            stored = self.run.read("visualizations", ["channel", "index", "image"], where={"layer": str(layer)})
            stored = stored.set_index(["channel", "index"])["image"]
            for channel, index in zip(of_layer["channel"], of_layer["index"], strict=True):
                array = np.asarray(Image.open(io.BytesIO(stored.loc[(channel, index)])))
                yield array[:, :, None] if array.ndim == 2 else array
