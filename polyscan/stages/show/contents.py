"""What the pages show of a run: facts, the statement, the trend, notes, and the units with pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from polyscan.job import Job
from polyscan.maps.atlas import Atlas, Column, LayerRow, TrendPoint
from polyscan.run import Run
from polyscan.scores import SCORES
from polyscan.shards import seed
from polyscan.stages.show.cards import Gallery
from polyscan.stats.significance import bootstrap_interval

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
NOWHERE = (np.nan, np.nan, np.nan, np.nan, np.nan)


def atlas_of(job: Job, run: Run, frame: pd.DataFrame) -> Atlas:
    """Everything that the pages are drawn from."""
    layers = run.layer_table()
    dead = frame.groupby("layer")["is_dead"].sum()
    columns = list(_columns(frame))
    index = {layer: place for place, layer in enumerate(layers["layer"])}
    gallery = Gallery(job, run, frame, by=columns[0].name if columns else "max")
    rows = [
        LayerRow(
            str(row["layer"]), int(row["depth"]), int(row["n_units"]), int(dead[row["layer"]]), str(row["read_out"])
        )
        for _, row in layers.iterrows()
    ]
    return Atlas(
        title=job.show.title or " · ".join(filter(None, (job.network.name, _short_weights(job)))),
        facts=_facts(job, run, frame),
        statement=statement(frame),
        layers=rows,
        layer_index=frame["layer"].map(index).to_numpy(np.int32),
        channel=frame["channel"].to_numpy(np.int32),
        is_dead=frame["is_dead"].to_numpy(bool),
        columns=columns,
        values={column.name: frame[column.name].to_numpy(np.float64) for column in columns},
        trend=list(_trend(job, frame, rows, columns)),
        cards={row.name: gallery.cards(row.name) for row in rows},
        notes=list(_notes(run, job, frame)),
    )


def _short_weights(job: Job) -> str:
    return job.network.weights.rpartition("/")[2]


# What the menu says of a column, in its order; a score that is not here follows with what it says of itself.
LABELS: Mapping[str, tuple[str, str]] = {
    "semanticity": ("semanticity", "Alic et al. 2025, over exemplars: 0 one thing, 1 many clusters far apart"),
    "n_clusters": (
        "clusters (BIC)",
        "number of clusters of the exemplars that BIC prefers, 1 included; not calibrated",
    ),
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
    "kurtosis": ("kurtosis", "excess kurtosis of the peaks over all images: high means rarely, then strongly active"),
    "sparsity": ("sparsity", "share of images whose peak is not above zero"),
}
COUNTS = frozenset(("n_clusters", "visualizations_semanticity_k", "visualizations_semanticity_i"))


def _columns(frame: pd.DataFrame) -> Iterator[Column]:
    own = {name: (score.label, (score.__doc__ or "").partition("\n")[0]) for name, score in SCORES.items()}
    for name, (label, meaning) in {**LABELS, **{k: v for k, v in own.items() if k not in LABELS}}.items():
        if name in frame and frame[name].notna().any():
            yield Column(name, label, meaning, "count" if name in COUNTS else "real")


def _facts(job: Job, run: Run, frame: pd.DataFrame) -> list[tuple[str, str]]:
    manifest = run.manifest()
    facts = [
        ("units", f"{len(frame):,}"),
        ("layers", f"{frame['layer'].nunique()}"),
        ("dead", f"{int(frame['is_dead'].sum()):,}"),
        ("images", f"{int(frame['n_images'].max()):,}"),
        ("exemplars per unit", str(job.embed.n_exemplars or job.collect.k)),
        ("embedder", str(manifest["embedder"]["name"])),
    ]
    if manifest["distance"] and job.visualize.enabled:
        facts.append(("perceptual distance", str(manifest["distance"])))
    return [*facts, ("polyscan", str(manifest["versions"]["polyscan"]))]


def statement(frame: pd.DataFrame) -> str:
    """What may be said of the whole network: Alic's check where there are visualizations; no trend is claimed."""
    said = (
        "No depth trend is claimed: raw scores follow depth in one-concept controls too, and this version does not "
        "calibrate them."
    )
    if "visualization_beats_data" not in frame:
        return said
    checked = frame["visualization_beats_data"].dropna()
    return (
        f"Visualization finds a stronger image than the best of the data for {int(checked.sum()):,} of "
        f"{len(checked):,} visualized units ({checked.mean():.0%}). {said}"
    )


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
    yield "Scores are not calibrated against a null in this version: noise may score as high as two concepts."


def _trend(job: Job, frame: pd.DataFrame, layers: list[LayerRow], columns: list[Column]) -> Iterator[TrendPoint]:
    """Distribution and interval of each column over each layer's live units."""
    by_layer = {layer: rows for layer, rows in frame[~frame["is_dead"]].groupby("layer")}
    for column in columns:
        for layer in layers:
            rows = by_layer.get(layer.name)
            values = np.empty(0) if rows is None else rows[column.name].dropna().to_numpy(np.float64)
            if not len(values):
                yield TrendPoint(column.name, layer.name, layer.depth, 0, np.nan, np.nan, np.nan, NOWHERE)
                continue
            generator = np.random.default_rng(seed(job.seed, f"interval of {column.name}", layer.name))
            interval = bootstrap_interval(values, generator=generator, draws=1000)
            q05, q25, q50, q75, q95 = (float(np.quantile(values, share)) for share in QUANTILES)
            yield TrendPoint(column.name, layer.name, layer.depth, len(values), *interval, (q05, q25, q50, q75, q95))
