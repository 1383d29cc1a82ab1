"""What is measured of each score on units and sets of known truth."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from jaxtyping import Float64

from polyscan.scores import SCORES
from polyscan.stats.significance import benjamini_hochberg

Measures = dict[str, dict[str, dict[str, dict[str, float]]]]
"""score -> measure -> layer -> type of unit -> number."""

LEVEL = 0.05
FDR = 0.1
PLANTED_SHARE = 0.1
SUBSAMPLES = 20
GATE = "separation"
ALL_LAYERS = "all layers"


def measures(planted: pd.DataFrame, labelled: pd.DataFrame, purities: pd.DataFrame) -> Measures:
    """All measures of all scores.

    auroc: of planted units against the layer's controls (of sets of several classes against single ones), by how far
    each lies beyond its null. fpr_05, power_05: share with p <= .05 among units of one and of several concepts.
    k_exact: share with the right number of clusters among those found. purity: mean share of items in their cluster's
    commonest source. fdr_10: false share of what BH at .1 finds where 10 % are planted, of each layer by itself and, as
    in a scan, of all layers at once (`all layers`). n: units of each type.

    Args:
        planted: rows of `planted_rows`.
        labelled: rows of `labelled_rows`.
        purities: rows of `purities`.
    """
    rows = pd.concat([planted, labelled], ignore_index=True) if len(labelled) else planted
    found: Measures = {}
    for score, its in rows.groupby("score"):
        mine = its.assign(beyond=_beyond(its, str(score)))
        if mine["beyond"].isna().all():
            continue
        for measure, layer, kind, value in _of_score(mine):
            found.setdefault(str(score), {}).setdefault(measure, {}).setdefault(layer, {})[kind] = value
    gate = found.setdefault(GATE, {})
    for (layer, kind), value in _k_exact(rows).items():
        gate.setdefault("k_exact", {}).setdefault(layer, {})[kind] = value
    for (layer, kind), value in purities.groupby(["layer", "type"])["purity"].mean().items():  # pyright: ignore
        gate.setdefault("purity", {}).setdefault(str(layer), {})[str(kind)] = float(value)
    return found


def _beyond(rows: pd.DataFrame, score: str) -> pd.Series:
    """How far beyond its null each unit lies, in the null's sd, or its value where there is none; large: several."""
    sign = -1.0 if score in SCORES and (SCORES[score].tail == "lower" or score.endswith("_p")) else 1.0
    if rows["null_sd"].isna().all():
        return sign * rows["value"]
    return sign * (rows["value"] - rows["null_mean"]) / rows["null_sd"].where(rows["null_sd"] > 0)


def _of_score(rows: pd.DataFrame) -> Iterator[tuple[str, str, str, float]]:
    """(measure, layer, type, number) of one score."""
    for layer, mine in rows.groupby("layer"):
        one = mine[mine["type"].isin(["control", "one class"])]
        for kind, its in mine.groupby("type"):
            about = (str(layer), str(kind))
            p = its["p"].dropna()
            yield "n", *about, float(len(its))
            if len(p):
                yield "fpr_05" if its["concepts"].iloc[0] <= 1 else "power_05", *about, float((p <= LEVEL).mean())
            if its["concepts"].iloc[0] > 1 and len(one) and not np.isnan(value := _auroc(one, its)):
                yield "auroc", *about, value
        yield from _false_share(mine, str(layer))
    yield from _false_share(rows[rows["type"].isin(["control", "planted"])], ALL_LAYERS)


def _false_share(rows: pd.DataFrame, layer: str) -> Iterator[tuple[str, str, str, float]]:
    """Where there are enough units of one concept, and planted ones."""
    one, plants = (
        rows.loc[rows["type"].isin(kinds), "p"].dropna().to_numpy(np.float64)
        for kinds in (["control", "one class"], ["planted"])
    )
    if len(plants) and not np.isnan(value := _fdr(one, plants)):
        yield "fdr_10", layer, "planted", value


def _auroc(one: pd.DataFrame, several: pd.DataFrame) -> float:
    from sklearn.metrics import roc_auc_score  # noqa: PLC0415  # seconds that other commands don't need

    values = pd.concat([one["beyond"], several["beyond"]]).to_numpy(np.float64)
    truth = np.repeat([0, 1], [len(one), len(several)])
    is_known = np.isfinite(values)
    if len(np.unique(truth[is_known])) < 2:  # a curve needs both
        return float("nan")
    return float(roc_auc_score(truth[is_known], values[is_known]))


def _fdr(one: Float64[np.ndarray, " u"], planted: Float64[np.ndarray, " v"]) -> float:
    """Mean share of false findings by BH at .1, over subsamples of the plants that make them a tenth of all."""
    wanted = round(len(one) * PLANTED_SHARE / (1 - PLANTED_SHARE))
    if not wanted or len(planted) < wanted:
        return float("nan")
    generator = np.random.default_rng(0)
    false: list[float] = []
    for _ in range(SUBSAMPLES):
        p = np.concatenate([one, generator.choice(planted, size=wanted, replace=False)])
        is_found = benjamini_hochberg(p) <= FDR
        false.append(float(is_found[: len(one)].sum() / max(1, is_found.sum())))
    return float(np.mean(false))


def _k_exact(rows: pd.DataFrame) -> dict[tuple[str, str], float]:
    """Share of the right number of clusters among the units found, by layer and type."""
    key = ["layer", "type", "channel"]
    found = rows[(rows["score"] == GATE) & (rows["p"] <= LEVEL) & (rows["concepts"] > 1)][[*key, "concepts"]]
    counted = rows[rows["score"] == "silhouette_k"][[*key, "value"]]
    both = found.merge(counted, on=key)
    shares = (both["value"] == both["concepts"]).groupby([both["layer"], both["type"]]).mean()
    return {(str(layer), str(kind)): float(share) for (layer, kind), share in shares.items()}  # pyright: ignore
