"""What a run says of clusters: their names, and the verdicts on their units."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import pandas as pd
from jaxtyping import Int64

from polyscan.results import Results
from polyscan.studies.find.keys import KeyedRows, cluster_keys, unit_keys
from polyscan.studies.find.searched import CLUSTER

VERDICTS = ("verdict", "second_verdict")
FOUND = [*CLUSTER, "similarity", "share", "n"]


class ClusterFacts:
    """Names and verdicts, read once.

    Args:
        results: a run; one that is not finished has no verdicts.
    """

    def __init__(self, results: Results) -> None:
        self._results = results
        self._order = results.run.unit_order()

    @cached_property
    def names(self) -> pd.DataFrame:
        """The table `names` by cluster, best name first, with the keys of units and clusters."""
        rows = self._results.run.read("names", [*CLUSTER, "n", "rank", "name", "similarity", "p"])
        units = unit_keys(self._order, rows)
        rows = rows.assign(unit_key=units, cluster_key=cluster_keys(units, rows))
        return rows.sort_values(["cluster_key", "rank"], kind="stable").reset_index(drop=True)

    def of(self, rows: pd.DataFrame, how: str) -> pd.DataFrame:
        """Found clusters with their names and verdicts.

        Args:
            rows: with the columns of `FOUND`, best first.
            how: what they are ranked by.
        """
        units = unit_keys(self._order, rows)
        names = [self._by_cluster.of(key) for key in cluster_keys(units, rows).tolist()]
        found = rows[FOUND].assign(
            name=[str(each["name"].iloc[0]) if len(each) else "" for each in names],
            name_p=[float(each["p"].iloc[0]) if len(each) else np.nan for each in names],
            names=[_listed(each) for each in names],
            **self._verdicts_of(units),
        )
        found = found.reset_index(drop=True)
        found.attrs["ranked_by"] = how
        return found

    def _verdicts_of(self, units: Int64[np.ndarray, " n"]) -> dict[str, list[str]]:
        return {name: column.reindex(units).fillna("").tolist() for name, column in self._verdicts.items()}

    @cached_property
    def _verdicts(self) -> dict[str, pd.Series]:
        """The verdicts of each test, by unit."""
        if not self._results.is_finished:
            return {}
        frame = self._results.map
        frame = frame.set_index(pd.Index(unit_keys(self._order, frame)))
        return {name: frame[name] for name in VERDICTS if name in frame}

    @cached_property
    def _by_cluster(self) -> KeyedRows:
        return KeyedRows(self.names, self.names["cluster_key"].to_numpy(np.int64))


def _listed(names: pd.DataFrame) -> str:
    return "; ".join(f"{name} (p {p:.2g})" for name, p in zip(names["name"], names["p"], strict=True))
