"""Error rates, power and purity of each score, on units and image sets whose truth is known."""

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

    auroc: planted units against the layer's controls (sets of several classes against sets of one class), ranked by
    how far each lies beyond its null. fpr_05, power_05: share with p <= .05 and no artefact among units of one and of
    several concepts. k_exact: share with the right number of clusters among units with p <= .05. purity: mean share of
    items in their cluster's commonest source. fdr_10: false discovery rate of BH at .1 where 10 % of units are planted,
    for each layer alone and, as in a scan, for all layers at once (`all layers`). n: number of units of each type.

    Args:
        planted: from `planted_rows`.
        labelled: from `labelled_rows`.
        purities: from `purities`.
    """
    rows = pd.concat([planted, labelled], ignore_index=True) if len(labelled) else planted
    numbers: Measures = {}
    for score, group in rows.groupby("score"):
        of_score = group.assign(beyond=beyond(group, str(score)))
        if of_score["beyond"].isna().all():
            continue
        for measure, layer, kind, value in _of_score(of_score):
            numbers.setdefault(str(score), {}).setdefault(measure, {}).setdefault(layer, {})[kind] = value
    gate = numbers.setdefault(GATE, {})
    for (layer, kind), value in _k_exact(rows).items():
        gate.setdefault("k_exact", {}).setdefault(layer, {})[kind] = value
    for (layer, kind), value in purities.groupby(["layer", "type"])["purity"].mean().items():  # pyright: ignore
        gate.setdefault("purity", {}).setdefault(str(layer), {})[str(kind)] = float(value)
    return numbers


def beyond(rows: pd.DataFrame, score: str) -> pd.Series:
    """Distance of each unit beyond its null, in sd of the null, or its value without a null; large means several."""
    sign = -1.0 if score in SCORES and (SCORES[score].tail == "lower" or score.endswith("_p")) else 1.0
    if rows["null_sd"].isna().all():
        return sign * rows["value"]
    return sign * (rows["value"] - rows["null_mean"]) / rows["null_sd"].where(rows["null_sd"] > 0)


def _of_score(rows: pd.DataFrame) -> Iterator[tuple[str, str, str, float]]:
    """(measure, layer, type, number) for one score."""
    for layer, of_layer in rows.groupby("layer"):
        one = of_layer[of_layer["type"].isin(["control", "one class"])]
        for kind, units in of_layer.groupby("type"):
            place = (str(layer), str(kind))
            has_p = units["p"].notna()
            is_called = ((units["p"] <= LEVEL) & ~units["is_artefact"])[has_p]
            is_several = units["concepts"].iloc[0] > 1
            yield "n", *place, float(len(units))
            if len(is_called):
                yield "power_05" if is_several else "fpr_05", *place, float(is_called.mean())
            if is_several and len(one) and not np.isnan(value := _auroc(one, units)):
                yield "auroc", *place, value
        yield from _false_share(of_layer, str(layer))
    yield from _false_share(rows[rows["type"].isin(["control", "planted"])], ALL_LAYERS)


def _false_share(rows: pd.DataFrame, layer: str) -> Iterator[tuple[str, str, str, float]]:
    """`fdr_10`, if there are enough single-concept and planted units."""
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
    if len(np.unique(truth[is_known])) < 2:  # the curve needs both classes
        return float("nan")
    return float(roc_auc_score(truth[is_known], values[is_known]))


def _fdr(one: Float64[np.ndarray, " u"], planted: Float64[np.ndarray, " v"]) -> float:
    """Mean false discovery rate of BH at .1, over subsamples of planted units that make up a tenth of all units."""
    n_planted = round(len(one) * PLANTED_SHARE / (1 - PLANTED_SHARE))
    if not n_planted or len(planted) < n_planted:
        return float("nan")
    generator = np.random.default_rng(0)
    false: list[float] = []
    for _ in range(SUBSAMPLES):
        p = np.concatenate([one, generator.choice(planted, size=n_planted, replace=False)])
        is_found = benjamini_hochberg(p) <= FDR
        false.append(float(is_found[: len(one)].sum() / max(1, is_found.sum())))
    return float(np.mean(false))


def _k_exact(rows: pd.DataFrame) -> dict[tuple[str, str], float]:
    """Share with the right number of clusters among units of several concepts with p <= .05, by layer and type."""
    key = ["layer", "type", "channel"]
    called = rows[(rows["score"] == GATE) & (rows["p"] <= LEVEL) & (rows["concepts"] > 1)][[*key, "concepts"]]
    counted = rows[rows["score"] == "silhouette_k"][[*key, "value"]]
    both = called.merge(counted, on=key)
    shares = (both["value"] == both["concepts"]).groupby([both["layer"], both["type"]]).mean()
    return {(str(layer), str(kind)): float(share) for (layer, kind), share in shares.items()}  # pyright: ignore
