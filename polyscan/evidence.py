"""A unit's evidence as scores get it, assembled from a run's tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, cast

import numpy as np
import pandas as pd
from jaxtyping import Float32, Int32, Int64

from polyscan.errors import TableError
from polyscan.job import Job
from polyscan.nulls.coherence import random_clarity
from polyscan.run import Run
from polyscan.run.memo import Memo
from polyscan.scores.concepts import Concepts
from polyscan.scores.sample import Evidence, Sample
from polyscan.shards import seed
from polyscan.stats.whitening import Whitening
from polyscan.tables.keys import crop_keys, position_keys, visualization_keys
from polyscan.units import parent_and_role, virtual_layer

FEATURES = ("own", "next")
"""Spaces of the scanned network's own features."""
SEEN = "seen"
"""The role of rows of `readouts` that are not units: the mean and the axes that whiten a layer's features."""


@dataclass(frozen=True, eq=False)
class Subject:
    """One unit's evidence of one kind in one space, with the keys of its rows."""

    layer: str
    channel: int
    evidence: Evidence
    space: str
    items: Int32[np.ndarray, " n"]
    sample: Sample


def has_pool(job: Job, run: Run) -> bool:
    """Whether every image is embedded whole: if the job wants it, and a layer is compared in the embedder's space."""
    return job.embed.pool and bool((run.layer_table()["space"] == "image").any())


def whole_images(run: Run) -> pd.DataFrame:
    """Every readable image as a crop of the whole image: `image`, its box, and its key `crop`."""
    images = run.read("images", ["image"])["image"].to_numpy()
    boxes = np.tile(np.array([0, 0, *run.input_size], dtype=np.int32), (len(images), 1))
    columns = dict(zip(("top", "left", "bottom", "right"), boxes.T, strict=True))
    return pd.DataFrame({"image": images, **columns, "crop": crop_keys(images, boxes)})


class EvidenceReader:
    """Reads the evidence of a run's units.

    Args:
        job: sets how many exemplars are scored and how they are clustered.
        run: with embedded evidence.
    """

    def __init__(self, job: Job, run: Run) -> None:
        self.job = job
        self.run = run
        self.layers = run.layer_table().set_index("layer")
        self.n = job.n_scored
        self._whitenings: Memo[str, Whitening] = Memo(self._layer_whitening)
        # A layer's tables are read once for all its shards: reading one of them takes as long as scoring thirty sets.
        self._exemplars: Memo[str, pd.DataFrame] = Memo(partial(self._ranked, "exemplars"), 1)
        self._second: Memo[str, pd.DataFrame] = Memo(partial(self._ranked, "second_exemplars"), 1)
        self._visualizations: Memo[str, pd.DataFrame] = Memo(self._visualizations_of, 1)
        self._units: Memo[str, pd.DataFrame] = Memo(self._units_of, 1)

    def main_space(self, layer: str) -> str:
        """The space in which a layer's exemplars are compared: `own`, `next`, or the embedder's name."""
        space = str(self.layers.loc[layer, "space"])
        return self.job.embed.model if space == "image" else space

    def exemplars(self, layer: str, channels: range, space: str) -> Iterator[Subject]:
        """Exemplars of the layer's live units among `channels`, in one space."""
        rows = self._exemplars(layer)
        rows = rows[rows["channel"].isin(channels) & (rows["rank"] < self.n)].assign(item=lambda rows: rows["rank"])
        yield from self._subjects(layer, "exemplars", space, _keyed(rows, space))

    def deflated(self, layer: str, channels: range, space: str) -> Iterator[Subject]:
        """Deflated evidence of the layer's live units among `channels`: their strongest images and the least explained.

        Items below `job.n_half` are the unit's strongest exemplars, the others those that its main readout leaves
        unexplained. A unit for which fewer of these were found than half its evidence has none.
        """
        half = self.job.n_half
        halves = [rows[rows["channel"].isin(channels)] for rows in (self._exemplars(layer), self._second(layer))]
        first, second = (rows[rows["rank"] < half] for rows in halves)
        second = second[second.groupby("channel")["rank"].transform("size") == half]
        first = first[first["channel"].isin(second["channel"])]
        rows = pd.concat([first.assign(item=first["rank"]), second.assign(item=second["rank"] + half)])
        yield from self._subjects(layer, "deflated", space, _keyed(rows, space))

    def visualizations(self, layer: str, channels: range) -> Iterator[Subject]:
        """Visualizations of the layer's live units among `channels`, in the embedder's space."""
        rows = self._visualizations(layer)
        rows = rows[rows["channel"].isin(channels)].rename(columns={"index": "item"})
        rows["key"] = visualization_keys([layer] * len(rows), rows["channel"], rows["item"])
        yield from self._subjects(layer, "visualizations", self.job.embed.model, rows)

    def _ranked(self, table: str, layer: str) -> pd.DataFrame:
        columns = ["channel", "rank", "image", "activation", "y", "x", "crop"]
        return self.run.read(table, columns, where={"layer": layer})

    def _visualizations_of(self, layer: str) -> pd.DataFrame:
        return self.run.read("visualizations", ["channel", "index", "activation"], where={"layer": layer})

    def _units_of(self, layer: str) -> pd.DataFrame:
        columns = ["channel", "min", "max", "is_dead"]
        return self.run.read("units", columns, where={"layer": layer}).set_index("channel")

    def _subjects(self, layer: str, evidence: Evidence, space: str, rows: pd.DataFrame) -> Iterator[Subject]:
        units = self._units(layer)
        low, high = units["min"].to_dict(), units["max"].to_dict()
        rows = rows[~rows["channel"].map(units["is_dead"])]
        if rows.empty:
            return
        vectors = self._vectors(layer, space, rows["key"].to_numpy(np.int64))
        whitening = self.whitening(layer, space)
        # Columns once for all units: a table of a hundred rows takes longer to cut out than its numbers to read.
        activations, items = rows["activation"].to_numpy(np.float32), rows["item"].to_numpy(np.int32)
        labels = self.labels_of(rows["image"].to_numpy()) if evidence != "visualizations" else None
        for channel, places in rows.groupby("channel", sort=True).indices.items():
            number = int(cast("int", channel))
            sample = Sample(
                embeddings=vectors[places],
                activations=activations[places],
                activation_min=float(low[number]),
                activation_max=float(high[number]),
                evidence=evidence,
                max_clusters=self.job.score.max_clusters,
                restarts=self.job.score.restarts,
                seed=seed(self.job.seed, f"clusters of {evidence} in {space}", layer, number, self.job.score.seed),
                whitening=whitening,
                labels=None if labels is None else labels[places],
                prototypes=self.prototypes if evidence != "visualizations" else None,
                vocabulary=self.vocabulary if space == self.job.embed.model else None,
            )
            yield Subject(layer, number, evidence, space, items[places], sample)

    def sample_of(self, vectors: Float32[np.ndarray, "n d"], images: Int64[np.ndarray, " n"], *, seed: int) -> Sample:
        """A set of whole images in the embedder's space that no unit has chosen: its activations are all 0."""
        return Sample(
            embeddings=vectors,
            activations=np.zeros(len(vectors), dtype=np.float32),
            activation_min=0.0,
            activation_max=0.0,
            max_clusters=self.job.score.max_clusters,
            restarts=self.job.score.restarts,
            seed=seed,
            whitening=self._image_whitening,
            labels=self.labels_of(images),
            prototypes=self.prototypes,
            vocabulary=self.vocabulary,
        )

    def _vectors(self, layer: str, space: str, keys: Int64[np.ndarray, " n"]) -> Float32[np.ndarray, "n d"]:
        if space not in FEATURES:
            return self.run.vectors(keys)
        known, vectors = self.run.features(parent_and_role(layer)[0], space)
        place = np.searchsorted(known, keys)
        place[place == len(known)] = 0
        if len(known) == 0 or not np.array_equal(known[place], keys):
            raise TableError(f"{layer} has peaks without features in space `{space}`; make them by --redo embed")
        return vectors[place]

    def whitening(self, layer: str, space: str) -> Whitening | None:
        """The whitening of a space before cosines are computed; None if it is not whitened."""
        if space not in FEATURES:
            return self._image_whitening
        return self._whitenings(parent_and_role(layer)[0])

    def _layer_whitening(self, layer: str) -> Whitening:
        """The whitening of a layer's features, fitted to the survey's sample."""
        where = {"layer": virtual_layer(layer, SEEN)}
        rows = self.run.read("readouts", ["channel", "weights"], where=where)
        mean, *axes = rows.sort_values("channel", kind="stable")["weights"]
        return Whitening(np.asarray(mean, dtype=np.float32), np.stack(axes, axis=1).astype(np.float32))

    def random_clarity(self, layer: str, space: str) -> float:
        """Clarity that 95 % of random sets stay under; NaN if it was not sampled."""
        if space in FEATURES:
            # The survey has it for sets of k. The mean cosine of n vectors of length 1 is (|sum|^2 / n - 1) / (n - 1),
            # and the distribution of |sum|^2 / n over random sets around 0 does not depend on n.
            of_k = float(cast("Any", self.layers.loc[layer, "random_clarity"]))
            return of_k * (self.job.k - 1) / (self.n - 1)
        return self._random_image_clarity

    @cached_property
    def _random_image_clarity(self) -> float:
        if not has_pool(self.job, self.run):
            return float("nan")
        generator = np.random.default_rng(seed(self.job.seed, "random sets"))
        keys = whole_images(self.run)["crop"].to_numpy()
        keys = np.sort(generator.permutation(keys)[: self.job.survey.images])
        vectors = self.run.vectors(keys)
        return random_clarity(
            self._image_whitening(vectors) if self._image_whitening else vectors, self.n, generator=generator
        )

    # ---- labels and concepts ---------------------------------------------------------------------------------------

    @cached_property
    def _labels(self) -> pd.Series:
        images = self.run.read("images", ["image", "label"])
        return images.set_index("image")["label"]

    @cached_property
    def has_labels(self) -> bool:
        """Whether the images have at least two classes; with one class, labels distinguish nothing."""
        return self._labels.nunique() > 1

    def labels_of(self, images: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, " n"] | None:
        """Class of each image, -1 if it has none; None if the data have no classes."""
        if not self.has_labels:
            return None
        return self._labels.reindex(images).fillna(-1).to_numpy(np.int64)

    @cached_property
    def _concepts(self) -> pd.DataFrame:
        return self.run.read("concepts")

    @cached_property
    def _image_whitening(self) -> Whitening | None:
        mean, axes = (self._concepts[self._concepts["kind"] == kind]["embedding"] for kind in ("mean", "axis"))
        if not len(mean) or not len(axes):
            return None
        vectors = np.stack(cast("Sequence[Any]", axes.to_list()), axis=1)
        return Whitening(np.asarray(mean.iloc[0], dtype=np.float32), vectors.astype(np.float32))

    @cached_property
    def prototypes(self) -> Concepts | None:
        """Label prototypes; None if there are fewer than two."""
        return self._of_kind("label") if self.has_labels else None

    @cached_property
    def vocabulary(self) -> Concepts | None:
        """Words, embedded by the embedder's text tower; None if there are fewer than two."""
        return self._of_kind("text")

    def _of_kind(self, kind: str) -> Concepts | None:
        rows = self._concepts[self._concepts["kind"] == kind]
        if len(rows) < 2 or self._image_whitening is None:  # a pair
            return None
        vectors = np.stack(cast("Sequence[Any]", rows["embedding"].to_list()))
        # In a joint space words lie far from images, so they are centred by the mean of words.
        centre = vectors.mean(axis=0) if kind == "text" else self._image_whitening.mean
        return Concepts(vectors - centre, rows["label"].to_numpy(np.int64), rows["concept"].to_list())


def _keyed(rows: pd.DataFrame, space: str) -> pd.DataFrame:
    """Rows with the `key` under which a space has their vectors."""
    if space in FEATURES:
        keys = position_keys(rows["image"].to_numpy(), rows["y"].to_numpy(), rows["x"].to_numpy())
        return rows.assign(key=keys)
    return rows.rename(columns={"crop": "key"})
