"""The map: one row per judged unit, made of all tables of a run: channels, then the user's directions of each layer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Bool

from polyscan.job import Job
from polyscan.report.verdicts import verdicts
from polyscan.results.causes import causal_shares, causes_of
from polyscan.results.tiers import is_called
from polyscan.run import Run
from polyscan.scores import SCORES
from polyscan.stats.neighbors import nearest
from polyscan.stats.significance import (
    benjamini_hochberg,
    benjamini_yekutieli,
    group_benjamini_hochberg,
    storey_by_group,
)
from polyscan.tables import Column, ColumnType, Table
from polyscan.units import DIRECTION, JUDGED

MAIN: Literal["exemplars"] = "exemplars"  # the evidence whose columns carry no prefix
DEFLATED = "deflated"
SECOND = "second_"
NAMED = 0.05
"""A name with a larger p is no better than chance, and not in the map."""
"""The prefix of the columns of deflated evidence: those of the second test."""
KEY = ["layer", "channel"]
MATCH = ["match_radius", "off_range", "incoherent"]
MATCHED = ["layer", "channel", "evidence", "space", "null"]


def unit_map(job: Job, run: Run, calibrated: pd.DataFrame | None = None) -> pd.DataFrame:
    """One row per unit, in unit order: its scores, p, q and verdict by the main evidence; other evidence with a prefix.

    The main evidence is the exemplars, in the space of their layer, against the job's first null.

    Args:
        job: the run's.
        run: with all stages done.
        calibrated: `calibrated_rows`; read if None.
    """
    calibrated = calibrated_rows(run) if calibrated is None else calibrated
    units = run.read("units", where={"role": list(JUDGED)})
    ordered = units.assign(is_own=units["role"] == DIRECTION)
    ordered = ordered.sort_values(["depth", "is_own", "channel"], kind="stable").reset_index(drop=True)
    frame = ordered.drop(columns="is_own")
    for columns in _parts(job, run, units, calibrated):
        frame = frame.merge(columns, on=KEY, how="left")
    marks = ("direction", "artefact", "artefact_mark", f"{SECOND}artefact", f"{SECOND}artefact_mark")
    for name in (name for name in marks if name in frame):
        frame[name] = frame[name].fillna("")
    names = ("off_range", "incoherent", "second_off_range", "second_incoherent")
    for name in (name for name in names if name in frame):
        frame[name] = frame[name] == True  # noqa: E712  # False for a unit without evidence, which has no value
    _add_q(frame, job.calibrate.nulls[1:])
    if "p" in frame:
        _add_verdicts(frame, job)
    if f"{SECOND}p" in frame:
        add_tiers(frame, job, SECOND)
    return frame.drop(columns="name")


def _add_q(frame: pd.DataFrame, other_nulls: Sequence[str]) -> None:
    """Adds the q of each p that is tested over all units."""
    for name in ("p", "second_p", "psi_p", "psi_words_p", *(f"{null}_null_p" for null in other_nulls)):
        if name in frame:
            # `psi_q` is a part of PSI, so the q of PSI has another name.
            q = f"{name.removesuffix('p')}{'qvalue' if name.startswith('psi') else 'q'}"
            frame[q] = benjamini_hochberg(frame[name].to_numpy(np.float64))


def add_tiers(frame: pd.DataFrame, job: Job, prefix: str = "") -> None:
    """Adds the other q of a test's p, and the verdict: `q_by`, `q_storey`, `q_group` and `verdict`, with its prefix.

    Args:
        frame: the map, with p and q of the test.
        job: gives false discovery rates.
        prefix: of the test's columns.
    """
    p, layer = frame[f"{prefix}p"].to_numpy(np.float64), frame["layer"].to_numpy()
    frame[f"{prefix}q_by"] = benjamini_yekutieli(p)
    frame[f"{prefix}q_storey"] = storey_by_group(p, layer)
    frame[f"{prefix}q_group"] = group_benjamini_hochberg(p, layer)
    show = job.show
    frame[f"{prefix}verdict"] = verdicts(
        frame, fdr=show.fdr, probable_fdr=show.probable_fdr, probable_by=show.probable_by, prefix=prefix
    )


def _add_verdicts(frame: pd.DataFrame, job: Job) -> None:
    """Adds the verdict, and the columns that depend on it."""
    add_tiers(frame, job)
    # The number of clusters is gated: it is 1 unless the unit is called several.
    is_several = is_called(frame["verdict"])
    frame["n_clusters"] = frame["silhouette_k"].where(is_several, 1.0).where(frame["p"].notna())
    frame["names"] = frame["names"].where(is_several, frame["name"])
    for name in ("psi", "psi_words"):
        if name in frame:
            frame[f"{name}_gated"] = frame[name].where(is_several | frame[name].isna(), 0.0)


def _parts(job: Job, run: Run, units: pd.DataFrame, calibrated: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Further columns, by layer and channel."""
    real = calibrated[calibrated["role"].isin(JUDGED)]
    # A score has the same value in its rows of every null; a unit without a row of the first null has one of another.
    is_main = (real["prefix"] == "") | (real["prefix"].str.endswith("_null_") & real["score"].isin(list(SCORES)))
    yield _wide(real[is_main].dropna(subset=["value"]), "value", ["separation", *SCORES])
    p = real[real["p"].notna()].assign(score=lambda rows: rows["score"].map(_p_name))
    yield _wide(p[p["prefix"] == ""], "p", ["p", "psi_p"])
    for prefix in ("", SECOND):
        exact = p[(p["prefix"] == prefix) & (p["score"] == "p") & p["p_exact"].notna()][[*KEY, "p_exact", "n_exact"]]
        if not prefix or len(exact):
            yield exact.rename(columns={name: f"{prefix}{name}" for name in ("p_exact", "n_exact")})
    yield _matches(job, run)
    yield _artefacts(run, MAIN)
    for prefix in filter(None, dict.fromkeys(real["prefix"])):
        yield from _prefixed(prefix, real[real["prefix"] == prefix], p[(p["prefix"] == prefix) & (p["score"] == "p")])
    yield from _second(job, run)
    yield from _downward(calibrated)
    yield _cluster_shares(run)
    yield _names(run)
    yield nearest_units(run)
    yield from _direction_names(run, units)
    yield from _causal_shares(job, run)
    if (visualized := _visualization_columns(run, units)) is not None:
        yield visualized


def _prefixed(prefix: str, rows: pd.DataFrame, p: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """The p of another null, or the scores and the p of other evidence."""
    is_null = prefix.endswith("_null_")
    if not is_null:
        scored = rows.dropna(subset=["value"])
        yield _wide(scored.assign(score=prefix + scored["score"]), "value", [])
    if is_null or len(p):
        yield _wide(p.assign(score=f"{prefix}p"), "p", [])


def _p_name(score: str) -> str:
    """The separation's p is the unit's p."""
    return "p" if score == "separation" else f"{score}_p"


def calibrated_rows(run: Run) -> pd.DataFrame:
    """Rows of `scores` with three columns more.

    `prefix`: "" for the main evidence, space and null; for other rows, which ones they are. `is_invalid`: whether p is
    not valid, because the unit is off range or incoherent. `is_artefact`: whether a nuisance explains the clusters of
    this evidence.
    """
    rows = run.read("scores")
    prefix = pd.Series("", index=rows.index)
    prefix[~rows["is_main"]] = rows["null"] + "_null_"
    prefix[~rows["is_main"] & (rows["null"] == "")] = (
        "crops_"  # embedded crops, in layers that are compared by features
    )
    prefix[rows["evidence"] != MAIN] = rows["evidence"].replace({DEFLATED: "second"}) + "_"
    invalid = run.read("matches")
    invalid = invalid[invalid["off_range"] | invalid["incoherent"]][MATCHED].assign(is_invalid=True)
    is_invalid = rows[MATCHED].merge(invalid, on=MATCHED, how="left")["is_invalid"].to_numpy() == True  # noqa: E712
    return rows.assign(prefix=prefix, is_invalid=is_invalid, is_artefact=_is_artefact(run, rows))


def _is_artefact(run: Run, rows: pd.DataFrame) -> Bool[np.ndarray, " n"]:
    key = [*KEY, "evidence"]
    found = run.read("artefacts", [*key, "artefact"])
    found = pd.MultiIndex.from_frame(found[found["artefact"] != ""][key])
    return pd.MultiIndex.from_frame(rows[key]).isin(found)


def _wide(rows: pd.DataFrame, values: str, first: list[str]) -> pd.DataFrame:
    """One column per score."""
    order = sorted(rows["score"].unique(), key=lambda name: (_rank(name, first), name))
    wide = rows.drop_duplicates([*KEY, "score"]).pivot(index=KEY, columns="score", values=values)
    return wide[order].reset_index().rename_axis(columns=None)


def _rank(name: str, first: list[str]) -> int:
    return next((i for i, base in enumerate(first) if name == base or name.startswith(f"{base}_")), len(first))


def _matches(job: Job, run: Run) -> pd.DataFrame:
    """How well the main null matches each unit."""
    # Exemplars are matched with null sets in one space only: the one in which their layer is compared.
    where = {"role": list(JUDGED), "evidence": MAIN, "null": job.calibrate.nulls[0] if job.calibrate.nulls else ""}
    return run.read("matches", [*KEY, *MATCH], where=where)


def _artefacts(run: Run, evidence: str, prefix: str = "") -> pd.DataFrame:
    rows = run.read("artefacts", [*KEY, "artefact", "mark"], where={"role": list(JUDGED), "evidence": evidence})
    return rows.rename(columns={"artefact": f"{prefix}artefact", "mark": f"{prefix}artefact_mark"})


def _second(job: Job, run: Run) -> Iterator[pd.DataFrame]:
    """The strength of each unit's second part, and how well the null matches its deflated evidence."""
    strengths = run.read("seconds", [*KEY, "strength"], where={"role": list(JUDGED)})
    if strengths.empty:
        return
    yield strengths.rename(columns={"strength": "second_strength"})
    where = {"role": list(JUDGED), "evidence": DEFLATED, "null": job.calibrate.nulls[0]}
    matches = run.read("matches", [*KEY, *MATCH], where=where)
    yield matches.rename(columns={name: f"{SECOND}{name}" for name in MATCH})
    yield _artefacts(run, DEFLATED, SECOND)


def _downward(calibrated: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Scores of the images that activate a unit most negatively, if the job scans both signs."""
    rows = calibrated[(calibrated["role"] == "down") & calibrated["is_main"]]
    if rows.empty:
        return
    rows = rows.assign(layer=rows["parent"])
    yield _wide(rows.assign(score="down_" + rows["score"]), "value", [])
    p = rows[(rows["score"] == "separation") & rows["p"].notna()]
    yield _wide(p.assign(score="down_p"), "p", [])


def _cluster_shares(run: Run) -> pd.DataFrame:
    """Shares of the main evidence's best clusters, largest first, as text: `0.60 0.40`."""
    rows = run.read("clusters", [*KEY, "is_main", "cluster"], where={"role": list(JUDGED)})
    rows = rows[rows["is_main"]]
    counts = rows.groupby([*KEY, "cluster"]).size().rename("n").reset_index()
    counts["share"] = counts["n"] / counts.groupby(KEY)["n"].transform("sum")
    counts = counts.sort_values([*KEY, "share"], ascending=[True, True, False], kind="stable")
    shares = counts["share"].map("{:.2f}".format).groupby([counts["layer"], counts["channel"]]).agg(" ".join)
    return shares.rename("cluster_shares").reset_index()


def _names(run: Run) -> pd.DataFrame:
    """The best names that beat chance: of each cluster, as in `crane · screen`, and of all exemplars.

    The verdict selects one. `second_name` is that of the images which the main meaning leaves unexplained.
    """
    rows = run.read("names", [*KEY, "evidence", "cluster", "rank", "name", "p"])
    rows = rows[(rows["rank"] == 0) & (rows["p"] <= NAMED)].sort_values([*KEY, "cluster"], kind="stable")
    first, second = (rows[rows["evidence"] == evidence] for evidence in ("exemplars", "deflated"))
    whole = first[first["cluster"] < 0].set_index(KEY)["name"].rename("name")
    parts = first[first["cluster"] >= 0].groupby(KEY)["name"].agg(" \N{MIDDLE DOT} ".join).rename("names")
    left = second[second["cluster"] == 1].set_index(KEY)["name"].rename(f"{SECOND}name")
    return pd.concat([whole, parts, *([left] if len(second) else [])], axis=1).reset_index()


def _direction_names(run: Run, units: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """What the user's directions are called, if there are any: "" for one without a name, and for channels."""
    if (units["role"] == DIRECTION).any():
        rows = run.read("readouts", [*KEY, "name"], where={"role": DIRECTION})
        yield rows.rename(columns={"name": "direction"})


def _causal_shares(job: Job, run: Run) -> Iterator[pd.DataFrame]:
    """Shares of a unit's clusters that drive it, if patches were swapped."""
    shares = causal_shares(causes_of(run, job.show.fdr))
    for evidence, prefix in ((MAIN, ""), (DEFLATED, SECOND)):
        of_kind = shares[shares["evidence"] == evidence]
        if len(of_kind):
            yield of_kind[[*KEY, "causal_share"]].rename(columns={"causal_share": f"{prefix}causal_share"})


def nearest_units(run: Run) -> pd.DataFrame:
    """For each unit, the unit of its layer with the most similar mean exemplar, and the cosine of the two means."""
    layers = [
        _nearest_in(str(layer), rows)
        for layer, rows in run.read("centres").groupby("layer", sort=False)
        if len(rows) > 1
    ]
    empty = pd.DataFrame(columns=[*KEY, "nearest_unit", "nearest_cosine"])
    return pd.concat(layers or [empty], ignore_index=True)


def _nearest_in(layer: str, rows: pd.DataFrame) -> pd.DataFrame:
    centres = np.stack(rows["embedding"].to_list()).astype(np.float32)
    near = nearest(centres, centres, 2)
    # A unit's own centre may come second, after an equal one.
    is_own = near.index[:, 0] == np.arange(len(rows))
    other = np.where(is_own, near.index[:, 1], near.index[:, 0])
    cosine = np.where(is_own, near.similarity[:, 1], near.similarity[:, 0])
    channel = rows["channel"].to_numpy()
    names = [f"{layer}:{number}" for number in channel[other]]
    return pd.DataFrame({"layer": layer, "channel": channel, "nearest_unit": names, "nearest_cosine": cosine})


def _visualization_columns(run: Run, units: pd.DataFrame) -> pd.DataFrame | None:
    """The check of Alic et al.: activations of the visualizations compared with that of the best image."""
    rows = run.read("visualizations", [*KEY, "activation", "stop"])
    rows = rows[rows["layer"].isin(units["layer"].unique())]
    if rows.empty:
        return None
    rows = rows.merge(units[[*KEY, "max"]], on=KEY)
    rows["wins"] = rows["activation"] > rows["max"]
    columns = {
        "visualization_activation": ("activation", "max"),
        "visualization_beats_data": ("wins", "any"),
        "visualizations_winning": ("wins", "mean"),
        "visualization_stop": ("stop", "first"),
    }
    frame = rows.groupby(KEY).agg(**columns).reset_index()
    # A unit that was not visualized has no value, so the column is a number rather than a boolean.
    frame["visualization_beats_data"] = frame["visualization_beats_data"].astype(float)
    return frame


KINDS: dict[str, ColumnType] = {"b": "bool", "i": "int64", "f": "float64"}
NARROW: dict[str, ColumnType] = {"depth": "int32", "channel": "int32"}
ALWAYS = frozenset(("layer", "channel", "depth", "is_dead"))


def table_of(frame: pd.DataFrame) -> Table:
    """The schema of a map, whose columns depend on the scores and the evidence."""
    names = [str(name) for name in frame]
    kinds: list[ColumnType] = [NARROW.get(name) or KINDS.get(frame[name].dtype.kind, "string") for name in names]
    columns = (Column(name, kind, "", "", nullable=name not in ALWAYS) for name, kind in zip(names, kinds, strict=True))
    return Table("map", "report", 3, "unit", tuple(columns))
