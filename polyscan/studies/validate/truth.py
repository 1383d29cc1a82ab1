"""Units of known truth in a run: their scores, and the source of each of their exemplars."""

from __future__ import annotations

import numpy as np
import pandas as pd
from jaxtyping import Int64

from polyscan.nulls.kinds import KINDS
from polyscan.report.unit_map import SECOND, calibrated_rows
from polyscan.run import Run

PLACE = ["image", "y", "x"]


def planted_rows(run: Run) -> pd.DataFrame:
    """Rows of controls and planted units with their `layer` (the real one), `type` and `concepts`.

    Those of the main evidence, and of deflated evidence the statistic of the second test, as `second_separation`.
    """
    rows = calibrated_rows(run)
    is_second = (rows["prefix"] == SECOND) & (rows["score"] == "separation")
    second = rows[is_second].assign(score=SECOND + "separation")
    rows = pd.concat([rows[rows["is_main"]], second], ignore_index=True)
    concepts = {"control": 1, **{name: kind.concepts for name, kind in KINDS.items()}}
    rows = rows.assign(
        virtual=rows["layer"], layer=rows["parent"], type=rows["role"], concepts=rows["role"].map(concepts)
    )
    return rows[rows["concepts"].notna()]


def purities(run: Run, rows: pd.DataFrame) -> pd.DataFrame:
    """Purity of the best clusters of each planted unit with p <= .05: `layer`, `type`, `channel`, `purity`.

    purity = sum over clusters of the items of its commonest source / items
    """
    called = rows[(rows["score"] == "separation") & (rows["p"] <= 0.05) & (rows["concepts"] > 1)]
    sources = run.read("readouts", ["layer", "channel", "part", "source", "source_layer"])
    pure_shares: list[dict[str, object]] = []
    for (layer, kind, virtual), units in called.groupby(["layer", "type", "virtual"]):
        parts = sources[sources["layer"] == virtual]
        if parts["part"].max() == 0:
            continue  # a sum has no exemplars of one source
        exemplars = _clustered_exemplars(run, str(virtual))
        of_sources = run.read("exemplars", ["channel", *PLACE], where={"layer": str(parts["source_layer"].iloc[0])})
        for channel in units["channel"]:
            of_unit = exemplars[exemplars["channel"] == channel]
            source = source_of(of_unit, of_sources, parts[parts["channel"] == channel]["source"].to_list())
            share = purity(of_unit["cluster"].to_numpy(), source)
            pure_shares.append({"layer": layer, "type": kind, "channel": channel, "purity": share})
    return pd.DataFrame(pure_shares, columns=["layer", "type", "channel", "purity"])


def _clustered_exemplars(run: Run, layer: str) -> pd.DataFrame:
    """The exemplars of a layer's units with their clusters: `channel`, `item`, `image`, `y`, `x`, `cluster`."""
    clusters = run.read("clusters", ["channel", "item", "cluster", "evidence"], where={"layer": layer})
    clusters = clusters[clusters["evidence"] == "exemplars"]
    exemplars = run.read("exemplars", ["channel", "rank", *PLACE], where={"layer": layer})
    return exemplars.rename(columns={"rank": "item"}).merge(clusters, on=["channel", "item"])


def source_of(exemplars: pd.DataFrame, of_sources: pd.DataFrame, sources: list[int]) -> Int64[np.ndarray, " n"]:
    """Which part each exemplar of a `max` came from, -1 where that is unknown.

    The strongest images of a maximum are among the strongest images of its parts, at the same place. So the part is the
    one whose exemplars include this image at this place. If two parts have it, they peak together, and the first is
    given.
    """
    origins = np.full(len(exemplars), -1, dtype=np.int64)
    keys = pd.MultiIndex.from_frame(exemplars[PLACE])
    for part, source in reversed(list(enumerate(sources))):
        own = of_sources[of_sources["channel"] == source]
        origins[keys.isin(pd.MultiIndex.from_frame(own[PLACE]))] = part
    return origins


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
