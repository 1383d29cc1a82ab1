"""Which items belong to which cluster of a unit, in both tests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int64

from polyscan.inputs import BOX
from polyscan.job import Job
from polyscan.run import Run
from polyscan.stages.name.rows import ALL

ITEM = ["channel", "rank", "image", "crop", *BOX]
KINDS = ("exemplars", "deflated")
FIRST, SECOND = 0, 1
"""The halves of deflated evidence: the strongest exemplars, and the least explained images."""


class NamedGroup(NamedTuple):
    """One cluster of a unit, or all its exemplars: which of the rows belong to it."""

    cluster: int
    members: Bool[np.ndarray, " n"]


class MemberReader:
    """Reads items and clusters through the run."""

    def __init__(self, job: Job, run: Run) -> None:
        self.job = job
        self.run = run
        self.spaces = run.layer_table().set_index("layer")["space"]

    def space(self, layer: str) -> str:
        """Where a layer's evidence is compared, and so clustered."""
        space = str(self.spaces[layer])
        return self.job.embed.model if space == "image" else space

    def __call__(self, layer: str, channels: range) -> pd.DataFrame:
        """The items of live units: channel, evidence, item, cluster, image, box and crop; strongest item first.

        Exemplars come in the clusters of the first test; deflated evidence in its two halves, which are what the second
        test compares: the strongest exemplars, and the images that the main meaning explains least.
        """
        first, second = (self._items(table, layer, channels) for table in ("exemplars", "second_exemplars"))
        names = ["channel", "evidence", "is_main", "item", "cluster"]
        clusters = self.run.unit_rows("clusters", layer, names, channels=channels)
        main = clusters[clusters["is_main"]][["channel", "item", "cluster"]]
        tested = clusters["channel"][clusters["evidence"] == "deflated"].unique()
        half = self.job.n_half
        halves = [
            first[first["item"] < half].assign(cluster=FIRST),
            second[second["item"] < half].assign(cluster=SECOND, item=lambda rows: rows["item"] + half),
        ]
        deflated = pd.concat(halves, ignore_index=True)
        parts = (first.merge(main, on=["channel", "item"]), deflated[deflated["channel"].isin(tested)])
        rows = pd.concat([part.assign(kind=kind) for kind, part in enumerate(parts)], ignore_index=True)
        return rows.sort_values(["channel", "kind", "item"], kind="stable").reset_index(drop=True)

    def _items(self, table: str, layer: str, channels: range) -> pd.DataFrame:
        return self.run.unit_rows(table, layer, ITEM, channels=channels).rename(columns={"rank": "item"})


def strongest(rows: pd.DataFrame, most: int) -> pd.DataFrame:
    """The first items of each cluster; among them are the first of all of a unit's."""
    return rows[rows.groupby(["channel", "kind", "cluster"]).cumcount() < most].reset_index(drop=True)


def shares_of(rows: pd.DataFrame) -> Mapping[tuple[int, str, int], float]:
    """For each channel, evidence and cluster, the share of the evidence's items that are in the cluster."""
    sizes = rows.groupby(["channel", "kind", "cluster"]).size()
    shares = sizes / sizes.groupby(level=["channel", "kind"]).transform("sum")
    channels, kinds, clusters = (shares.index.get_level_values(level).tolist() for level in range(3))
    return dict(zip(zip(channels, map(KINDS.__getitem__, kinds), clusters, strict=True), shares.tolist(), strict=True))


def each_evidence(rows: pd.DataFrame) -> Iterator[tuple[int, str, slice]]:
    """Channel, kind of evidence, and the rows of it."""
    keys = rows["channel"].to_numpy(np.int64) * len(KINDS) + rows["kind"].to_numpy(np.int64)
    known, starts = np.unique(keys, return_index=True)
    bounds = [*starts.tolist(), len(keys)]
    for key, start, stop in zip(known.tolist(), bounds[:-1], bounds[1:], strict=True):
        yield key // len(KINDS), KINDS[key % len(KINDS)], slice(start, stop)


def groups_of(clusters: Int64[np.ndarray, " n"], evidence: str, most: int | None = None) -> Iterator[NamedGroup]:
    """All exemplars, then each cluster; at most the first `most` items of each."""
    if evidence == KINDS[0]:
        yield NamedGroup(ALL, _first(np.ones(len(clusters), dtype=bool), most))
    for cluster in np.unique(clusters).tolist():
        yield NamedGroup(int(cluster), _first(clusters == cluster, most))


def _first(members: Bool[np.ndarray, " n"], most: int | None) -> Bool[np.ndarray, " n"]:
    return members if most is None else members & (np.cumsum(members) <= most)
