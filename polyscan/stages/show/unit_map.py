"""The map: one row per unit, made from all tables of a run."""

from __future__ import annotations

from typing import Literal

import pandas as pd

from polyscan.run import Run
from polyscan.scores import SCORES
from polyscan.tables import Column, ColumnType, Table

MAIN: Literal["exemplars"] = "exemplars"  # the evidence whose columns carry no prefix


def unit_map(run: Run) -> pd.DataFrame:
    """One row per unit, in unit order: what it is, its main evidence's scores, other evidence's with a prefix."""
    units = run.read("units").sort_values(["depth", "channel"], kind="stable").reset_index(drop=True)
    frame = units.merge(_wide_scores(run), on=["layer", "channel"], how="left")
    if "semanticity_k" in frame:
        # Until `calibrate` gates it, the number of clusters is BIC's.
        frame["n_clusters"] = frame["semanticity_k"]
    frame = frame.merge(_cluster_shares(run), on=["layer", "channel"], how="left")
    visualized = _visualization_columns(run, units)
    return frame if visualized is None else frame.merge(visualized, on=["layer", "channel"], how="left")


def _wide_scores(run: Run) -> pd.DataFrame:
    rows = run.read("scores", ["layer", "channel", "evidence", "score", "value"])
    rows["column"] = rows["score"].where(rows["evidence"] == MAIN, rows["evidence"] + "_" + rows["score"])
    order = list(dict.fromkeys(sorted(rows["column"].unique(), key=_column_rank)))
    wide = rows.pivot(index=["layer", "channel"], columns="column", values="value")
    return wide[order].reset_index().rename_axis(columns=None)


def _column_rank(column: str) -> tuple[bool, int, str]:
    base = column.removeprefix("visualizations_")
    names = list(SCORES)
    place = next((i for i, name in enumerate(names) if base == name or base.startswith(f"{name}_")), len(names))
    return column != base, place, base


def _cluster_shares(run: Run) -> pd.DataFrame:
    """Shares of the main evidence's clusters, largest first, as text: `0.60 0.40`."""
    rows = run.read("clusters", ["layer", "channel", "evidence", "cluster"])
    rows = rows[(rows["evidence"] == MAIN) & (rows["cluster"] >= 0)]
    counts = rows.groupby(["layer", "channel", "cluster"]).size().rename("n").reset_index()
    counts["share"] = counts["n"] / counts.groupby(["layer", "channel"])["n"].transform("sum")
    counts = counts.sort_values(["layer", "channel", "share"], ascending=[True, True, False], kind="stable")
    shares = counts["share"].map("{:.2f}".format).groupby([counts["layer"], counts["channel"]]).agg(" ".join)
    return shares.rename("cluster_shares").reset_index()


def _visualization_columns(run: Run, units: pd.DataFrame) -> pd.DataFrame | None:
    """Alic's check: how the visualizations' activations compare with the best image's."""
    rows = run.read("visualizations", ["layer", "channel", "activation", "stop"])
    if rows.empty:
        return None
    rows = rows.merge(units[["layer", "channel", "max"]], on=["layer", "channel"])
    rows["wins"] = rows["activation"] > rows["max"]
    groups = rows.groupby(["layer", "channel"])
    frame = groups.agg(
        visualization_activation=("activation", "max"),
        visualization_beats_data=("wins", "any"),
        visualizations_winning=("wins", "mean"),
        visualization_stop=("stop", "first"),
    ).reset_index()
    # A unit that was not visualized is neither better nor worse: it has no value, so the column is a number.
    frame["visualization_beats_data"] = frame["visualization_beats_data"].astype(float)
    return frame


KINDS: dict[str, ColumnType] = {"b": "bool", "i": "int64", "f": "float64"}
NARROW: dict[str, ColumnType] = {"depth": "int32", "channel": "int32"}
ALWAYS = frozenset(("layer", "channel", "depth", "is_dead"))


def table_of(frame: pd.DataFrame) -> Table:
    """The schema of a map: its columns follow from the scores and the evidence."""
    names = [str(name) for name in frame]
    kinds: list[ColumnType] = [NARROW.get(name) or KINDS.get(frame[name].dtype.kind, "string") for name in names]
    columns = (Column(name, kind, "", "", nullable=name not in ALWAYS) for name, kind in zip(names, kinds, strict=True))
    return Table("map", "show", 1, "unit", tuple(columns))
