"""The map: one row per real unit, made from all tables of a run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
import pandas as pd

from polyscan.job import Job
from polyscan.report.verdicts import verdicts
from polyscan.run import Run
from polyscan.scores import SCORES
from polyscan.stats.neighbors import nearest
from polyscan.stats.significance import benjamini_hochberg, benjamini_yekutieli
from polyscan.tables import Column, ColumnType, Table
from polyscan.units import REAL

MAIN: Literal["exemplars"] = "exemplars"  # the evidence whose columns carry no prefix
KEY = ["layer", "channel"]
MATCH = ["match_radius", "off_range", "incoherent"]


def unit_map(job: Job, run: Run, calibrated: pd.DataFrame | None = None) -> pd.DataFrame:
    """One row per unit, in unit order: what it is, its main evidence's scores, p, q and verdict; others with a prefix.

    The main evidence is the exemplars, in the layer's own space, against the job's first null.

    Args:
        job: the run's.
        run: whose stages are done.
        calibrated: `calibrated_rows`, where they are at hand.
    """
    calibrated = calibrated_rows(run) if calibrated is None else calibrated
    units = run.read("units", where={"role": REAL})
    frame = units.sort_values(["depth", "channel"], kind="stable").reset_index(drop=True)
    for columns in _parts(job, run, units, calibrated):
        frame = frame.merge(columns, on=KEY, how="left")
    for name in ("off_range", "incoherent"):
        frame[name] = frame[name] == True  # noqa: E712  # a unit without evidence is neither, and has none of either
    for name in ("p", "psi_p", "psi_words_p", *(f"{null}_null_p" for null in job.calibrate.nulls[1:])):
        if name in frame:
            # `psi_q` is a part of PSI, so its q is called otherwise.
            q = f"{name.removesuffix('p')}{'qvalue' if name.startswith('psi') else 'q'}"
            frame[q] = benjamini_hochberg(frame[name].to_numpy(np.float64))
    if "p" in frame:
        frame["q_by"] = benjamini_yekutieli(frame["p"].to_numpy(np.float64))
        frame["verdict"] = verdicts(frame, fdr=job.show.fdr)
        # The number of clusters is gated: one unless the gap says otherwise.
        is_several = frame["verdict"].str.startswith("several")
        frame["n_clusters"] = frame["silhouette_k"].where(is_several, 1.0).where(frame["p"].notna())
        frame["names"] = frame["names"].where(is_several, frame["name"])
        for name in ("psi", "psi_words"):
            if name in frame:
                frame[f"{name}_gated"] = frame[name].where(is_several | frame[name].isna(), 0.0)
    return frame.drop(columns="name")


def _parts(job: Job, run: Run, units: pd.DataFrame, calibrated: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Further columns, by layer and channel."""
    real = calibrated[calibrated["role"] == REAL]
    # A score's value is the same beside every null; a unit that has not the first one has it beside another.
    is_main = (real["prefix"] == "") | (real["prefix"].str.endswith("_null_") & real["score"].isin(list(SCORES)))
    yield _wide(real[is_main].dropna(subset=["value"]), "value", ["separation", *SCORES])
    p = real[real["p"].notna()].assign(score=lambda rows: rows["score"].map(_p_name))
    yield _wide(p[p["prefix"] == ""], "p", ["p", "psi_p"])
    yield _matches(job, run)
    for prefix in dict.fromkeys(real["prefix"]):
        if prefix.endswith("_null_"):  # a second opinion: its p
            second = p[(p["prefix"] == prefix) & (p["score"] == "p")]
            yield _wide(second.assign(score=f"{prefix}p"), "p", [])
        elif prefix:
            scored = real[real["prefix"] == prefix].dropna(subset=["value"])
            yield _wide(scored.assign(score=prefix + scored["score"]), "value", [])
            own_p = p[(p["prefix"] == prefix) & (p["score"] == "p")]
            if len(own_p):
                yield _wide(own_p.assign(score=f"{prefix}p"), "p", [])
    yield from _downward(calibrated)
    yield _cluster_shares(run)
    yield _names(run)
    yield nearest_units(run)
    if (visualized := _visualization_columns(run, units)) is not None:
        yield visualized


def _p_name(score: str) -> str:
    """The separation's p is the unit's p."""
    return "p" if score == "separation" else f"{score}_p"


def calibrated_rows(run: Run) -> pd.DataFrame:
    """Rows of `scores` with `prefix`: "" for the main evidence, space and null, and a word for what is beside them."""
    rows = run.read("scores")
    prefix = pd.Series("", index=rows.index)
    prefix[~rows["is_main"]] = rows["null"] + "_null_"
    prefix[~rows["is_main"] & (rows["null"] == "")] = "crops_"  # embedded as they look, where features are compared
    prefix[rows["evidence"] != MAIN] = rows["evidence"] + "_"
    return rows.assign(prefix=prefix)


def _wide(rows: pd.DataFrame, values: str, first: list[str]) -> pd.DataFrame:
    """One column a score."""
    order = sorted(rows["score"].unique(), key=lambda name: (_rank(name, first), name))
    wide = rows.drop_duplicates([*KEY, "score"]).pivot(index=KEY, columns="score", values=values)
    return wide[order].reset_index().rename_axis(columns=None)


def _rank(name: str, first: list[str]) -> int:
    return next((i for i, base in enumerate(first) if name == base or name.startswith(f"{base}_")), len(first))


def _matches(job: Job, run: Run) -> pd.DataFrame:
    """How well the main null speaks for each unit."""
    # Exemplars are matched with null sets in one space alone: the one where their layer is compared.
    where = {"role": REAL, "evidence": MAIN, "null": job.calibrate.nulls[0] if job.calibrate.nulls else ""}
    return run.read("matches", [*KEY, *MATCH], where=where)


def _downward(calibrated: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """A unit's strongest images downwards, where the job scans both signs."""
    rows = calibrated[(calibrated["role"] == "down") & calibrated["is_main"]]
    if rows.empty:
        return
    rows = rows.assign(layer=rows["parent"])
    yield _wide(rows.assign(score="down_" + rows["score"]), "value", [])
    p = rows[(rows["score"] == "separation") & rows["p"].notna()]
    yield _wide(p.assign(score="down_p"), "p", [])


def _cluster_shares(run: Run) -> pd.DataFrame:
    """Shares of the main evidence's best clusters, largest first, as text: `0.60 0.40`."""
    rows = run.read("clusters", [*KEY, "is_main", "cluster"], where={"role": REAL})
    rows = rows[rows["is_main"]]
    counts = rows.groupby([*KEY, "cluster"]).size().rename("n").reset_index()
    counts["share"] = counts["n"] / counts.groupby(KEY)["n"].transform("sum")
    counts = counts.sort_values([*KEY, "share"], ascending=[True, True, False], kind="stable")
    shares = counts["share"].map("{:.2f}".format).groupby([counts["layer"], counts["channel"]]).agg(" ".join)
    return shares.rename("cluster_shares").reset_index()


def _names(run: Run) -> pd.DataFrame:
    """The best name of each cluster, or of all exemplars: `crane · screen`, as text; the gate chooses later."""
    rows = run.read("names", [*KEY, "cluster", "rank", "name"])
    rows = rows[rows["rank"] == 0].sort_values([*KEY, "cluster"], kind="stable")
    whole = rows[rows["cluster"] < 0].set_index(KEY)["name"].rename("name")
    parts = rows[rows["cluster"] >= 0].groupby(KEY)["name"].agg(" \N{MIDDLE DOT} ".join).rename("names")
    return pd.concat([whole, parts], axis=1).reset_index()


def nearest_units(run: Run) -> pd.DataFrame:
    """The unit of the same layer whose exemplars lie nearest to each unit's, and the cosine of the two means."""
    found: list[pd.DataFrame] = [pd.DataFrame(columns=[*KEY, "nearest_unit", "nearest_cosine"])]
    for layer, rows in run.read("centres").groupby("layer", sort=False):
        if len(rows) == 1:
            continue  # nobody beside it
        centres = np.stack(rows["embedding"].to_list()).astype(np.float32)
        near = nearest(centres, centres, 2)
        # A unit's own centre may come second, behind an equal one.
        is_own = near.index[:, 0] == np.arange(len(rows))
        other = np.where(is_own, near.index[:, 1], near.index[:, 0])
        cosine = np.where(is_own, near.similarity[:, 1], near.similarity[:, 0])
        channel = rows["channel"].to_numpy()
        names = [f"{layer}:{number}" for number in channel[other]]
        found.append(
            pd.DataFrame({"layer": layer, "channel": channel, "nearest_unit": names, "nearest_cosine": cosine})
        )
    return pd.concat(found[1:] or found, ignore_index=True)


def _visualization_columns(run: Run, units: pd.DataFrame) -> pd.DataFrame | None:
    """Alic's check: how the visualizations' activations compare with the best image's."""
    rows = run.read("visualizations", ["layer", "channel", "activation", "stop"])
    rows = rows[rows["layer"].isin(units["layer"].unique())]
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
    return Table("map", "report", 2, "unit", tuple(columns))
