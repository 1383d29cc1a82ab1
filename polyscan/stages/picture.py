"""picture: puts a unit's pictures into one JPEG: strongest exemplars, those of each cluster, swaps, visualizations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from polyscan.job import Job
from polyscan.maps.sprites import EncodedPicture, Sprite, sprite
from polyscan.run import Run
from polyscan.shards import Shard, split_ranges
from polyscan.tables import Columns

TILE = ("evidence", "item", "left", "top", "width", "height")


class SpriteItem(NamedTuple):
    """A picture that goes into a unit's sprite."""

    evidence: str
    item: int
    picture: EncodedPicture


def shards(job: Job, run: Run) -> list[Shard]:
    """Ranges of judged units, each within one layer; empty if the job wants no pictures."""
    crops = job.picture.crops and job.embed.thumbnail_px
    if not crops and not (job.picture.visualizations and job.visualize.enabled) and not job.swap.enabled:
        return []
    ranges = run.unit_order().ranges(lambda layer: layer.is_judged)
    return split_ranges("picture", ranges, job.picture.units_per_shard)


class Worker:
    """Reads clusters, thumbnails and visualizations through the run."""

    def __init__(self, job: Job, run: Run) -> None:
        self.job = job
        self.run = run
        self.order = run.unit_order()

    def __call__(self, shard: Shard) -> dict[str, Columns]:
        """Sprites of one range of units; a unit without pictures has no sprite."""
        layer, channels = self.order.within_layer(shard.start, shard.stop)
        items = self._crops(layer.name, channels)
        for others in (more(layer.name, channels) for more in (self._second, self._swaps, self._visualizations)):
            for channel, more in others.items():
                items.setdefault(channel, []).extend(more)
        sprites = {channel: sprite([item.picture for item in items[channel]]) for channel in sorted(items)}
        return {"sprites": _sprite_columns(layer.name, sprites), "tiles": _tile_columns(layer.name, items, sprites)}

    def _crops(self, layer: str, channels: range) -> dict[int, list[SpriteItem]]:
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

    def _second(self, layer: str, channels: range) -> dict[int, list[SpriteItem]]:
        """The images that a unit's main meaning explains least, by unit."""
        side, most = self.job.embed.thumbnail_px, self.job.picture.second
        if not side or not most:
            return {}
        rows = self.run.unit_rows("second_exemplars", layer, ["channel", "rank", "crop"], channels=channels)
        rows = rows[rows["rank"] < most].rename(columns={"rank": "item"})
        rows = rows.sort_values(["channel", "item"], kind="stable")
        pictures = self.run.thumbnails(rows["crop"].to_numpy(np.int64))
        return _by_unit("deflated", rows, pictures, side)

    def _swaps(self, layer: str, channels: range) -> dict[int, list[SpriteItem]]:
        """Of each cluster whose patches were swapped, an image before and after, by unit."""
        side = self.job.embed.thumbnail_px or self.job.picture.visualization_px
        rows = self.run.unit_rows("causes", layer, ["channel", "absent", "before", "after"], channels=channels)
        rows = rows.assign(item=2 * rows.groupby("channel").cumcount())
        rows = rows[rows["absent"] == ""]
        pairs = pd.concat([rows.assign(image=rows["before"]), rows.assign(image=rows["after"], item=rows["item"] + 1)])
        pairs = pairs.sort_values(["channel", "item"], kind="stable")
        return _by_unit("swaps", pairs, pairs["image"].tolist(), side)

    def _visualizations(self, layer: str, channels: range) -> dict[int, list[SpriteItem]]:
        """Visualizations, then those started from exemplars, by unit."""
        most, side = self.job.picture.visualizations, self.job.picture.visualization_px
        if not most or not self.job.visualize.enabled:
            return {}
        items: dict[int, list[SpriteItem]] = {}
        for table in ("visualizations", "data_visualizations"):
            rows = self._images_of(table, layer, channels)
            if table == "visualizations":
                clusters = self._clusters(layer, channels)
                clusters = clusters[clusters["evidence"] == table].drop(columns=["evidence", "is_main"])
                rows = rows.merge(clusters, on=["channel", "item"], how="left")
                rows = rows.sort_values(["channel", "activation"], ascending=[True, False], kind="stable")
                rows = self._strongest(rows, "cluster_bic", most, 1)
            else:
                rows = self._strongest(rows, None, most, 0)
            for channel, more in _by_unit(table, rows, rows["image"].tolist(), side).items():
                items.setdefault(channel, []).extend(more)
        return items

    def _images_of(self, table: str, layer: str, channels: range) -> pd.DataFrame:
        names = ["channel", "index", "activation", "image"]
        return self.run.unit_rows(table, layer, names, channels=channels).rename(columns={"index": "item"})

    def _clusters(self, layer: str, channels: range) -> pd.DataFrame:
        names = ["channel", "evidence", "is_main", "item", "cluster", "cluster_bic"]
        return self.run.unit_rows("clusters", layer, names, channels=channels)

    def _strongest(self, rows: pd.DataFrame, by: str | None, most: int, of_each: int) -> pd.DataFrame:
        """A unit's first `most` rows, and the first `of_each` of each of its clusters; their order is kept."""
        is_first = rows.groupby("channel").cumcount() < most
        if by is not None:
            is_first |= rows.groupby(["channel", by]).cumcount() < of_each
        return rows[is_first].sort_values("channel", kind="stable")


def _sprite_columns(layer: str, sprites: Mapping[int, Sprite]) -> Columns:
    return {
        "layer": [layer] * len(sprites),
        "channel": list(sprites),
        "width": [sheet.width for sheet in sprites.values()],
        "height": [sheet.height for sheet in sprites.values()],
        "image": [sheet.content for sheet in sprites.values()],
    }


def _tile_columns(layer: str, items: Mapping[int, list[SpriteItem]], sprites: Mapping[int, Sprite]) -> Columns:
    """Where each picture lies in its unit's sprite."""
    tiles = [
        (channel, item.evidence, item.item, *box)
        for channel, sheet in sprites.items()
        for item, box in zip(items[channel], sheet.boxes, strict=True)
    ]
    columns = list(zip(*tiles, strict=True)) or [()] * (1 + len(TILE))
    return {"layer": [layer] * len(tiles), **dict(zip(("channel", *TILE), columns, strict=True))}


def _by_unit(
    evidence: str, rows: pd.DataFrame, pictures: Sequence[bytes | None], side: int
) -> dict[int, list[SpriteItem]]:
    items: dict[int, list[SpriteItem]] = {}
    for channel, item, content in zip(rows["channel"].tolist(), rows["item"].tolist(), pictures, strict=True):
        if content is not None:
            picture = EncodedPicture(bytes(content), side)
            items.setdefault(int(channel), []).append(SpriteItem(evidence, int(item), picture))
    return items
