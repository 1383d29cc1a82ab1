"""The means of all clusters of a run in the space of the model that names, held for searching."""

from __future__ import annotations

import numpy as np
import pandas as pd
from jaxtyping import Float32, Int64

from polyscan.results import Results
from polyscan.stats.neighbors import VectorIndex
from polyscan.studies.find.keys import unit_keys

CLUSTER = ["layer", "channel", "evidence", "cluster"]


class SearchedClusters:
    """Clusters with their vectors, in an index.

    Args:
        rows: the clusters: layer, channel, evidence, cluster, n and share.
        units: the key of each one's unit.
        vectors: of length 1, or 0.
    """

    def __init__(self, rows: pd.DataFrame, units: Int64[np.ndarray, " c"], vectors: Float32[np.ndarray, "c d"]) -> None:
        self.rows = rows
        self.units = units
        self.vectors = vectors
        self._index = VectorIndex(vectors)
        self._most = int(np.unique(units, return_counts=True)[1].max(initial=1))

    def __len__(self) -> int:
        return len(self.rows)

    def best(
        self, queries: Float32[np.ndarray, "q d"], top: int, *, each_cluster: bool = False, but: int | None = None
    ) -> pd.DataFrame:
        """The units nearest to any of the queries, each by its best cluster; equal similarities in the run's order.

        Args:
            queries: of length 1.
            top: number of units, or of clusters.
            each_cluster: whether each cluster is a hit, rather than each unit.
            but: a unit that is left out.

        Returns:
            Rows of clusters with their similarity, best first.
        """
        wanted = top if each_cluster else top * self._most
        found = self._index.nearest(queries, min(len(self), wanted + self._most * (but is not None)))
        nearest = pd.DataFrame({"row": found.index.ravel(), "similarity": found.similarity.ravel()})
        nearest = nearest.sort_values(["similarity", "row"], ascending=[False, True]).drop_duplicates("row")
        nearest["unit"] = self.units[nearest["row"]]
        nearest = nearest[nearest["unit"] != but] if but is not None else nearest
        nearest = (nearest if each_cluster else nearest.drop_duplicates("unit")).head(top)
        return self.rows.iloc[nearest["row"]].assign(similarity=nearest["similarity"].to_numpy())

    def of_unit(self, unit: int) -> Float32[np.ndarray, "m d"]:
        """The vectors of a unit's clusters."""
        return self.vectors[self.units == unit]


def read_clusters(results: Results) -> SearchedClusters | None:
    """The clusters that a model has named; None if there are none."""
    run = results.run
    rows = run.read("cluster_vectors", [*CLUSTER, "n", "share", "vector"])
    if rows.empty:
        return None
    return _searched(results, rows.drop(columns="vector"), rows["vector"])


def read_centres(results: Results, space: str, layers: list[str]) -> SearchedClusters:
    """Units of some layers by the mean of all their exemplars, in the space that these layers are compared in."""
    rows = results.run.read("centres", where={"layer": layers, "space": space})
    about = {"evidence": "exemplars", "cluster": -1, "n": results.job.n_scored, "share": 1.0}
    return _searched(results, rows[["layer", "channel"]].assign(**about), rows["embedding"])


def _searched(results: Results, rows: pd.DataFrame, vectors: pd.Series) -> SearchedClusters:
    matrix = np.stack(vectors.to_list()).astype(np.float32, copy=False)
    units = unit_keys(results.run.unit_order(), rows)
    order = np.argsort(units, kind="stable")
    return SearchedClusters(rows.iloc[order].reset_index(drop=True), units[order], matrix[order])
