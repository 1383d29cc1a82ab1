"""What the pages show of a run: facts, the statement, the trend, notes, and the units with pictures."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from polyscan.job import Job
from polyscan.maps.atlas import Atlas, LayerRow, MapColumn, Rate
from polyscan.nulls.null_sets import LAYER_REACHES, allowed
from polyscan.report.associations import associations
from polyscan.report.gallery import RunGallery
from polyscan.report.rates import Rates, layer_rates
from polyscan.report.statements import statements
from polyscan.report.trend import LOW_Q_SHARE, depth_trend, low_q_shares
from polyscan.report.verdicts import VERDICTS
from polyscan.run import Run
from polyscan.scores import SCORES
from polyscan.units import REAL


def atlas_of(job: Job, run: Run, frame: pd.DataFrame, calibrated: pd.DataFrame) -> Atlas:
    """Everything that the pages are drawn from: the map, and the rows of `calibrated_rows` it was made of."""
    layers = run.layer_table()
    layers = layers[layers["role"] == REAL]
    columns = list(columns_of(frame))
    index = {layer: place for place, layer in enumerate(layers["layer"])}
    gallery = RunGallery(job, run, frame, calibrated, by=columns[0].name if columns else None)
    rows = list(_layer_rows(layers, frame, layer_rates(calibrated)))
    trend = [*depth_trend(job, frame, rows, columns, calibrated), *low_q_shares(frame, rows)]
    claims = list(statements(job, frame, rows, trend))
    return Atlas(
        title=job.show.title or " · ".join(filter(None, (job.network.name, _short_weights(job)))),
        facts=_facts(job, run, frame),
        statement=" ".join(claim.text for claim in claims),
        layers=rows,
        layer_index=frame["layer"].map(index).to_numpy(np.int32),
        channel=frame["channel"].to_numpy(np.int32),
        is_dead=frame["is_dead"].to_numpy(bool),
        columns=columns,
        values={column.name: frame[column.name].to_numpy(np.float64) for column in columns},
        trend=trend,
        gallery=gallery,
        notes=list(_notes(run, job, frame)),
        verdict=frame["verdict"].str.replace("_", " ").tolist() if "verdict" in frame else (),
        run=run_id(run),
        claims=claims,
        meanings={word.replace("_", " "): f"{meaning}." for word, meaning in VERDICTS.items()}
        if "verdict" in frame
        else {},
        shares=[LOW_Q_SHARE] if "q" in frame else [],
        names=frame["names"].fillna("").tolist() if frame["names"].notna().any() else (),
        q=frame["q"].to_numpy(np.float64) if "q" in frame else (),
        associations=list(associations(job, frame, columns)),
    )


def run_id(run: Run) -> str:
    """What tells this run's files from another's: a digest of its stages' fingerprints."""
    stages: Any = run.manifest()["stages"]
    return hashlib.sha256(" ".join(str(stages[name]["fingerprint"]) for name in sorted(stages)).encode()).hexdigest()[
        :16
    ]


def _layer_rows(layers: pd.DataFrame, frame: pd.DataFrame, rates: Mapping[str, Rates]) -> Iterator[LayerRow]:
    dead = frame.groupby("layer")["is_dead"].sum()
    for _, row in layers.iterrows():
        name = str(row["layer"])
        its = rates.get(name, Rates(None, 0, None, 0))
        space = {"next": f"features of {row['next']}", "own": "its own features"}.get(
            str(row["space"]), "embedded images"
        )
        yield LayerRow(
            name,
            int(row["depth"]),
            int(row["n_units"]),
            int(dead[name]),
            str(row["readout"]),
            space,
            Rate(*its.fpr, its.n_controls) if its.fpr else None,
            Rate(*its.power, its.n_planted) if its.power else None,
        )


def _short_weights(job: Job) -> str:
    return job.network.weights.rpartition("/")[2]


# What the menu says of a column, in its order; a score that is not here follows with what it says of itself.
LABELS: Mapping[str, tuple[str, str]] = {
    "separation": ("separation", "how much better two clusters fit than one-exemplar readouts as homogeneous; in sd"),
    "gap": ("gap", "how much closer exemplars are within two clusters than across them; read it with its p"),
    "p": ("p", "chance of such a separation among one-exemplar readouts of the layer that are as homogeneous"),
    "q": ("q", "false discovery rate at which the unit is called several (Benjamini & Hochberg)"),
    "n_clusters": ("clusters", "1 unless the unit is called several, else the best 2 to 5 by silhouette"),
    "psi": ("PSI", "S x Q x D: calibrated clusters, aligned with labels, of distinct concepts; 0 chance, 1 perfect"),
    "psi_s": ("PSI: S", "silhouette, adjusted for the null: 0 chance, 1 perfect"),
    "psi_q": ("PSI: Q", "alignment of clusters with the images' labels, adjusted for chance"),
    "psi_d": ("PSI: D", "distinctness of the clusters' concepts, adjusted for chance"),
    "psi_gated": ("PSI, gated", "PSI where the unit is called several, else 0"),
    "psi_p": ("PSI: p", "chance of such a PSI under the joint null"),
    "semanticity": ("semanticity", "Alic et al. 2025, over exemplars: 0 one thing, 1 many clusters far apart"),
    "semanticity_k": ("clusters (BIC)", "number of clusters that BIC prefers, 1 included; not calibrated"),
    "clarity": ("clarity", "mean pairwise cosine of the exemplars: 1 all alike"),
    "polysemanticity": (
        "polysemanticity (SemanticLens)",
        "1 - cosine of two forced clusters; pure noise scores highest",
    ),
    "monosemanticity": ("monosemanticity score", "activation-weighted mean cosine of the exemplars: 1 all alike"),
    "visualizations_semanticity": (
        "semanticity of visualizations",
        "Alic et al. 2025, as published: over visualizations",
    ),
    "visualizations_semanticity_k": ("clusters of visualizations (BIC)", "K that BIC prefers, 1 included"),
    "visualizations_semanticity_i": ("visualizations", "I: images made until the perceptual elbow"),
    "visualizations_clarity": ("clarity of visualizations", "mean pairwise cosine of the visualizations"),
    "visualizations_winning": (
        "visualizations beating data",
        "share of a unit's visualizations stronger than its best image",
    ),
    "nearest_cosine": (
        "nearest unit",
        "cosine of the exemplars' mean with that of the layer's nearest unit: 1 a double",
    ),
    "kurtosis": ("kurtosis", "excess kurtosis of the peaks over all images: high means rarely, then strongly active"),
    "sparsity": ("sparsity", "share of images whose peak is not above zero"),
}
KEY = frozenset(("separation", "gap", "p", "q", "n_clusters", "psi", "psi_s", "psi_q", "psi_d"))
COUNTS = frozenset(("n_clusters", "semanticity_k", "visualizations_semanticity_k", "visualizations_semanticity_i"))
CHANCES = frozenset(("p", "q", "psi_p", "dip_p"))
FEW = 20


def columns_of(frame: pd.DataFrame) -> Iterator[MapColumn]:
    """What a map can be coloured by, in the menu's order: columns that some unit has a number in."""
    own = {name: (score.label, (score.__doc__ or "").partition("\n")[0]) for name, score in SCORES.items()}
    for name, (label, meaning) in {**LABELS, **{k: v for k, v in own.items() if k not in LABELS}}.items():
        if name in frame and frame[name].notna().any():
            kind = "count" if name in COUNTS else "p" if name in CHANCES else "real"
            yield MapColumn(name, label, meaning, kind, is_key=name in KEY)


def _facts(job: Job, run: Run, frame: pd.DataFrame) -> list[tuple[str, str]]:
    manifest = run.manifest()
    facts = [
        ("units", f"{len(frame):,}"),
        ("layers", f"{frame['layer'].nunique()}"),
        ("dead", f"{int(frame['is_dead'].sum()):,}"),
        ("images", f"{int(frame['n_images'].max()):,}"),
        ("exemplars per unit", str(job.n_scored)),
        ("embedder", str(manifest["embedder"]["name"])),
    ]
    if frame["nearest_cosine"].notna().any():
        facts.append(("redundancy", f"{frame['nearest_cosine'].mean():.2f}"))
    if manifest["distance"] and job.visualize.enabled:
        facts.append(("perceptual distance", str(manifest["distance"])))
    return [*facts, ("polyscan", str(manifest["versions"]["polyscan"]))]


def _notes(run: Run, job: Job, frame: pd.DataFrame) -> Iterator[str]:
    rejects = run.read("rejects")
    if len(rejects):
        first = f"{rejects['path'].iloc[0]}: {rejects['reason'].iloc[0]}"
        yield f"{len(rejects)} images could not be used; the table rejects says why (first: {first})."
    if not run.manifest()["is_traced"]:
        yield (
            "The network can't be traced: units are read at their modules' own outputs, "
            "which may lie before batch norm."
        )
    if (n := int(frame["saturated"].sum())) > 0:
        yield (
            f"{n} units are saturated: more than k images tie at their largest peak, "
            "so which of these are their exemplars is arbitrary."
        )
    if not job.visualize.enabled:
        yield "This job makes no visualizations."
    elif job.visualize.units_per_layer:
        yield f"Visualized: a seeded sample of {job.visualize.units_per_layer} live units a layer."
    yield "Intervals resample the units of a layer; all units share the same images."
    if "p" not in frame or frame["p"].isna().all():
        yield "This run has no null, so scores are not calibrated: noise may score as high as two concepts."
        return
    without = [str(layer) for layer, p in frame[~frame["is_dead"]].groupby("layer", sort=False)["p"] if p.isna().all()]
    if without:
        yield f"No null for {', '.join(without)}: on the survey's images all its activation vectors are alike."
    n = job.n_scored
    if n < FEW:
        yield f"Each unit has {n} exemplars only; with fewer than {FEW} next to nothing can be found."
    reaches = allowed(LAYER_REACHES, job.collect.k, int(frame["n_images"].max())) if job.survey.readouts else ()
    if reaches and reaches[-1] < LAYER_REACHES[-1]:
        yield (
            f"Null sets reach down to the top {reaches[-1]} x {job.collect.k} images only, for want of images; "
            "units less homogeneous than those are off range."
        )
    yield (
        "One means: not more split than equally homogeneous one-exemplar readouts of this layer, in this space. "
        "Not rejected is not proved to be one."
    )
