"""swap: pastes patches of a unit's clusters into other images: does what a cluster shows drive the unit?

Donors and recipients are not in the evidence that the clusters were found in. `aligned` patches (of strong images
nearest to the cluster) stand against four controls: patches of other units, of random images, the same patch apart from
where the unit is read, and a plain one there.

Source: after Gupta & Kumar 2025, "Disentangling Polysemantic Neurons with a Null-Calibrated Polysemanticity Index and
Causal Patch Interventions". Departures: held-out donors, paired differences, and a test over donors.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float32, Int64, UInt8

from polyscan.evidence import EvidenceReader
from polyscan.inputs import CollectedImages, check_worker, open_images, open_network
from polyscan.inputs.views import views
from polyscan.job import Job
from polyscan.run import Run
from polyscan.run.memo import Memo
from polyscan.shards import Shard, seed, split_ranges
from polyscan.stages.swap.chosen import Chosen, chosen_units, evidence_images
from polyscan.stages.swap.donors import DonorFinder, Views
from polyscan.stages.swap.effects import ALIGNED, CONTROLS, cluster_effect
from polyscan.stages.swap.rows import NO_DONORS, NO_RECIPIENTS, ClusterRow, cause_columns, swap_columns
from polyscan.stages.swap.setup import LayerSetup
from polyscan.stages.swap.trial import Answers, Key, Patch, Trial, middle_images, spots_of
from polyscan.tables import Columns
from polyscan.units import Layer
from polyscan.vision.channels import jpeg
from polyscan.vision.swapping import plain

log = logging.getLogger("polyscan")

POOL = 4
"""Images in the sample that recipients come from, per recipient wanted: half of them lie in a unit's middle."""
SIDE_PX = 64
"""Longer side of the stored pictures where the job stores no thumbnails."""


def shards(job: Job, run: Run) -> list[Shard]:
    """Ranges of units with about as many chosen ones each, within one layer; none if the job swaps nothing."""
    if not job.swap.enabled:
        return []
    ranges: list[tuple[int, int]] = []
    order, size = run.unit_order(), job.swap.units_per_shard
    for layer, units in chosen_units(job, run).items():
        numbers = [order.start(layer) + channel for channel in units]
        parts = [numbers[start : start + size] for start in range(0, len(numbers), size)]
        ranges += [(part[0], part[-1] + 1) for part in parts]
    if not ranges:
        log.warning("nothing is swapped: no unit has p <= %g; take all with swap.units = all", job.swap.level)
    return split_ranges("swap", ranges, max(1, len(order)))


class Worker:
    """Holds the network, the images, and a seeded sample of them from which recipients come."""

    def __init__(self, job: Job, run: Run) -> None:
        self.job = job
        self.run = run
        self.network = open_network(job)
        images = open_images(job)
        check_worker(job, run, self.network, images)
        self.images = CollectedImages(images, run)
        self.order = run.unit_order()
        self.chosen: Chosen = chosen_units(job, run)
        self.donors = DonorFinder(job, run, self.network, EvidenceReader(job, run))
        self._setups: Memo[str, LayerSetup] = Memo(
            lambda name: LayerSetup.of(job, run, self.network, self.order.layer(name)), 1
        )

    def __call__(self, shard: Shard) -> dict[str, Columns]:
        """The tables `swaps` and `causes` of one range of units, all of one layer."""
        layer, channels = self.order.within_layer(shard.start, shard.stop)
        wanted = {channel: kinds for channel, kinds in self.chosen[layer.name].items() if channel in channels}
        setup = self._setups(layer.name)
        rows = self.donors.candidates(layer, channels, wanted)
        own = pd.concat([evidence_images(self.run, layer.name, channels, self.job.n_half), rows])
        used = {channel: own["image"][own["channel"] == channel].unique() for channel in wanted}
        others = {channel: self._others(setup, channel, used[channel]) for channel in wanted}
        seen = self._views(pd.concat([rows["image"], *(of_unit["image"] for of_unit in others.values())]))
        rows = self.donors.assigned(layer, wanted, rows, seen)
        peaks = setup.peaks(self._pool_views, list(wanted))
        found: list[ClusterRow] = []
        for place, (channel, kinds) in enumerate(wanted.items()):
            free = ~np.isin(self._pool, used[channel])
            trial = self._trial(setup, channel, peaks[:, place], free, _patches(setup, others[channel], seen))
            donors = rows[rows["channel"] == channel]
            found += self._swapped(setup, trial, self._keys(layer, channel, kinds), donors, seen)
        return {"swaps": swap_columns(layer, found), "causes": cause_columns(layer, found)}

    def _keys(self, layer: Layer, channel: int, kinds: Sequence[str]) -> list[Key]:
        """The clusters of a unit."""
        return [(kind, c) for kind in kinds for c in range(self.donors.n_clusters(layer, channel, kind))]

    def _others(self, setup: LayerSetup, channel: int, used: Int64[np.ndarray, " m"]) -> pd.DataFrame:
        generator = self._generator("other units' patches", setup.layer, channel)
        return setup.other_patches(channel, used, self.job.swap.recipients, generator)

    def _trial(
        self,
        setup: LayerSetup,
        channel: int,
        peaks: Float32[np.ndarray, " n"],
        is_free: Bool[np.ndarray, " n"],
        others: Sequence[Patch],
    ) -> Trial:
        """A unit's recipients, the places in them, and the patches that are the same for all clusters."""
        generator, n = self._generator("swaps", setup.layer, channel), self.job.swap.recipients
        recipients = middle_images(peaks, is_free, n if others else 0, generator)
        n = len(recipients)
        spots = spots_of(setup.grid, n, generator)
        sources = generator.permutation(np.setdiff1d(np.flatnonzero(is_free), recipients))
        sources = sources if len(sources) else recipients[::-1]
        random = [spot.here.of(self._pool_views[sources[i % len(sources)]]) for i, spot in enumerate(spots)]
        pictures = [self._pool_views[place] for place in recipients]
        blank = [plain(picture, setup.grid.size) for picture in pictures]
        shared = {"other_unit": (others[:n], False), "random": (random, False), "ablated_elsewhere": (blank, True)}
        return Trial(channel, pictures, spots, shared)

    def _swapped(
        self, setup: LayerSetup, trial: Trial, keys: Sequence[Key], donors: pd.DataFrame, seen: Views
    ) -> Iterator[ClusterRow]:
        """Pastes the patches of a unit's clusters."""
        patches = {
            (kind, c): _patches(setup, of_cluster.iloc[: min(self.job.swap.donors, len(trial))], seen)
            for kind, c in keys
            if len(of_cluster := donors[(donors["evidence"] == kind) & (donors["cluster"] == c)])
        }
        patches = {key: of_cluster for key, of_cluster in patches.items() if of_cluster}
        answers = trial.read(setup.read, patches) if patches else None
        for kind, cluster in keys:
            row = ClusterRow(trial.channel, kind, cluster, setup.grid.size, absent="" if len(trial) else NO_RECIPIENTS)
            if answers is not None and (kind, cluster) in patches:
                yield self._measured(row, setup, trial, answers, patches[kind, cluster])
            else:
                yield replace(row, absent=row.absent or NO_DONORS)

    def _measured(
        self, row: ClusterRow, setup: LayerSetup, trial: Trial, answers: Answers, patches: Sequence[Patch]
    ) -> ClusterRow:
        """The row with effects and an example: the recipient whose change is the median."""
        key = (row.evidence, row.cluster)
        purpose = f"sign flips of cluster {row.cluster} of {row.evidence}"
        effect = cluster_effect(
            answers.after[key],
            answers.before,
            np.arange(len(trial)) % len(patches),
            sd=setup.sd[row.channel],
            draws=self.job.swap.draws,
            generator=self._generator(purpose, setup.layer, row.channel),
            counted=CONTROLS if trial.has_places else [name for name in CONTROLS if name != "elsewhere"],
        )
        changes = answers.after[key][ALIGNED] - answers.before
        median = int(np.argsort(changes, kind="stable")[len(changes) // 2])
        side = self.job.embed.thumbnail_px or SIDE_PX
        before, after = (jpeg(picture, side) for picture in trial.example(patches, median))
        return replace(row, effect=effect, n_recipients=len(trial), before=before, after=after)

    # ---- images ------------------------------------------------------------------------------------------------------

    @cached_property
    def _pool(self) -> Int64[np.ndarray, " n"]:
        """A seeded sample of the images, the same for all units, from which recipients and random patches come."""
        ids = self.run.read("images", ["image"])["image"].to_numpy(np.int64)
        generator = np.random.default_rng(seed(self.job.seed, "recipients of swaps"))
        return np.sort(generator.permutation(ids)[: POOL * self.job.swap.recipients])

    @cached_property
    def _pool_views(self) -> UInt8[np.ndarray, "n h w c"]:
        seen = self._views(pd.Series(self._pool))
        return np.stack([seen[image] for image in self._pool.tolist()])

    def _views(self, images: pd.Series) -> dict[int, np.ndarray]:
        """What the network sees of these images."""
        ids = sorted({int(image) for image in images})
        return {p.image: view for p, view in views(self.network.preprocessing, self.images.read(ids))}

    def _generator(self, purpose: str, layer: Layer, channel: int) -> np.random.Generator:
        return np.random.default_rng(seed(self.job.seed, purpose, layer.name, channel))


def _patches(setup: LayerSetup, rows: pd.DataFrame, seen: Views) -> list[Patch]:
    """The patch around each peak."""
    peaks = rows[["image", "y", "x"]].itertuples(index=False)
    return [setup.grid.window(int(y), int(x)).of(seen[int(image)]) for image, y, x in peaks]
