"""picture: what is seen of a unit, in one JPEG: its strongest exemplars, those of each cluster, its visualizations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from polyscan.job import Job
from polyscan.maps.sprites import EncodedPicture, sprite
from polyscan.run import Run
from polyscan.shards import Shard, split_ranges
from polyscan.tables import Columns

TILE = ("evidence", "item", "left", "top", "width", "height")


class Chosen(NamedTuple):
    """A picture that goes into a unit's sprite."""

    evidence: str
    item: int
    picture: EncodedPicture


def shards(job: Job, run: Run) -> list[Shard]:
    """Ranges of real units, each within one layer; none where nothing is to be seen."""
    crops = job.picture.crops and job.embed.thumbnail_px
    if not crops and not (job.picture.visualizations and job.visualize.enabled):
        return []
    ranges = run.unit_order().ranges(lambda layer: layer.is_real)
    return split_ranges("picture", ranges, job.picture.units_per_shard)


class Worker:
    """Reads clusters, thumbnails and visualizations through the run."""

    def __init__(self, job: Job, run: Run) -> None:
        self.job = job
        self.run = run
        self.order = run.unit_order()

    def __call__(self, shard: Shard) -> dict[str, Columns]:
        """Sprites of one range of units; of a unit without pictures there is none."""
        layer, channels = self.order.within_layer(shard.start, shard.stop)
        chosen = self._crops(layer.name, channels)
        for channel, more in self._visualizations(layer.name, channels).items():
            chosen.setdefault(channel, []).extend(more)
        sheets = {channel: sprite([one.picture for one in chosen[channel]]) for channel in sorted(chosen)}
        tiles = [
            (channel, one.evidence, one.item, *box)
            for channel, sheet in sheets.items()
            for one, box in zip(chosen[channel], sheet.boxes, strict=True)
        ]
        columns = list(zip(*tiles, strict=True)) or [()] * (1 + len(TILE))
        return {
            "sprites": {
                "layer": [layer.name] * len(sheets),
                "channel": list(sheets),
                "width": [sheet.width for sheet in sheets.values()],
                "height": [sheet.height for sheet in sheets.values()],
                "image": [sheet.content for sheet in sheets.values()],
            },
            "tiles": {
                "layer": [layer.name] * len(tiles),
                **dict(zip(("channel", *TILE), columns, strict=True)),
            },
        }

    def _crops(self, layer: str, channels: range) -> dict[int, list[Chosen]]:
        """Exemplars that have a thumbnail, by unit."""
        side = self.job.embed.thumbnail_px
        if not side or not self.job.picture.crops:
            return {}
        clusters = self._clusters(layer, channels)
        clusters = clusters[clusters["is_main"]].drop(columns=["evidence", "is_main"])
        rows = self.run.unit_rows("exemplars", layer, ["channel", "rank", "crop"], channels=channels)
        rows = rows.rename(columns={"rank": "item"}).merge(clusters, on=["channel", "item"])
        rows = self._strongest(rows, "cluster", self.job.picture.crops, self.job.picture.per_cluster)
        pictures = self.run.thumbnails(rows["crop"].to_numpy(np.int64))
        return _by_unit("exemplars", rows, pictures, side)

    def _visualizations(self, layer: str, channels: range) -> dict[int, list[Chosen]]:
        """Visualizations, then those begun from exemplars, by unit."""
        most, side = self.job.picture.visualizations, self.job.picture.visualization_px
        if not most or not self.job.visualize.enabled:
            return {}
        chosen: dict[int, list[Chosen]] = {}
        for table in ("visualizations", "data_visualizations"):
            names = ["channel", "index", "activation", "image"]
            rows = self.run.unit_rows(table, layer, names, channels=channels).rename(columns={"index": "item"})
            if table == "visualizations":
                clusters = self._clusters(layer, channels)
                clusters = clusters[clusters["evidence"] == table].drop(columns=["evidence", "is_main"])
                rows = rows.merge(clusters, on=["channel", "item"], how="left")
                rows = rows.sort_values(["channel", "activation"], ascending=[True, False], kind="stable")
                rows = self._strongest(rows, "cluster_bic", most, 1)
            else:
                rows = self._strongest(rows, None, most, 0)
            for channel, more in _by_unit(table, rows, rows["image"].tolist(), side).items():
                chosen.setdefault(channel, []).extend(more)
        return chosen

    def _clusters(self, layer: str, channels: range) -> pd.DataFrame:
        names = ["channel", "evidence", "is_main", "item", "cluster", "cluster_bic"]
        return self.run.unit_rows("clusters", layer, names, channels=channels)

    def _strongest(self, rows: pd.DataFrame, by: str | None, most: int, of_each: int) -> pd.DataFrame:
        """A unit's first rows, and the first of each of its clusters; in the order they come in."""
        is_first = rows.groupby("channel").cumcount() < most
        if by is not None:
            is_first |= rows.groupby(["channel", by]).cumcount() < of_each
        return rows[is_first].sort_values("channel", kind="stable")


def _by_unit(evidence: str, rows: pd.DataFrame, pictures: Sequence[bytes | None], side: int) -> dict[int, list[Chosen]]:
    found: dict[int, list[Chosen]] = {}
    for channel, item, content in zip(rows["channel"].tolist(), rows["item"].tolist(), pictures, strict=True):
        if content is not None:
            found.setdefault(int(channel), []).append(Chosen(evidence, int(item), EncodedPicture(bytes(content), side)))
    return found
