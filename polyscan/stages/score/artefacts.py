"""Splits that a nuisance explains: a place of the map, copies of one image, or a frame around images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool

from polyscan.evidence import Subject
from polyscan.job import Job
from polyscan.run import Run
from polyscan.scores.sample import LEAST_ITEMS, Sample
from polyscan.stats.nuisances import FRAME, Marked, copy_groups, copy_marks, explaining, place_marks
from polyscan.tables import TABLES, Columns
from polyscan.units import Layer

LEAST_FRAME = 0.05
"""Share of an image from which its frame counts."""
MOST_FRAMED = 0.5
"""Share of all images with a frame from which frames are how these images are, and no nuisance."""
LEAST_SIDE = 32
"""Shorter side in px under which an image is too small for its hash, or for a frame."""
COLUMNS = tuple(column.name for column in TABLES["artefacts"].columns)


class ArtefactFinder:
    """Compares the clusters of units' exemplars with the places of their peaks and the looks of their images.

    Args:
        job: gives the size of each half of deflated evidence.
        run: with exemplars and images.
    """

    def __init__(self, job: Job, run: Run) -> None:
        self.job = job
        self.run = run
        table = run.layer_table()
        sizes = zip(table["layer"], table["map_y"], table["map_x"], strict=True)
        self.sizes = {str(layer): (int(rows), int(columns)) for layer, rows, columns in sizes}

    def __call__(self, layer: Layer, subjects: Sequence[Subject]) -> Columns:
        """Rows of `artefacts`: one for each of these units of a layer.

        Args:
            layer: real or virtual.
            subjects: exemplars and deflated evidence of its units.
        """
        rows: list[tuple[Any, ...]] = []
        peaks = {"exemplars": self._peaks("exemplars", layer)}
        if any(subject.evidence == "deflated" for subject in subjects):
            half, second = self.job.n_half, self._peaks("second_exemplars", layer)
            first = peaks["exemplars"][peaks["exemplars"]["item"] < half]
            peaks["deflated"] = pd.concat([first, second.assign(item=second["item"] + half)], ignore_index=True)
        places = {kind: found.groupby("channel").indices for kind, found in peaks.items()}
        for subject in subjects:
            kind = subject.evidence
            of_unit = peaks[kind].iloc[places[kind][subject.channel]].set_index("item").loc[subject.items]
            found = _explained(subject.sample, dict(self._marks(layer, of_unit)))
            name, _, mark = found.name.partition(": ") if found else ("", "", "")
            shares = (found.share, found.elsewhere) if found else (None, None)
            key = (layer.name, layer.parent, layer.role, subject.channel, subject.evidence)
            rows.append((*key, name, mark, *shares))
        columns = list(zip(*rows, strict=True)) or [()] * len(COLUMNS)
        return dict(zip(COLUMNS, columns, strict=True))

    def _peaks(self, table: str, layer: Layer) -> pd.DataFrame:
        rows = self.run.read(table, ["channel", "rank", "image", "y", "x"], where={"layer": layer.name})
        return rows.rename(columns={"rank": "item"})

    def _marks(self, layer: Layer, peaks: pd.DataFrame) -> Iterator[tuple[str, Bool[np.ndarray, " n"]]]:
        """The marks of one unit's exemplars."""
        yield from place_marks(peaks["y"].to_numpy(), peaks["x"].to_numpy(), self.sizes[layer.name])
        images = self._images.loc[peaks["image"]]
        yield from copy_marks(copy_groups(images["checksum"].to_numpy(str), images["hash"].to_numpy(np.int64)))
        yield FRAME, images["framed"].to_numpy(bool)

    @cached_property
    def _images(self) -> pd.DataFrame:
        """Looks of the images. Of tiny ones only exact copies count: their hashes are coarse, and edges often blank."""
        images = self.run.read("images", ["image", "checksum", "hash", "frame", "height", "width"]).set_index("image")
        is_tiny = images[["height", "width"]].min(axis=1) < LEAST_SIDE
        images["framed"] = (images["frame"] >= LEAST_FRAME) & ~is_tiny
        images["framed"] &= images["framed"].mean() < MOST_FRAMED
        images["hash"] = images["hash"].where(~is_tiny, 0)  # 0: none
        return images


def _explained(sample: Sample, marks: dict[str, Bool[np.ndarray, " n"]]) -> Marked | None:
    """The mark that explains the two clusters that are tested, or else the best number of clusters."""
    if len(sample) < LEAST_ITEMS:
        return None
    found = explaining(sample.halves.labels[0], marks)
    if found or sample.evidence == "deflated":  # the second test splits in two alone
        return found
    return explaining(sample.best_split.labels[0], marks)
