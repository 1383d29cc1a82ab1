"""deflate: estimates each unit's main readout from its exemplars, and what the unit does given that readout.

The second test asks what a unit's main meaning leaves unexplained. Here, on a seeded sample of the images, come the
main readout, the curve of the unit given it, and the activation above which the unexplained images are searched.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from polyscan.inputs import CollectedImages, batches, check_worker, open_images, open_reader, reaches
from polyscan.inputs.mains import MainReadouts, UnitReader
from polyscan.job import Job
from polyscan.nulls.deflation import MOST_SEARCHED, Curves, floors, main_readouts, searched_share
from polyscan.run import Run
from polyscan.shards import Shard, seed, split_by_weight
from polyscan.stages.deflate.tops import LayerVectors, Tops
from polyscan.tables import Columns
from polyscan.units import Layer

log = logging.getLogger("polyscan")

UNITS_PER_SHARD = 16_384  # so that the peaks of one shard on the sample stay under a gigabyte
NAMES = ("layer", "parent", "role", "channel", "of", "n", "weights", "bias", "slope", "curve_x", "curve_y", "floor")


def shards(job: Job, run: Run) -> list[Shard]:
    """Ranges of real layers with their virtual units; none if there is no second test."""
    if not job.second.enabled or not job.survey.readouts:
        return []
    n_images = len(run.read("images", ["image"]))
    if searched_share(job.k, n_images, reach=job.second.reach) is None:
        log.warning(
            "no second test: a quarter of %d images is fewer than twice k = %d, too few to search beyond a unit's "
            "exemplars; scan more images, or take a smaller k",
            n_images,
            job.k,
        )
        return []
    return split_by_weight("deflate", [sum(layer.n_units for layer in group) for group in groups(run)], UNITS_PER_SHARD)


def groups(run: Run) -> list[list[Layer]]:
    """Each real layer followed by its virtual layers, in the run's order of units."""
    found: dict[str, list[Layer]] = {}
    for layer in run.layers():
        found.setdefault(layer.parent, []).append(layer)
    return list(found.values())


class Worker:
    """Holds the network and a sample of the images."""

    def __init__(self, job: Job, run: Run) -> None:
        self.job = job
        self.run = run
        self.reader = open_reader(job)
        images = open_images(job)
        check_worker(job, run, self.reader.network, images)
        self.images = CollectedImages(images, run)
        ids = run.read("images", ["image"])["image"].to_numpy()
        self.share = searched_share(job.k, len(ids), reach=job.second.reach) or 0.0
        generator = np.random.default_rng(seed(job.seed, "deflation's images"))
        drawn = ids[generator.permutation(len(ids))]
        # Of a unit's k exemplars, about as many as `second.exemplars` are in a sample of this size.
        wanted = int(np.ceil(job.second.exemplars * len(ids) / job.k))
        self.sample = np.sort(drawn[: max(job.survey.images, wanted)])
        self.curve_sample = np.sort(drawn[: job.survey.images])

    def __call__(self, shard: Shard) -> dict[str, Columns]:
        """The table `main_readouts` of a range of layers."""
        layers = groups(self.run)[shard.start : shard.stop]
        tops = self._tops(layers)
        mains = [main for group in layers if (main := self._mains(group, tops[group[0].name])) is not None]
        rows = pd.concat([*self._fitted(layers, mains, tops), pd.DataFrame(columns=list(NAMES))], ignore_index=True)
        return {"main_readouts": {name: rows[name].to_list() for name in NAMES}}

    def _tops(self, layers: Sequence[Sequence[Layer]]) -> dict[str, LayerVectors]:
        """Moments of each layer's vectors, and the mean vector at each unit's peaks."""
        names = [group[0].name for group in layers]
        rows = self.run.read("exemplars", ["layer", "parent", "channel", "image", "y", "x"], where={"parent": names})
        rows = rows[rows["image"].isin(self.sample)]
        tops = Tops(self.job, self.reader, layers, rows, len(self.sample))
        for batch in batches(self.reader.network, self.images, self.sample.tolist(), self.job.collect.batch):
            tops.add(batch)
        return tops.results()

    def _mains(self, group: Sequence[Layer], vectors: LayerVectors) -> MainReadouts | None:
        try:
            weights = main_readouts(vectors.tops, vectors.mean, vectors.covariance)
        except ValueError as error:
            log.warning("%s has no second test: %s", group[0].name, error)
            return None
        weights = np.nan_to_num(weights)
        bias = -(weights @ vectors.mean.astype(np.float32))
        return MainReadouts(group[0].name, vectors.of, weights, bias.astype(np.float32))

    def _fitted(
        self, layers: Sequence[Sequence[Layer]], mains: Sequence[MainReadouts], tops: dict[str, LayerVectors]
    ) -> Iterator[pd.DataFrame]:
        """Rows of `main_readouts`, layer by layer."""
        if not mains:
            return
        values = self._peaks(mains)
        for group in layers:
            name = group[0].name
            if name not in values:
                continue
            unit_values, main_values = values[name]
            curves = Curves.fit(main_values, unit_values)
            main = next(main for main in mains if main.layer == name)
            rows = _unit_keys(group)
            floor = self._floors(group, rows, unit_values)
            has_main = main.weights.any(axis=1)
            yield rows.assign(
                of=main.of,
                n=tops[name].n,
                weights=list(main.weights),
                bias=main.bias,
                slope=curves.slope,
                curve_x=list(curves.x),
                curve_y=list(curves.y),
                floor=np.where(has_main, floor, np.inf),
            )

    def _peaks(self, mains: Sequence[MainReadouts]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Peaks [images, u] of units and of their main readouts on the sample for curves, by layer."""
        reader = UnitReader(self.run, self.reader.network, [main.layer for main in mains], mains)
        sizes = {main.layer: len(main.bias) for main in mains}
        n = len(self.curve_sample)
        values = {layer: (np.empty((n, u), np.float32), np.empty((n, u), np.float32)) for layer, u in sizes.items()}
        start = 0
        for batch in batches(self.reader.network, self.images, self.curve_sample.tolist(), self.job.collect.batch):
            stop = start + len(batch)
            for layer, pair in reader.read(batch.inputs).items():
                values[layer][0][start:stop] = pair.units.value[: len(batch)].cpu().numpy()
                values[layer][1][start:stop] = pair.mains[: len(batch)].cpu().numpy()
            start = stop
        return {layer: (units[:start], of_mains[:start]) for layer, (units, of_mains) in values.items()}

    def _floors(self, group: Sequence[Layer], keys: pd.DataFrame, values: np.ndarray) -> np.ndarray:
        """The activation above which each unit is searched."""
        layers = list(keys["layer"].unique())
        units = self.run.read("units", ["layer", "channel", "mean"], where={"layer": layers})
        exemplars = self.run.read("exemplars", ["layer", "channel", "activation"], where={"layer": layers})
        top = exemplars.groupby(["layer", "channel"])["activation"].mean().rename("top").reset_index()
        rows = keys.merge(units, on=["layer", "channel"], how="left").merge(top, on=["layer", "channel"], how="left")
        means, tops = rows["mean"].to_numpy(np.float64), rows["top"].to_numpy(np.float64)
        reach = np.concatenate([self._reach(layer) for layer in group])
        share = np.minimum(self.share * reach, MOST_SEARCHED)
        return floors(values, share=share, mean=means, top=tops, least_strength=self.job.second.least_strength)

    def _reach(self, layer: Layer) -> np.ndarray:
        """How much each unit is thinned."""
        return reaches(self.run, layer.name) if layer.role == "null" else np.ones(layer.n_units, dtype=np.int32)


def _unit_keys(group: Sequence[Layer]) -> pd.DataFrame:
    """Keys of the units of a layer and its virtual layers, in the run's order."""
    rows: list[tuple[Any, ...]] = [
        (layer.name, layer.parent, layer.role, channel) for layer in group for channel in range(layer.n_units)
    ]
    return pd.DataFrame(rows, columns=["layer", "parent", "role", "channel"])
