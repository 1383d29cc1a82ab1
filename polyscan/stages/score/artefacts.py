"""Splits that a nuisance explains: a place of the map, copies of one image, or a frame around images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool

from polyscan.evidence import Subject
from polyscan.run import Run
from polyscan.scores.sample import LEAST_ITEMS, Sample
from polyscan.stats.nuisances import FRAME, Marked, copy_groups, copy_marks, explaining, place_marks
from polyscan.tables import TABLES, Columns
from polyscan.units import Layer

LEAST_FRAME = 0.05
"""Share of an image from which its frame counts."""
COLUMNS = tuple(column.name for column in TABLES["artefacts"].columns)


class ArtefactFinder:
    """Compares the clusters of units' exemplars with the places of their peaks and the looks of their images.

    Args:
        run: with exemplars and images.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        table = run.layer_table()
        sizes = zip(table["layer"], table["map_y"], table["map_x"], strict=True)
        self.sizes = {str(layer): (int(rows), int(columns)) for layer, rows, columns in sizes}

    def __call__(self, layer: Layer, subjects: Sequence[Subject]) -> Columns:
        """Rows of `artefacts`: one for each of these units of a layer.

        Args:
            layer: real or virtual.
            subjects: exemplars of its units.
        """
        peaks = self.run.read("exemplars", ["channel", "rank", "image", "y", "x"], where={"layer": layer.name})
        places = peaks.sort_values(["channel", "rank"], kind="stable").groupby("channel").indices
        rows: list[tuple[Any, ...]] = []
        for subject in subjects:
            of_unit = peaks.iloc[places[subject.channel]].set_index("rank").loc[subject.items]
            found = _explained(subject.sample, dict(self._marks(layer, of_unit)))
            kind, _, mark = found.name.partition(": ") if found else ("", "", "")
            shares = (found.share, found.elsewhere) if found else (None, None)
            rows.append((layer.name, layer.parent, layer.role, subject.channel, kind, mark, *shares))
        columns = list(zip(*rows, strict=True)) or [()] * len(COLUMNS)
        return dict(zip(COLUMNS, columns, strict=True))

    def _marks(self, layer: Layer, peaks: pd.DataFrame) -> Iterator[tuple[str, Bool[np.ndarray, " n"]]]:
        """The marks of one unit's exemplars."""
        yield from place_marks(peaks["y"].to_numpy(), peaks["x"].to_numpy(), self.sizes[layer.name])
        images = self._images.loc[peaks["image"]]
        yield from copy_marks(copy_groups(images["checksum"].to_numpy(str), images["hash"].to_numpy(np.int64)))
        yield FRAME, images["frame"].to_numpy() >= LEAST_FRAME

    @cached_property
    def _images(self) -> pd.DataFrame:
        return self.run.read("images", ["image", "checksum", "hash", "frame"]).set_index("image")


def _explained(sample: Sample, marks: dict[str, Bool[np.ndarray, " n"]]) -> Marked | None:
    """The mark that explains the two clusters that are tested, or else the best number of clusters."""
    if len(sample) < LEAST_ITEMS:
        return None
    return explaining(sample.halves.labels[0], marks) or explaining(sample.best_split.labels[0], marks)
