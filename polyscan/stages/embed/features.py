"""The scanned network's own features at the positions of peaks, from the same layer or from the next stage."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from jaxtyping import Float, Int64
from torch import Tensor

from polyscan.inputs import CollectedImages, batches
from polyscan.inputs.peak_vectors import Vectors, vectors_at
from polyscan.job import Job
from polyscan.run import Run
from polyscan.tables import Columns
from polyscan.tables.keys import position_keys
from polyscan.units import REAL
from polyscan.vision.readouts import Reader

KeyedBatches = list[tuple[Int64[np.ndarray, " n"], Vectors]]
"""Keys of positions and their vectors, batch by batch."""


class Features:
    """Gathers features in one forward pass over images, at every distinct position of an exemplar's peak."""

    def __init__(self, job: Job, run: Run, images: CollectedImages, reader: Reader) -> None:
        self.job = job
        self.run = run
        self.images = images
        self.network = reader.network
        table = run.layer_table().set_index("layer")
        self.table = table[table["space"] != "image"]
        self.real = self.table[self.table["role"] == REAL]
        sources = {layer: row["next"] if row["space"] == "next" else layer for layer, row in self.real.iterrows()}
        self.sources: dict[str, str] = {str(layer): str(source) for layer, source in sources.items()}
        self.reader = Reader(self.network, sorted(set(self.sources.values()))) if sources else reader
        self.map_sizes = {point.layer: point.map_size for point in self.reader.points}

    def __call__(self, range_: range) -> dict[str, Columns]:
        """The table `features` of a range of images."""
        gathered = self._gathered(self._positions(range_))
        layers = [layer for layer in self.sources if gathered[layer]]
        items = [np.concatenate([keys for keys, _ in gathered[layer]]) for layer in layers]
        lengths = [len(keys) for keys in items]
        spaces = [str(self.real.loc[layer, "space"]) for layer in layers]
        return {
            "features": {
                "layer": np.repeat(np.array(layers, dtype=object), lengths),
                "space": np.repeat(np.array(spaces, dtype=object), lengths),
                "item": np.concatenate([*items, np.empty(0, dtype=np.int64)]),
                "embedding": [vector for layer in layers for _, vectors in gathered[layer] for vector in vectors],
            }
        }

    def _gathered(self, positions: Mapping[str, pd.DataFrame]) -> dict[str, KeyedBatches]:
        """Features at these positions of each layer, read in one pass over their images."""
        gathered: dict[str, KeyedBatches] = {layer: [] for layer in self.sources}
        ids = sorted({int(image) for rows in positions.values() for image in rows["image"].unique()})
        for batch in batches(self.network, self.images, ids, self.job.collect.batch):
            number = {picture.image: row for row, picture in enumerate(batch.pictures)}

            def gather(index: int, maps: Float[Tensor, "b c y x"], number: dict[int, int] = number) -> None:
                source = self.reader.points[index].layer
                for layer, rows in positions.items():
                    if self.sources[layer] == source:
                        in_batch = rows[rows["image"].isin(number)]
                        sizes = (self._map_size(layer), self.map_sizes[source])
                        gathered[layer].append(
                            (in_batch["item"].to_numpy(), vectors_at(maps, in_batch, number, *sizes))
                        )

            self.reader.read(batch.inputs, gather)
        return gathered

    def _map_size(self, layer: str) -> tuple[int, int]:
        """Size of the layer's own map."""
        return int(self.real.loc[layer, "map_y"]), int(self.real.loc[layer, "map_x"])  # pyright: ignore

    def _positions(self, range_: range) -> dict[str, pd.DataFrame]:
        """Distinct positions of live units' peaks on these images, by layer, image by image."""
        columns = ["parent", "rank", "image", "y", "x"]
        first, second = (
            self.run.read(table, columns, where={"image": range_}) for table in ("exemplars", "second_exemplars")
        )
        rows = pd.concat([first[first["rank"] < self.job.n_embedded], second], ignore_index=True)
        rows = rows.rename(columns={"parent": "layer"})
        rows = rows[rows["layer"].isin(list(self.sources))].drop_duplicates(["layer", "image", "y", "x"])
        rows = rows.sort_values(["layer", "image", "y", "x"], kind="stable")
        rows["item"] = position_keys(rows["image"].to_numpy(), rows["y"].to_numpy(), rows["x"].to_numpy())
        return {str(layer): of_layer for layer, of_layer in rows.groupby("layer", sort=False)}
