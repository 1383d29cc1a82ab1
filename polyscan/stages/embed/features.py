"""The scanned network's own features at the places of peaks: of the same layer, or of the next stage."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor

from polyscan.images import ImageSource
from polyscan.inputs import batches
from polyscan.job import Job
from polyscan.run import Run
from polyscan.tables import Columns
from polyscan.tables.keys import position_keys
from polyscan.units import REAL
from polyscan.vision.readouts import Reader, smoothed

Vectors = Float32[np.ndarray, "n d"]


class Features:
    """Gathers features in one forward pass over images, at every distinct place of an exemplar's peak."""

    def __init__(self, job: Job, run: Run, images: ImageSource, reader: Reader) -> None:
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

    def __call__(self, range_: range) -> dict[str, Columns]:
        """The table `features` of a range of images."""
        places = self._places(range_)
        found: dict[str, list[tuple[Int64[np.ndarray, " n"], Vectors]]] = {layer: [] for layer in self.sources}
        sizes = {point.layer: point.map_size for point in self.reader.points}
        wanted = sorted({int(image) for rows in places.values() for image in rows["image"].unique()})
        for batch in batches(self.network, self.images, wanted, self.job.collect.batch):
            number = {picture.image: row for row, picture in enumerate(batch.pictures)}

            def gather(index: int, maps: Float[Tensor, "b c y x"], number: dict[int, int] = number) -> None:
                source = self.reader.points[index].layer
                for layer, rows in places.items():
                    if self.sources[layer] == source:
                        here = rows[rows["image"].isin(number)]
                        own = (int(self.real.loc[layer, "map_y"]), int(self.real.loc[layer, "map_x"]))  # pyright: ignore
                        found[layer].append((here["item"].to_numpy(), _at(maps, here, number, own, sizes[source])))

            self.reader.read(batch.inputs, gather)
        layers = [layer for layer in self.sources if found[layer]]
        items = [np.concatenate([keys for keys, _ in found[layer]]) for layer in layers]
        return {
            "features": {
                "layer": np.repeat(np.array(layers, dtype=object), [len(each) for each in items]),
                "space": np.repeat(
                    np.array([str(self.real.loc[layer, "space"]) for layer in layers], dtype=object),
                    [len(each) for each in items],
                ),
                "item": np.concatenate([*items, np.empty(0, dtype=np.int64)]),
                "embedding": [vector for layer in layers for _, vectors in found[layer] for vector in vectors],
            }
        }

    def _places(self, range_: range) -> dict[str, pd.DataFrame]:
        """Distinct places of live units' peaks on these images, by layer, image by image."""
        rows = self.run.read("exemplars", ["parent", "rank", "image", "y", "x"], where={"image": range_})
        rows = rows[rows["rank"] < self.job.n_embedded].rename(columns={"parent": "layer"})
        rows = rows[rows["layer"].isin(list(self.sources))].drop_duplicates(["layer", "image", "y", "x"])
        rows = rows.sort_values(["layer", "image", "y", "x"], kind="stable")
        rows["item"] = position_keys(rows["image"].to_numpy(), rows["y"].to_numpy(), rows["x"].to_numpy())
        return {str(layer): mine for layer, mine in rows.groupby("layer", sort=False)}


def _at(
    maps: Float[Tensor, "b c y x"],
    rows: pd.DataFrame,
    number: dict[int, int],
    own: tuple[int, int],
    there: tuple[int, int],
) -> Vectors:
    """Vectors at these places of a map of size `own`, looked up in a map of size `there`.

    What lies within one position of a unit's own map is one place: where both maps are as fine, that is the 3 x 3
    neighbourhood's mean; where the other is coarser, the position that the place falls into.
    """
    maps = smoothed(maps) if own == there != (1, 1) else maps
    image = torch.tensor([number[int(image)] for image in rows["image"]], dtype=torch.int64, device=maps.device)
    y = torch.from_numpy(((rows["y"].to_numpy() + 0.5) * there[0] / own[0]).astype(np.int64)).to(maps.device)
    x = torch.from_numpy(((rows["x"].to_numpy() + 0.5) * there[1] / own[1]).astype(np.int64)).to(maps.device)
    return maps[image, :, y, x].float().cpu().numpy()
