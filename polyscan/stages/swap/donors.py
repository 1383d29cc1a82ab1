"""Donors: strong images of a unit that are not in its evidence, each given to the cluster that it is nearest to.

`collect` keeps the k strongest images of every range of images, and `combine` the k strongest of all. What is left over
holds the ranks k to 4k, but for those of a range that has more than k of these. So donors cost no pass over the images;
and where all images are in one range, there are none. Each cluster takes its strongest ones: measured, ranks up to 2k
alone leave many a cluster with so few donors that no test can tell.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property

import numpy as np
import pandas as pd
from jaxtyping import Float, Float32, Int64
from torch import Tensor

from polyscan.evidence import FEATURES, EvidenceReader, Subject
from polyscan.inputs import embedded, open_embedder
from polyscan.inputs.peak_vectors import vectors_at
from polyscan.job import Job
from polyscan.run import Run
from polyscan.run.memo import Memo
from polyscan.stages.swap.chosen import DEFLATED, EXEMPLARS, evidence_images
from polyscan.stats.centres import cluster_centres, nearest_centre, unit_length
from polyscan.stats.topk import top_k_rows
from polyscan.tables.boxes import boxes_of
from polyscan.tables.keys import crop_keys
from polyscan.units import Layer
from polyscan.vision.embedders import Embedder
from polyscan.vision.networks import Network
from polyscan.vision.readouts import Reader

REACH = 4
"""Donors have ranks up to this many times the number of exemplars."""
SPARE = 2
"""Candidates that are looked at per donor wanted: clusters have unequal shares of them."""
PEAK = ["image", "y", "x"]
Views = Mapping[int, np.ndarray]
Wanted = Mapping[int, tuple[str, ...]]
"""Units by channel, each with its kinds of evidence."""


def held_out(job: Job, run: Run, layer: Layer, channels: range) -> pd.DataFrame:
    """Strong images that are not in a unit's evidence: `channel`, `evidence`, `image`, `y`, `x`, strongest first.

    For deflated evidence, those that continue the strongest and those that continue the least explained ones.
    """
    start = run.unit_order().start(layer.name) + channels.start
    numbers = range(start, start + len(channels))
    first = _ranked(run, "candidates", "activation", numbers, job.k)
    second = _ranked(run, "second_candidates", "unexplained", numbers, job.n_half)
    parts = [(first, EXEMPLARS), (first, DEFLATED), (second, DEFLATED)]
    rows = pd.concat([rows.assign(evidence=evidence) for rows, evidence in parts], ignore_index=True)
    rows = rows.sort_values(["channel", "evidence", "rank"], kind="stable")
    used = pd.MultiIndex.from_frame(evidence_images(run, layer.name, channels, job.n_half))
    key = ["channel", "evidence", "image"]
    rows = rows[~pd.MultiIndex.from_frame(rows[key]).isin(used)]
    return rows.drop_duplicates(key)[[*key, "y", "x"]].reset_index(drop=True)


def _ranked(run: Run, table: str, by: str, numbers: range, k: int) -> pd.DataFrame:
    """Rows with the ranks k to 4k of these units: `channel`, `rank`, `image`, `y`, `x`."""
    rows = run.read(table, ["unit", "channel", "image", by, "y", "x"], where={"unit": numbers})
    rows = rows.iloc[top_k_rows(rows["unit"].to_numpy(), rows[by].to_numpy(), rows["image"].to_numpy(), k=REACH * k)]
    rows = rows.assign(rank=rows.groupby("unit", sort=False).cumcount())
    return rows[rows["rank"] >= k][["channel", "rank", *PEAK]]


class DonorFinder:
    """Finds donors of a layer's units and gives each to its nearest cluster.

    Args:
        job: the settings.
        run: with scores and clusters.
        network: the scanned network.
        evidence: reads the units' evidence.
    """

    def __init__(self, job: Job, run: Run, network: Network, evidence: EvidenceReader) -> None:
        self.job = job
        self.run = run
        self.network = network
        self.evidence = evidence
        self._readers: Memo[str, Reader] = Memo(lambda source: Reader(network, source), 1)
        self._clusters: Memo[str, pd.DataFrame] = Memo(self._clusters_of, 1)

    def candidates(self, layer: Layer, channels: range, wanted: Wanted) -> pd.DataFrame:
        """Images that may become donors: rows of `held_out` with the number of clusters that they may go to."""
        rows = held_out(self.job, self.run, layer, channels)
        counts = self._clusters(layer.name).groupby(["channel", "evidence"])["cluster"].max() + 1
        rows = rows.join(counts.rename("n_clusters"), on=["channel", "evidence"], how="inner").reset_index(drop=True)
        is_wanted = [kind in wanted.get(channel, ()) for channel, kind in rows[["channel", "evidence"]].to_numpy()]
        rows = rows[np.array(is_wanted, dtype=bool)]
        most = SPARE * self.job.swap.donors * rows["n_clusters"]
        return rows[rows.groupby(["channel", "evidence"]).cumcount() < most].reset_index(drop=True)

    def assigned(self, layer: Layer, wanted: Wanted, rows: pd.DataFrame, views: Views) -> pd.DataFrame:
        """The candidates with their `cluster`.

        Args:
            layer: of the units.
            wanted: the units.
            rows: from `candidates`.
            views: what the network sees of their images.
        """
        vectors = self._vectors(layer, rows, views)
        cluster = np.full(len(rows), -1, dtype=np.int64)
        for subject in self._subjects(layer, wanted):
            of_unit = (rows["channel"] == subject.channel) & (rows["evidence"] == subject.evidence)
            places = np.flatnonzero(of_unit.to_numpy())
            if len(places):
                cluster[places] = nearest_centre(self._seen(subject, vectors[places]), self._centres(subject))
        return rows.assign(cluster=cluster)

    def n_clusters(self, layer: Layer, channel: int, evidence: str) -> int:
        """Number of clusters of a unit's evidence; 0 if it has none."""
        rows = self._clusters(layer.name)
        labels = rows["cluster"][(rows["channel"] == channel) & (rows["evidence"] == evidence)]
        return int(labels.max()) + 1 if len(labels) else 0

    def _clusters_of(self, layer: str) -> pd.DataFrame:
        """Clusters of a layer's units in the space where it is compared."""
        columns = ["channel", "evidence", "is_main", "item", "cluster"]
        rows = self.run.unit_rows("clusters", layer, columns)
        return rows[rows["is_main"] | (rows["evidence"] == DEFLATED)].reset_index(drop=True)

    def _subjects(self, layer: Layer, wanted: Wanted) -> Iterator[Subject]:
        channels, space = range(min(wanted), max(wanted) + 1), self.evidence.main_space(layer.name)
        readers = {EXEMPLARS: self.evidence.exemplars, DEFLATED: self.evidence.deflated}
        for kind, read in readers.items():
            for subject in read(layer.name, channels, space):
                if kind in wanted.get(subject.channel, ()):
                    yield subject

    def _centres(self, subject: Subject) -> Float[np.ndarray, "k d"]:
        rows = self._clusters(subject.layer)
        rows = rows[(rows["channel"] == subject.channel) & (rows["evidence"] == subject.evidence)]
        labels = rows.set_index("item")["cluster"].reindex(subject.items)
        return cluster_centres(subject.sample.seen, labels.to_numpy(np.int64))

    def _seen(self, subject: Subject, vectors: Float32[np.ndarray, "n d"]) -> Float[np.ndarray, "n r"]:
        whitening = subject.sample.whitening
        return unit_length(vectors if whitening is None else whitening(vectors))

    # ---- vectors of candidates ---------------------------------------------------------------------------------------

    def _vectors(self, layer: Layer, rows: pd.DataFrame, views: Views) -> Float32[np.ndarray, "n d"]:
        """Where the layer's evidence is compared: the vector of each candidate."""
        if rows.empty:
            return np.empty((0, 1), dtype=np.float32)
        space = self.evidence.main_space(layer.name)
        return self._features(layer, rows, views) if space in FEATURES else self._embeddings(layer, rows, views)

    def _features(self, layer: Layer, rows: pd.DataFrame, views: Views) -> Float32[np.ndarray, "n d"]:
        about = self._about(layer.parent)
        source = str(about["next"]) if about["space"] == "next" else layer.parent
        reader = self._readers(source)
        sizes = ((int(about["map_y"]), int(about["map_x"])), reader.points[0].map_size)
        images, size = np.unique(rows["image"].to_numpy(np.int64)), self.job.collect.batch
        vectors: list[np.ndarray] = []
        places: list[Int64[np.ndarray, " n"]] = []
        for start in range(0, len(images), size):
            number = {int(image): row for row, image in enumerate(images[start : start + size])}
            found = np.flatnonzero(rows["image"].isin(number).to_numpy())
            places.append(found)

            def gather(_: int, maps: Float[Tensor, "b c y x"], found: object = found, number: object = number) -> None:
                vectors.append(vectors_at(maps, rows.iloc[found], number, *sizes))  # type: ignore[arg-type]

            reader.read(self._inputs([views[image] for image in number]), gather)
        return np.concatenate(vectors)[np.argsort(np.concatenate(places), kind="stable")]

    def _about(self, layer: str) -> pd.Series:
        """The layer's row of `layers`."""
        rows = self.run.layer_table()
        return rows[rows["layer"] == layer].iloc[0]

    def _inputs(self, views: list[np.ndarray]) -> Float[Tensor, "b c y x"]:
        """A batch of the job's size; what is missing is padding."""
        padded = np.zeros((self.job.collect.batch, *views[0].shape), dtype=np.uint8)
        padded[: len(views)] = np.stack(views)
        return self.network.preprocessing.batch(padded, self.network.device)

    def _embeddings(self, layer: Layer, rows: pd.DataFrame, views: Views) -> Float32[np.ndarray, "n d"]:
        """Embeddings of the candidates' crops: those that the run has, or new ones."""
        boxes = boxes_of(rows, self._about(layer.name), self.run.input_size)
        keys = crop_keys(rows["image"].to_numpy(np.int64), boxes)
        if self.run.is_embedded(keys):
            return self.run.vectors(keys)
        crops = (views[int(image)][t:b, left:r] for image, (t, left, b, r) in zip(rows["image"], boxes, strict=True))
        return embedded(self._embedder, crops, self.job.embed.batch)

    @cached_property
    def _embedder(self) -> Embedder:
        return open_embedder(self.job, self.network)
