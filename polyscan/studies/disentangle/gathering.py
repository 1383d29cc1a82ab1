"""The vectors that a unit's evidence gives its layer: at the peak of each image, and over the layer as a whole."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor

from polyscan.errors import JobError
from polyscan.inputs import CollectedImages, batches
from polyscan.inputs.virtual import OF_INPUTS, OWN
from polyscan.job import Job
from polyscan.nulls.readouts import Activations
from polyscan.run import Run
from polyscan.shards import seed
from polyscan.studies.disentangle.channels import InputReadout, input_readouts
from polyscan.units import REAL, Unit, parent_and_role
from polyscan.vision.networks import Network
from polyscan.vision.readouts import Channels, Reader

SAMPLE = 1024
"""Images over which a layer's moments, and what parts explain of a unit, are measured."""
TABLES = {"first": "exemplars", "second": "second_exemplars"}


@dataclass(frozen=True, eq=False)
class Items:
    """Images of one kind of a unit's evidence, strongest (or least explained) first.

    Args:
        image: their ids.
        vectors: the layer's vector at the unit's peak on each.
    """

    image: Int64[np.ndarray, " n"]
    vectors: Float32[np.ndarray, "n c"]

    def __len__(self) -> int:
        return len(self.image)


@dataclass(frozen=True, eq=False)
class Whole:
    """A unit that is to be taken apart.

    Args:
        unit: its layer, real or virtual, and channel.
        exemplars: its strongest images.
        second: those that its main readout leaves unexplained; empty without a second test.
        readout: weights and bias by which a channel reads its layer's inputs, if these were gathered.
    """

    unit: Unit
    exemplars: Items
    second: Items
    readout: InputReadout | None = None

    @property
    def parent(self) -> str:
        """The real layer that it is read from."""
        return parent_and_role(self.unit.layer)[0]


@dataclass(frozen=True, eq=False)
class Gathered:
    """Units with their vectors, and the moments of each layer's vectors.

    Args:
        of: which vectors: OWN, the layer's, or OF_INPUTS, those that it reads.
        wholes: the units, in the order asked for.
        moments: by real layer.
    """

    of: str
    wholes: Sequence[Whole]
    moments: Mapping[str, Activations]


def sample_ids(job: Job, run: Run) -> Int64[np.ndarray, " n"]:
    """A seeded sample of a run's images, ascending."""
    ids = run.read("images", ["image"])["image"].to_numpy(np.int64)
    generator = np.random.default_rng(seed(job.seed, "disentangling's images"))
    return np.sort(ids[generator.permutation(len(ids))[:SAMPLE]])


def gathered(
    job: Job, run: Run, network: Network, images: CollectedImages, units: Sequence[Unit], *, of: str
) -> Gathered:
    """Reads the vectors of some units in one pass over their images and a sample.

    Args:
        job: the run's.
        run: a finished run.
        network: the run's.
        images: the run's.
        units: real or virtual ones, of which the run has exemplars.
        of: OWN or OF_INPUTS.

    Raises:
        JobError: if OF_INPUTS is asked of a layer that does not read its inputs linearly at each position.
    """
    parents = list(dict.fromkeys(parent_and_role(unit.layer)[0] for unit in units))
    reader = _reader(network, parents, of)
    rows = _rows(run, units)
    sample = sample_ids(job, run)
    tallies = {parent: _Tally(job, parent, len(sample)) for parent in parents}
    readouts: dict[Unit, InputReadout] = {}
    in_sample, by_image = set(sample.tolist()), dict(iter(rows.groupby("image")))
    ids = sorted(in_sample | set(rows["image"].tolist()))
    for batch in batches(network, images, ids, job.collect.batch):
        numbers = [picture.image for picture in batch.pictures]

        def gather(index: int, maps: Float[Tensor, "b c y x"], numbers: list[int] = numbers) -> None:
            parent, role = parent_and_role(reader.points[index].layer)
            if (OWN if role == REAL else role) == of:
                for row, image in enumerate(numbers):
                    peaks = by_image.get(image)
                    if peaks is not None:
                        tallies[parent].add_peaks(maps[row], peaks[peaks["parent"] == parent])
                    if image in in_sample:
                        tallies[parent].add_sample(maps[row], image)

        if of == OF_INPUTS and not readouts:
            readouts = input_readouts(network, reader, units, batch.inputs)
        reader.read(batch.inputs, gather)
    moments = {parent: Activations.of(np.concatenate(tally.vectors)) for parent, tally in tallies.items()}
    return Gathered(of, [_whole(unit, rows, tallies, readouts.get(unit)) for unit in units], moments)


def _reader(network: Network, parents: Sequence[str], of: str) -> Reader:
    if of == OWN:
        return Reader(network, parents)
    plain = Reader(network, parents)
    for parent in parents:
        if plain.inputs(parent) is None:
            raise JobError(
                f"{parent} is no linear layer and no 1 x 1 convolution, so its channels can't be split by their "
                "inputs; use --how vectors or --how second, or units of another layer"
            )
    return Reader(network, parents, None, {parent: {OF_INPUTS: Channels()} for parent in parents})


def _rows(run: Run, units: Sequence[Unit]) -> pd.DataFrame:
    """Peaks of all units' evidence: layer, parent, channel, kind, rank, image, y, x; numbered by `item`."""
    wanted = pd.MultiIndex.from_tuples([(unit.layer, unit.channel) for unit in units], names=["layer", "channel"])
    columns = ["layer", "parent", "channel", "rank", "image", "y", "x"]
    where = {"layer": list(dict.fromkeys(unit.layer for unit in units))}
    frames = [run.read(table, columns, where=where).assign(kind=kind) for kind, table in TABLES.items()]
    rows = pd.concat(frames, ignore_index=True)
    rows = rows[pd.MultiIndex.from_frame(rows[["layer", "channel"]]).isin(wanted)]
    return rows.sort_values(["layer", "channel", "kind", "rank"], kind="stable").reset_index(drop=True)


def _whole(unit: Unit, rows: pd.DataFrame, tallies: Mapping[str, _Tally], readout: InputReadout | None = None) -> Whole:
    own = rows[(rows["layer"] == unit.layer) & (rows["channel"] == unit.channel)]
    peaks = tallies[parent_and_role(unit.layer)[0]].peaks

    def items(kind: str) -> Items:
        known = own[own["kind"] == kind]
        known = known[[number in peaks for number in known.index]]
        vectors = [peaks[int(number)] for number in known.index]
        width = len(next(iter(peaks.values())))
        return Items(
            known["image"].to_numpy(np.int64), np.stack(vectors) if vectors else np.empty((0, width), np.float32)
        )

    return Whole(unit, items("first"), items("second"), readout)


class _Tally:
    """Vectors of one layer, image by image."""

    def __init__(self, job: Job, layer: str, n_sample: int) -> None:
        self.seed = seed(job.seed, "disentangling's positions", layer)
        self.per_image = max(1, math.ceil(job.survey.positions / n_sample))
        self.vectors: list[Float32[np.ndarray, "p c"]] = []
        self.peaks: dict[int, Float32[np.ndarray, " c"]] = {}

    def add_peaks(self, maps: Float[Tensor, "c y x"], rows: pd.DataFrame) -> None:
        """Keeps the vector at the peak of each row, by the row's number."""
        for number, y, x in zip(rows.index.tolist(), rows["y"].tolist(), rows["x"].tolist(), strict=True):
            self.peaks[number] = maps[:, y, x].float().cpu().numpy()

    def add_sample(self, maps: Float[Tensor, "c y x"], image: int) -> None:
        """Keeps vectors at seeded positions."""
        flat = maps.flatten(1).float()
        generator = np.random.default_rng((self.seed, image))
        n = flat.shape[1]
        positions = (
            generator.permutation(n)[: self.per_image]
            if n <= self.per_image
            else generator.integers(n, size=self.per_image)
        )
        self.vectors.append(flat[:, torch.from_numpy(positions).to(flat.device)].T.cpu().numpy())
