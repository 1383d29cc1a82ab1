"""recombine: merges the least explained images of all ranges: the second half of each unit's deflated evidence."""

from __future__ import annotations

import numpy as np
import pandas as pd

from polyscan.job import Job
from polyscan.run import Run
from polyscan.shards import Shard, split_within
from polyscan.stats.topk import top_k_rows
from polyscan.tables import Columns
from polyscan.tables.boxes import boxes_of
from polyscan.tables.keys import crop_keys, unit_columns
from polyscan.units import Layer

UNITS_PER_SHARD = 4096
BOX = ("top", "left", "bottom", "right")


def shards(job: Job, run: Run) -> list[Shard]:
    """Ranges of units, each within one layer; none if there is no second test."""
    layers = run.layers() if len(run.read("main_readouts", ["channel"])) else []
    return split_within("recombine", [layer.n_units for layer in layers], UNITS_PER_SHARD)


class Worker:
    """Merges the results of all ranges of images."""

    def __init__(self, job: Job, run: Run) -> None:
        self.job = job
        self.run = run
        self.order = run.unit_order()
        self.layers = {str(row["layer"]): row for _, row in run.layer_table().iterrows()}
        self.input_size = run.input_size

    def __call__(self, shard: Shard) -> dict[str, Columns]:
        """The tables `second_exemplars` and `seconds` of one range of units, all of one layer."""
        layer, channels = self.order.within_layer(shard.start, shard.stop)
        rows = self.run.read("second_candidates", where={"unit": range(shard.start, shard.stop)})
        kept = top_k_rows(
            rows["unit"].to_numpy(), rows["unexplained"].to_numpy(), rows["image"].to_numpy(), k=self.job.n_half
        )
        rows = rows.iloc[kept]
        return {"second_exemplars": self._exemplars(layer, rows), "seconds": self._seconds(layer, channels, rows)}

    def _exemplars(self, layer: Layer, rows: pd.DataFrame) -> Columns:
        boxes = boxes_of(rows, self.layers[layer.name], self.input_size)
        return {
            **unit_columns(layer, rows["channel"].to_numpy()),
            "rank": rows.groupby("unit", sort=False).cumcount().to_numpy(np.int32),
            **{name: rows[name].to_numpy() for name in ("image", "unexplained", "activation", "y", "x")},
            **dict(zip(BOX, boxes.T, strict=True)),
            "crop": crop_keys(rows["image"].to_numpy(), boxes),
        }

    def _seconds(self, layer: Layer, channels: range, rows: pd.DataFrame) -> Columns:
        """How many images the second half has, and its strength beside the first half's."""
        where = {"layer": layer.name, "channel": channels}
        first = self.run.read("exemplars", ["channel", "rank", "activation"], where=where)
        first = first[first["rank"] < self.job.n_half].groupby("channel")["activation"].mean()
        mean = self.run.read("units", ["channel", "mean"], where=where).set_index("channel")["mean"]
        second = rows.groupby("channel")["activation"].agg(["mean", "size"])
        index = pd.Index(channels)
        above = first.reindex(index).to_numpy(np.float64) - mean.reindex(index).to_numpy(np.float64)
        left = second["mean"].reindex(index).to_numpy(np.float64) - mean.reindex(index).to_numpy(np.float64)
        strength = np.divide(left, above, out=np.full(len(index), np.nan), where=above > 0)
        return {
            **unit_columns(layer, np.array(channels, dtype=np.int32)),
            "n": second["size"].reindex(index).fillna(0).to_numpy(np.int32),
            "strength": strength,
        }
