"""What the pages show of a run: facts, statements, the trend, notes, and the units with pictures."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from polyscan.job import Job
from polyscan.maps.atlas import Atlas, LayerRow, MapColumn, Rate, SecondRow, Statement, TrendPoint
from polyscan.report.associations import associations
from polyscan.report.direction_statements import direction_statements
from polyscan.report.gallery import RunGallery
from polyscan.report.notes import notes
from polyscan.report.rates import LEVEL, Rates, bounds, layer_rates
from polyscan.report.second_statements import second_statements
from polyscan.report.statements import judged_units, statements
from polyscan.report.trend import LOW_Q_SHARE, depth_trend, low_q_shares
from polyscan.report.unit_map import SECOND
from polyscan.report.verdicts import SECOND_VERDICTS, VERDICTS
from polyscan.run import Run
from polyscan.scores import SCORES
from polyscan.stats.significance import Interval, wilson_interval
from polyscan.units import JUDGED, REAL

MEANINGS, SECOND_MEANINGS = (
    {verdict.replace("_", " "): f"{meaning}." for verdict, meaning in of_test.items()}
    for of_test in (VERDICTS, SECOND_VERDICTS)
)
"""What each verdict of the first and of the second test means, by the verdict as the pages write it."""
UNTRAINED = "This network is untrained: its weights are random, as the job asks."


def atlas_of(job: Job, run: Run, frame: pd.DataFrame, calibrated: pd.DataFrame) -> Atlas:
    """Everything that the pages are drawn from: the map, and the rows of `calibrated_rows` that it was made of."""
    table = run.layer_table()
    table = table[table["role"].isin(JUDGED)]
    columns = list(columns_of(frame))
    layers = list(_layer_rows(table, frame, calibrated))
    trend = [*depth_trend(job, frame, layers, columns, calibrated), *low_q_shares(frame, layers)]
    claims = _claims(job, frame, calibrated, layers, trend)
    return Atlas(
        title=job.show.title or " · ".join(filter(None, (job.network.name, _short_weights(job)))),
        facts=_facts(job, run, frame),
        statement=" ".join(claim.text for claim in claims),
        layers=layers,
        columns=columns,
        trend=trend,
        gallery=RunGallery(job, run, frame, calibrated, by=columns[0].name if columns else None),
        notes=list(notes(job, run, frame)),
        run=run_id(run),
        claims=claims,
        meanings=MEANINGS if "verdict" in frame else {},
        second_meanings=SECOND_MEANINGS if f"{SECOND}verdict" in frame else {},
        shares=[LOW_Q_SHARE] if "q" in frame else [],
        associations=list(associations(job, frame, columns)),
        warning=warning(run),
        **_unit_fields(frame, columns, [layer.name for layer in layers]),
    )


def _claims(
    job: Job, frame: pd.DataFrame, calibrated: pd.DataFrame, layers: Sequence[LayerRow], trend: Sequence[TrendPoint]
) -> list[Statement]:
    """The sentences of the front page: about the network's channels, then about the user's directions."""
    channels, of_channels = frame[frame["role"] == REAL], [layer for layer in layers if not layer.parent]
    first, second = (bounds(judged_units(channels, prefix), calibrated, prefix) for prefix in ("", SECOND))
    return [
        *statements(job, channels, of_channels, trend, first),
        *second_statements(channels, calibrated, of_channels, second),
        *direction_statements(frame, calibrated),
    ]


def _unit_fields(frame: pd.DataFrame, columns: Sequence[MapColumn], layers: Sequence[str]) -> dict[str, Any]:
    """The fields of an atlas that have one value per unit."""
    index = {layer: place for place, layer in enumerate(layers)}
    return {
        "layer_index": frame["layer"].map(index).to_numpy(np.int32),
        "channel": frame["channel"].to_numpy(np.int32),
        "is_dead": frame["is_dead"].to_numpy(bool),
        "values": {column.name: frame[column.name].to_numpy(np.float64) for column in columns},
        "verdict": _as_words(frame, "verdict"),
        "second_verdict": _as_words(frame, f"{SECOND}verdict"),
        "names": _names(frame),
        "q": frame["q"].to_numpy(np.float64) if "q" in frame else (),
    }


def _names(frame: pd.DataFrame) -> Sequence[str]:
    """What each unit is called: a direction by its own name and what its clusters show; empty if no unit has a name."""
    shown = frame["names"].fillna("").astype(str)
    if "direction" in frame:
        own = frame["direction"].fillna("").astype(str)
        shown = own + np.where((own != "") & (shown != ""), ": ", "") + shown
    return shown.tolist() if (shown != "").any() else ()


def _as_words(frame: pd.DataFrame, name: str) -> Sequence[str]:
    """A column of verdicts as the pages write them; empty if the map has no such column."""
    return frame[name].str.replace("_", " ").tolist() if name in frame else ()


def warning(run: Run) -> str:
    """What every page of a run must say first; "" for nothing."""
    return UNTRAINED if run.manifest().get("network", {}).get("is_untrained") else ""


def run_id(run: Run) -> str:
    """Identifies a run's files: a digest of its stages' fingerprints."""
    stages: Any = run.manifest()["stages"]
    fingerprints = " ".join(str(stages[name]["fingerprint"]) for name in sorted(stages))
    return hashlib.sha256(fingerprints.encode()).hexdigest()[:16]


def _layer_rows(table: pd.DataFrame, frame: pd.DataFrame, calibrated: pd.DataFrame) -> Iterator[LayerRow]:
    """Rows of the table of layers, with the numbers of the first and of the second test."""
    dead = frame.groupby("layer")["is_dead"].sum()
    parents = dict(zip(table["layer"].astype(str), table["parent"].astype(str), strict=True))
    first, second = (_tested(frame, calibrated, parents, prefix) for prefix in ("", SECOND))
    for _, row in table.iterrows():
        name = str(row["layer"])
        yield LayerRow(
            name,
            int(row["depth"]),
            int(row["n_units"]),
            int(dead[name]),
            str(row["readout"]),
            _shown_space(row),
            **first.get(name, {}),
            second=SecondRow(**second[name]) if name in second else None,
            parent="" if row["role"] == REAL else str(row["parent"]),
        )


def _tested(
    frame: pd.DataFrame, calibrated: pd.DataFrame, parents: Mapping[str, str], prefix: str
) -> dict[str, dict[str, Any]]:
    """By layer, what one test says of it: the fields of `SecondRow`; directions have their parent's virtual units."""
    of_parents = layer_rates(calibrated, prefix)
    rates = {layer: of_parents[parent] for layer, parent in parents.items() if parent in of_parents}
    judged = {str(layer): units for layer, units in judged_units(frame, prefix).groupby("layer")}
    found: dict[str, dict[str, Any]] = {}
    for layer in dict.fromkeys([*rates, *judged]):
        measured, units = rates.get(layer, Rates(None, 0, None, 0)), judged.get(layer, frame[:0])
        n_small = int((units[f"{prefix}p"] <= LEVEL).sum()) if len(units) else 0
        bound = bounds(units, calibrated[:0], prefix).units if len(units) else None
        found[layer] = {
            "fpr": _rate(measured.fpr, measured.n_controls),
            "power": _rate(measured.power, measured.n_planted),
            "random": _rate(measured.random, measured.n_random),
            "p_05": _rate(wilson_interval(n_small, len(units)), len(units)) if len(units) else None,
            "at_least": bound.n if bound else None,
        }
    return found


def _shown_space(row: pd.Series) -> str:
    """The space in which a layer is compared, as the pages write it."""
    words = {"next": f"features of {row['next']}", "own": "its own features"}
    return words.get(str(row["space"]), "embedded images")


def _rate(interval: Interval | None, n: int) -> Rate | None:
    return Rate(*interval, n) if interval else None


def _short_weights(job: Job) -> str:
    return job.network.weights.rpartition("/")[2]


# Label and help of each column, in the order of the menu; scores that are not here follow, with their class docstring.
LABELS: Mapping[str, tuple[str, str]] = {
    "separation": (
        "separation",
        "how much better two clusters fit than in equally homogeneous single-concept readouts, in their sd",
    ),
    "gap": ("gap", "how much more alike exemplars are within two clusters than across them; read it together with p"),
    "p": (
        "p",
        "probability of a separation this large in single-concept readouts of this layer with similar homogeneity",
    ),
    "q": ("q", "false discovery rate at which the unit is called several (Benjamini & Hochberg)"),
    "q_group": (
        "q, group-adaptive",
        "false discovery rate that uses an estimate of how many units of each layer answer to one thing "
        "(Hu, Zhao & Zhou)",
    ),
    "q_storey": ("q, Storey by layer", "the same for each layer alone (Storey)"),
    "p_exact": (
        "p, exact",
        'as p, with the null\'s curves fitted on other null sets; what "at least N" is counted from',
    ),
    "second_separation": (
        "second test: separation",
        "how clearly the images that a unit's main meaning leaves unexplained stand apart from its strongest ones, "
        "compared with single-concept readouts of similar homogeneity, in their sd",
    ),
    "second_p": (
        "second test: p",
        "probability that in single-concept readouts of this layer, with similar homogeneity, unexplained images stand "
        "apart as clearly",
    ),
    "second_q": (
        "second test: q",
        "false discovery rate at which the second test calls the unit several (Benjamini & Hochberg)",
    ),
    "second_strength": (
        "second test: strength",
        "mean activation of the unexplained images over that of the strongest ones, both above the unit's mean; 1: as "
        "strong as the main part",
    ),
    "n_clusters": ("clusters", "1 unless the unit is called several, else 2 to 5, chosen by silhouette"),
    "psi": (
        "PSI",
        "S x Q x D: clusters beyond the null, aligned with labels, with distinct concepts; 0: chance, 1: perfect",
    ),
    "psi_s": ("PSI: S", "silhouette of the clusters, adjusted for the null; 0: chance, 1: perfect"),
    "psi_q": ("PSI: Q", "alignment of clusters with the images' labels, adjusted for chance"),
    "psi_d": ("PSI: D", "distinctness of the clusters' concepts, adjusted for chance"),
    "psi_gated": ("PSI, gated", "PSI if the unit is called several, else 0"),
    "psi_p": ("PSI: p", "probability of a PSI this large in null sets with similar homogeneity"),
    "semanticity": ("semanticity", "Alic et al. 2025, on exemplars; 0: one thing, 1: many clusters far apart"),
    "semanticity_k": ("clusters (BIC)", "number of clusters that BIC prefers, possibly 1; not calibrated"),
    "causal_share": (
        "clusters that drive the unit",
        "share of the clusters of its exemplars whose patches, pasted into other images, raise the unit more than each "
        "control does",
    ),
    "second_causal_share": (
        "second test: parts that drive the unit",
        "the same for its strongest images and those that its main meaning leaves unexplained",
    ),
    "clarity": ("clarity", "homogeneity of the exemplars: their mean pairwise cosine; 1: all alike"),
    "polysemanticity": (
        "polysemanticity (SemanticLens)",
        "1 - cosine between the means of two forced clusters; pure noise scores highest",
    ),
    "monosemanticity": ("monosemanticity score", "activation-weighted mean cosine of the exemplars; 1: all alike"),
    "visualizations_semanticity": (
        "semanticity of visualizations",
        "Alic et al. 2025, as published: on visualizations",
    ),
    "visualizations_semanticity_k": (
        "clusters of visualizations (BIC)",
        "number of clusters that BIC prefers, possibly 1",
    ),
    "visualizations_semanticity_i": ("visualizations", "I: number of images generated until the perceptual elbow"),
    "visualizations_clarity": ("clarity of visualizations", "mean pairwise cosine of the visualizations"),
    "visualizations_winning": (
        "visualizations beating data",
        "share of a unit's visualizations that activate it more than its best image",
    ),
    "nearest_cosine": (
        "nearest unit",
        "cosine between the mean of the exemplars and that of the layer's nearest unit; 1: a duplicate",
    ),
    "kurtosis": ("kurtosis", "excess kurtosis of the peaks over all images; high: rarely active, but then strongly"),
    "sparsity": ("sparsity", "share of images whose peak is not positive"),
}
SECOND_KEY = ("second_separation", "second_p", "second_q", "second_strength")
KEY = frozenset(("separation", "gap", "p", "q", "n_clusters", *SECOND_KEY, "psi", "psi_s", "psi_q", "psi_d"))
COUNTS = frozenset(("n_clusters", "semanticity_k", "visualizations_semanticity_k", "visualizations_semanticity_i"))
CHANCES = frozenset(("p", "p_exact", "q", "second_p", "second_q", "q_group", "q_storey", "psi_p", "dip_p"))


def columns_of(frame: pd.DataFrame) -> Iterator[MapColumn]:
    """Columns that a map can be coloured by, in the menu's order: those in which some unit has a number."""
    of_scores = {name: (score.label, (score.__doc__ or "").partition("\n")[0]) for name, score in SCORES.items()}
    for name, (label, help_) in {**LABELS, **{k: v for k, v in of_scores.items() if k not in LABELS}}.items():
        if name in frame and frame[name].notna().any():
            kind = "count" if name in COUNTS else "p" if name in CHANCES else "real"
            yield MapColumn(name, label, help_, kind, is_key=name in KEY)


def _facts(job: Job, run: Run, frame: pd.DataFrame) -> list[tuple[str, str]]:
    manifest, channels = run.manifest(), frame[frame["role"] == REAL]
    facts = [
        ("units", f"{len(channels):,}"),
        ("layers", f"{channels['layer'].nunique()}"),
        *([("directions of one's own", f"{len(frame) - len(channels):,}")] if len(frame) > len(channels) else []),
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
