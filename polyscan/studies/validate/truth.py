"""Units of known truth in a run: their rows, and which source each of their exemplars came from."""

from __future__ import annotations

import numpy as np
import pandas as pd
from jaxtyping import Int64

from polyscan.nulls.kinds import KINDS
from polyscan.report.unit_map import calibrated_rows
from polyscan.run import Run

PLACE = ["image", "y", "x"]


def planted_rows(run: Run) -> pd.DataFrame:
    """Main rows of `scores` of controls and planted units, with their `layer` (the real one), `type` and `concepts`."""
    rows = calibrated_rows(run)
    rows = rows[rows["is_main"]]
    concepts = {"control": 1, **{name: kind.concepts for name, kind in KINDS.items()}}
    rows = rows.assign(
        virtual=rows["layer"], layer=rows["parent"], type=rows["role"], concepts=rows["role"].map(concepts)
    )
    return rows[rows["concepts"].notna()]


def purities(run: Run, rows: pd.DataFrame) -> pd.DataFrame:
    """Purity of the best clusters of each planted unit that is found: `layer`, `type`, `channel`, `purity`.

    purity = sum over clusters of the items of its commonest source / items
    """
    found = rows[(rows["score"] == "separation") & (rows["p"] <= 0.05) & (rows["concepts"] > 1)]
    sources = run.read("readouts", ["layer", "channel", "part", "source", "source_layer"])
    made: list[dict[str, object]] = []
    for (layer, kind, virtual), units in found.groupby(["layer", "type", "virtual"]):
        clusters = run.read("clusters", ["channel", "item", "cluster", "evidence"], where={"layer": str(virtual)})
        clusters = clusters[clusters["evidence"] == "exemplars"]
        exemplars = run.read("exemplars", ["channel", "rank", *PLACE], where={"layer": str(virtual)})
        mine = sources[sources["layer"] == virtual]
        if mine["part"].max() == 0:
            continue  # a sum has no exemplars of one source
        of_sources = run.read("exemplars", ["channel", *PLACE], where={"layer": str(mine["source_layer"].iloc[0])})
        for channel in units["channel"]:
            its = exemplars[exemplars["channel"] == channel].rename(columns={"rank": "item"})
            its = its.merge(clusters[clusters["channel"] == channel], on=["channel", "item"])
            source = source_of(its, of_sources, mine[mine["channel"] == channel]["source"].to_list())
            made.append(
                {"layer": layer, "type": kind, "channel": channel, "purity": purity(its["cluster"].to_numpy(), source)}
            )
    return pd.DataFrame(made, columns=["layer", "type", "channel", "purity"])


def source_of(exemplars: pd.DataFrame, of_sources: pd.DataFrame, sources: list[int]) -> Int64[np.ndarray, " n"]:
    """Which part each exemplar of a `max` came from, -1 where it can't be told.

    The strongest images of a maximum are among the strongest of its parts, at the same place: so the part is the one
    that has this image at this place among its own. Where two have it they peak together, and the first is named.
    """
    found = np.full(len(exemplars), -1, dtype=np.int64)
    keys = pd.MultiIndex.from_frame(exemplars[PLACE])
    for part, source in reversed(list(enumerate(sources))):
        own = of_sources[of_sources["channel"] == source]
        found[keys.isin(pd.MultiIndex.from_frame(own[PLACE]))] = part
    return found


def purity(clusters: Int64[np.ndarray, " n"], sources: Int64[np.ndarray, " n"]) -> float:
    """Share of the items that belong to the commonest source of their cluster; items of no known source are left out.

    >>> purity(np.array([0, 0, 1, 1]), np.array([0, 0, 1, 0]))
    0.75
    """
    is_known = sources >= 0
    clusters, sources = clusters[is_known], sources[is_known]
    if not len(clusters):
        return float("nan")
    most = sum(int(np.bincount(sources[clusters == cluster]).max()) for cluster in np.unique(clusters))
    return most / len(clusters)
