"""Vectors at the peaks of units' exemplars, and the moments of their layer's vectors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from polyscan.inputs import Batch
from polyscan.inputs.virtual import OF_INPUTS, OWN, reads_inputs
from polyscan.job import Job
from polyscan.nulls.readouts import Activations
from polyscan.shards import seed
from polyscan.units import REAL, Layer, parent_and_role
from polyscan.vision.readouts import Channels, Reader


@dataclass(frozen=True, eq=False)
class LayerVectors:
    """A layer's vectors, own or those that it reads.

    Args:
        of: which ones: OWN or OF_INPUTS.
        mean: mean vector, at seeded positions.
        covariance: covariance there.
        tops: mean vector at the peaks of each unit's exemplars; NaN for a unit without any in the sample.
        n: number of exemplars in each mean.
    """

    of: str
    mean: Float64[np.ndarray, " c"]
    covariance: Float64[np.ndarray, "c c"]
    tops: Float64[np.ndarray, "u c"]
    n: Int64[np.ndarray, " u"]


class Tops:
    """Gathers vectors of several layers in one pass over a sample of images.

    Args:
        job: gives the seed, the number of positions and which vectors are read.
        reader: of the scanned network.
        layers: each real layer with its virtual layers.
        exemplars: rows of `exemplars` on images of the sample.
        n_images: number of images in the sample.
    """

    def __init__(
        self, job: Job, reader: Reader, layers: Sequence[Sequence[Layer]], exemplars: pd.DataFrame, n_images: int
    ) -> None:
        names = [group[0].name for group in layers]
        of_inputs = {name for name in names if reads_inputs(reader.inputs(name), job.survey.vectors)}
        raw = {name: {OF_INPUTS: Channels()} for name in names if name in of_inputs}
        self.reader = Reader(reader.network, names, None, raw)
        per_image = max(1, math.ceil(job.survey.positions / n_images))
        rows = dict(iter(exemplars.groupby("parent", sort=False)))
        empty = exemplars.iloc[:0]
        self.tallies = {
            group[0].name: _LayerTally(
                group, rows.get(group[0].name, empty), seed(job.seed, "deflation's positions", group[0].name), per_image
            )
            for group in layers
        }
        self.of = {name: OF_INPUTS if name in of_inputs else OWN for name in names}

    def add(self, batch: Batch) -> None:
        """Gathers from one batch."""
        images = np.array([picture.image for picture in batch.pictures], dtype=np.int64)

        def gather(index: int, maps: Float[Tensor, "b c y x"]) -> None:
            name, role = parent_and_role(self.reader.points[index].layer)
            if (role if role != REAL else OWN) == self.of[name]:
                self.tallies[name].add(maps[: len(images)], images)

        self.reader.read(batch.inputs, gather)

    def results(self) -> dict[str, LayerVectors]:
        """What was gathered, by layer."""
        return {name: tally.result(self.of[name]) for name, tally in self.tallies.items()}


class _LayerTally:
    """Sums of one layer's vectors at peaks, and its vectors at seeded positions."""

    def __init__(self, group: Sequence[Layer], exemplars: pd.DataFrame, seed: int, per_image: int) -> None:
        starts: Mapping[str, int] = dict(
            zip((layer.name for layer in group), np.cumsum([0, *(layer.n_units for layer in group)]), strict=False)
        )
        self.unit = (exemplars["layer"].map(starts).to_numpy(np.int64)) + exemplars["channel"].to_numpy(np.int64)
        order = np.argsort(exemplars["image"].to_numpy(), kind="stable")
        self.unit = self.unit[order]
        self.image, self.y, self.x = (exemplars[name].to_numpy(np.int64)[order] for name in ("image", "y", "x"))
        self.n_units = sum(layer.n_units for layer in group)
        self.seed = seed
        self.per_image = per_image
        self.sums: Tensor | None = None
        self.n = np.zeros(self.n_units, dtype=np.int64)
        self.vectors: list[np.ndarray] = []

    def add(self, maps: Float[Tensor, "b c y x"], images: Int64[np.ndarray, " b"]) -> None:
        maps = maps.float()
        if self.sums is None:
            self.sums = torch.zeros(self.n_units, maps.shape[1], device=maps.device)
        self.vectors.append(self._sampled(maps, images))
        first = np.searchsorted(self.image, images)
        last = np.searchsorted(self.image, images, side="right")
        rows = np.concatenate([np.arange(start, stop) for start, stop in zip(first, last, strict=True)])
        row_of_image = np.repeat(np.arange(len(images)), last - first)
        at = [torch.from_numpy(values).to(maps.device) for values in (row_of_image, self.y[rows], self.x[rows])]
        units = torch.from_numpy(self.unit[rows]).to(maps.device)
        self.sums.index_add_(0, units, maps[at[0], :, at[1], at[2]])
        self.n += np.bincount(self.unit[rows], minlength=self.n_units)

    def _sampled(self, maps: Float[Tensor, "b c y x"], images: Int64[np.ndarray, " b"]) -> np.ndarray:
        flat = maps.flatten(2)
        n = flat.shape[2]
        drawn = [np.random.default_rng((self.seed, int(image))).integers(n, size=self.per_image) for image in images]
        positions = torch.from_numpy(np.stack(drawn) if n > 1 else np.zeros((len(images), 1), dtype=np.int64))
        vectors = flat.gather(2, positions.to(flat.device)[:, None, :].expand(-1, flat.shape[1], -1))
        return vectors.permute(0, 2, 1).flatten(0, 1).cpu().numpy()

    def result(self, of: str) -> LayerVectors:
        vectors = np.concatenate(self.vectors)
        self.vectors = []
        sums = np.zeros((self.n_units, vectors.shape[1])) if self.sums is None else self.sums.double().cpu().numpy()
        tops = np.divide(sums, self.n[:, None], out=np.full(sums.shape, np.nan), where=self.n[:, None] > 0)
        try:
            moments = Activations.of(vectors)
        except ValueError:  # a dead layer: its covariance is 0, which `main_readouts` refuses by name
            c = vectors.shape[1]
            return LayerVectors(of, np.zeros(c), np.zeros((c, c)), tops, self.n)
        return LayerVectors(of, moments.mean, moments.covariance, tops, self.n)
