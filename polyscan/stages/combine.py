"""combine: merges each unit's top k and moments over all images, and finds dead and saturated units."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool

from polyscan.errors import JobError
from polyscan.job import Job
from polyscan.run import Run
from polyscan.shards import Shard, split_within
from polyscan.stats.moments import Moments
from polyscan.stats.topk import top_k_rows
from polyscan.tables import Columns
from polyscan.tables.boxes import boxes_of
from polyscan.tables.keys import crop_keys, unit_columns
from polyscan.units import Layer

UNITS_PER_SHARD = 4096
DEAD_SHARE = 1e-6  # of the layer's median sd


def shards(job: Job, run: Run) -> list[Shard]:
    """Ranges of units, each within one layer: a unit is dead by comparison with its layer's median."""
    return split_within("combine", [layer.n_units for layer in run.layers()], UNITS_PER_SHARD)


class Worker:
    """Merges the results of all ranges of images."""

    def __init__(self, job: Job, run: Run) -> None:
        self.job = job
        self.run = run
        self.order = run.unit_order()
        self.layers = {str(row["layer"]): row for _, row in run.layer_table().iterrows()}
        self.input_size = run.input_size

    def __call__(self, shard: Shard) -> dict[str, Columns]:
        """Exemplars and units of one range of units, all of one layer."""
        layer, channels = self.order.within_layer(shard.start, shard.stop)
        whole = self._moments(layer)
        if int(whole.n[0]) < self.job.k:
            rejects = self.run.read("rejects", ["path", "reason"])
            first = "".join(f" ({path}: {reason})" for path, reason in rejects.head(1).itertuples(index=False))
            raise JobError(
                f"only {int(whole.n[0])} images could be read, `collect.k` is {self.job.k}; "
                f"the table `rejects` says why the others could not{first}; fix them or set a smaller k"
            )
        return {"exemplars": self._exemplars(shard, layer), "units": self._units(layer, whole, channels)}

    def _moments(self, layer: Layer) -> Moments:
        start = self.order.start(layer.name)
        rows = self.run.read("moments", where={"unit": range(start, start + layer.n_units)})
        names = ("n", "s1", "s2", "s3", "s4", "min", "max", "n_at_max", "n_nonpositive")
        stacked = {name: rows[name].to_numpy().reshape(-1, layer.n_units) for name in names}
        n_parts = len(stacked["n"])
        return Moments.merged([Moments(**{name: stacked[name][part] for name in names}) for part in range(n_parts)])

    def _units(self, layer: Layer, whole: Moments, channels: range) -> Columns:
        is_dead = dead(whole, relu_follows=bool(self.layers[layer.name]["relu_follows"]))
        rows = slice(channels.start, channels.stop)
        return {
            **unit_columns(layer, np.array(channels, dtype=np.int32)),
            "depth": np.full(len(channels), layer.depth, dtype=np.int32),
            "n_images": whole.n[rows],
            "mean": whole.mean[rows],
            "sd": whole.sd[rows],
            "min": whole.min[rows],
            "max": whole.max[rows],
            "kurtosis": whole.excess_kurtosis[rows],
            "sparsity": whole.sparsity[rows],
            "is_dead": is_dead[rows],
            "saturated": whole.n_at_max[rows] > self.job.k,
        }

    def _exemplars(self, shard: Shard, layer: Layer) -> Columns:
        rows = self.run.read("candidates", where={"unit": range(shard.start, shard.stop)})
        kept = top_k_rows(
            rows["unit"].to_numpy(), rows["activation"].to_numpy(), rows["image"].to_numpy(), k=self.job.k
        )
        rows = rows.iloc[kept]
        boxes = boxes_of(rows, self.layers[layer.name], self.input_size)
        return {
            **unit_columns(layer, rows["channel"].to_numpy()),
            "rank": rows.groupby("unit", sort=False).cumcount().to_numpy(np.int32),
            **{name: rows[name].to_numpy() for name in ("image", "activation", "y", "x")},
            **dict(zip(("top", "left", "bottom", "right"), boxes.T, strict=True)),
            "crop": crop_keys(rows["image"].to_numpy(), boxes),
        }


def dead(moments: Moments, *, relu_follows: bool) -> Bool[np.ndarray, " u"]:
    """Which units of a layer are dead: their peaks hardly vary, or a ReLU follows and no peak is positive."""
    flat = moments.sd <= DEAD_SHARE * np.median(moments.sd)
    return flat | (moments.max <= 0) if relu_follows else flat
