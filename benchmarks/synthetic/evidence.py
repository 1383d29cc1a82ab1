"""The tables of an invented layer: columns by channel, as the stages of a scan write them, with planted truth."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from scipy.stats import norm

from benchmarks.synthetic.network import EMBEDDER, NULLS, Place, Plan, Truth, depth_of, generator
from polyscan.tables import TABLES, Columns

K, VISUALIZATIONS, RANKS, AXES = 32, 6, 3, 64
N_IMAGES = 50_000
BASE_GAP, GAP_SD = 0.15, 0.04
ONE, SEVERAL_Z = -1, 6.0
ADJECTIVES = ("red", "striped", "furry", "wooden", "round", "shiny", "wet", "small", "old", "dark")
NOUNS = ("crane", "dog", "wheel", "leaf", "window", "bottle", "face", "text", "sky")
CLASSES = (
    *("Straßenlaterne", "Größenmaßstab", "丹顶鹤", "<script>window.hit=1</script>", '"><img src=x onerror="hit=1">'),
    *("Überführung", "=2+2", "O'Neill & Söhne", "naïve café", "人脸"),
    *(f"{adjective} {noun}" for adjective in ADJECTIVES for noun in NOUNS),
)


def empty(table: str) -> Columns:
    """No rows."""
    return {column.name: [] for column in TABLES[table].columns}


def space_name(space: str) -> str:
    """As evidence has it: an embedder, or the network's own features."""
    return EMBEDDER if space == "image" else space


def per_item(place: Place, channels: np.ndarray, n_items: int) -> dict[str, np.ndarray]:
    """Layer, channel and number of the item, for so many items of each unit."""
    channel = np.repeat(channels, n_items).astype(np.int32)
    return {**named(place, channel), "item": np.tile(np.arange(n_items, dtype=np.int32), len(channels))}


def named(place: Place, channel: np.ndarray) -> dict[str, np.ndarray]:
    """Layer, its parent, its role and the channel of rows."""
    n = len(channel)
    about = {"layer": words(place.name, n), "parent": words(place.parent, n), "role": words(place.role, n)}
    return {**about, "channel": channel}


def words(word: str, n: int) -> np.ndarray:
    """The same word so many times."""
    return np.full(n, word, dtype=object)


# ---- combine, visualize -------------------------------------------------------------------------------------------


def units(plan: Plan, place: Place, truth: Truth) -> Columns:
    """Moments of each unit's activations."""
    rng, n = generator(plan, place, "units"), place.n_units
    alive = ~truth.is_dead
    largest = np.where(alive, 2 + 10 * rng.random(n), 0.0)
    return {
        **named(place, np.arange(n, dtype=np.int32)),
        "depth": np.full(n, place.place, dtype=np.int32),
        "n_images": np.full(n, N_IMAGES),
        "mean": 0.3 * largest,
        "sd": 0.1 * largest,
        "min": np.zeros(n),
        "max": largest,
        "kurtosis": np.where(alive, rng.gamma(1.2, 4.0, n), np.nan),
        "sparsity": np.where(alive, rng.beta(2, 3, n), 1.0),
        "is_dead": truth.is_dead,
        "saturated": alive & (rng.random(n) < 0.005),
    }


def labels(truth: Truth) -> np.ndarray:
    """Best cluster of each of K exemplars, [n, K]: the strongest is in cluster 0, and none is empty."""
    n = len(truth.n_clusters)
    drawn = np.random.default_rng(n).random((n, K)) ** 1.5 * truth.n_clusters[:, None]
    made = np.floor(drawn).astype(np.int32)
    for at in range(4):
        made[:, at] = np.where(at < truth.n_clusters, at, made[:, at])
    return made


def exemplars(plan: Plan, place: Place, truth: Truth) -> Columns:
    """K images of each live unit of a real layer: of the class of the exemplar's cluster, or of the one class."""
    if not place.is_real:
        return empty("exemplars")
    rng, channels = generator(plan, place, "exemplars"), np.flatnonzero(~truth.is_dead)
    rows = per_item(place, channels, K)
    cluster = np.where(truth.is_several[:, None], labels(truth), 0)[channels]
    label = truth.classes[channels[:, None], cluster, 0].reshape(-1)
    n = len(label)
    image = label + len(CLASSES) * rng.integers(N_IMAGES // len(CLASSES), size=n)
    largest = np.asarray(units(plan, place, truth)["max"])[channels]
    zeros, side = np.zeros(n, dtype=np.int32), np.full(n, 64, dtype=np.int32)
    return {
        **named(place, rows["channel"]),
        "rank": rows["item"],
        "image": image,
        "activation": (largest[:, None] * np.linspace(1, 0.6, K)).reshape(-1),
        "y": zeros,
        "x": zeros,
        "top": zeros,
        "left": zeros,
        "bottom": side,
        "right": side,
        "crop": image,
    }


def visualizations(plan: Plan, place: Place, truth: Truth, png: bytes) -> Columns:
    """Six of each live unit of a real layer, all of them the same picture."""
    if not place.is_real:
        return empty("visualizations")
    rng, channels = generator(plan, place, "visualizations"), np.flatnonzero(~truth.is_dead)
    rows = per_item(place, channels, VISUALIZATIONS)
    largest = np.asarray(units(plan, place, truth)["max"])[channels]
    spread = np.array([np.nan, 0.2, 0.26, 0.29, 0.3, 0.305]) * (0.7 + 0.6 * rng.random((len(channels), 1)))
    stop = np.array(["elbow", "max_images"], dtype=object)[(rng.random(len(channels)) < 0.1).astype(int)]
    n = len(rows["item"])
    return {
        "layer": rows["layer"],
        "channel": rows["channel"],
        "index": rows["item"],
        "activation": (largest[:, None] * (0.8 + 0.6 * rng.random((len(channels), VISUALIZATIONS)))).reshape(-1),
        "mean_distance": spread.reshape(-1),
        "n_counted": np.full(n, VISUALIZATIONS, dtype=np.int32),
        "stop": np.repeat(stop, VISUALIZATIONS),
        "image": [png] * n,
    }


# ---- calibrate, score ----------------------------------------------------------------------------------------------


def nulls(plan: Plan, place: Place, *, null: str = "layer") -> Columns:
    """Gap, cut and clarity of each null set."""
    rng = generator(plan, place, f"{null} null")
    clarity = rng.uniform(0.3, 0.9, NULLS)
    gap = BASE_GAP + GAP_SD * rng.normal(size=NULLS)
    values = np.stack([gap, rng.uniform(0.1, 0.5, NULLS), clarity], axis=1)
    n = values.size
    return {
        "layer": words(place.parent if null == "layer" else "", n),
        "null": words(null, n),
        "evidence": words("exemplars", n),
        "space": words(space_name(place.space), n),
        "set": np.repeat(np.arange(NULLS, dtype=np.int32), 3),
        "channel": np.repeat(np.arange(NULLS, dtype=np.int32), 3),  # to be cut into shards by; no column of the table
        "reach": np.ones(n, dtype=np.int32),
        "score": np.tile(np.array(["gap", "cut", "clarity"], dtype=object), NULLS),
        "value": values.reshape(-1),
    }


def is_main(place: Place, evidence: str, space: str) -> bool:
    """Whether rows are of the evidence that a layer is judged by."""
    return evidence == "exemplars" and space == space_name(place.space)


Row = tuple[str, bool, np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""Score, whether it is compared with the null, value, null mean, null sd and p by unit."""


def main_rows(plan: Plan, place: Place, truth: Truth) -> list[Row]:
    """The main evidence's scores of scored units, those of the planted truth first."""
    scored = truth.is_scored
    n, rng = int(scored.sum()), generator(plan, place, "scores")
    is_several, k, rise = truth.is_several[scored], truth.n_clusters[scored], truth.rise[scored]
    z = rng.normal(size=n) + SEVERAL_Z * is_several
    plain, calibrated = partial(row, n=n), partial(row, n=n, compared=True)
    clarity = rng.uniform(0.35, 0.85, n)
    gap = BASE_GAP + rise + GAP_SD * z
    psi_d, psi_q = rng.uniform(0.6, 1, n), rng.uniform(0.5, 1, n)
    psi = np.clip(0.3 + rise + 0.05 * z, 0.01, None) * (psi_d * psi_q)
    bic = rng.integers(1, 9, n)
    return [
        calibrated("gap", gap, BASE_GAP, GAP_SD, norm.sf(z)),
        calibrated("cut", rng.uniform(0.1, 0.5, n), 0.3, 0.1, rng.random(n)),
        calibrated("silhouette", rng.uniform(0.2, 0.7, n), 0.45, 0.1, rng.random(n)),
        plain("silhouette_k", k),
        calibrated("alignment", rng.uniform(-0.1, 1, n), 0.4, 0.2, rng.random(n)),
        calibrated("distinctness", rng.uniform(-0.2, 1.5, n), 0.6, 0.4, rng.random(n)),
        plain("distinctness_words", np.nan),
        plain("dip_p", np.where(is_several & (rng.random(n) < 0.5), 0.01, rng.uniform(0.06, 1, n))),
        calibrated("clarity", clarity, clarity, 0.0, np.ones(n)),
        calibrated("semanticity", rng.uniform(0.2, 0.6, n), 0.4, 0.1, rng.random(n)),
        plain("semanticity_c", (bic - 1) / 31),
        plain("semanticity_d", rng.uniform(0.05, 0.3, n)),
        plain("semanticity_k", bic),
        plain("semanticity_i", float(K)),
        calibrated("polysemanticity", rng.uniform(0, 0.8, n), 0.4, 0.2, rng.random(n)),
        calibrated("monosemanticity", rng.uniform(0.3, 1, n), 0.7, 0.1, rng.random(n)),
        calibrated("separation", z, 0.0, 1.0, norm.sf(z)),
        calibrated("psi", psi, 0.04, 0.07, norm.sf(z)),
        plain("psi_s", psi / (psi_d * psi_q)),
        plain("psi_q", psi_q),
        plain("psi_d", psi_d),
    ]


def row(score: str, value: object, mean: object = np.nan, sd: object = np.nan, p: object = np.nan, *, n: int,
        compared: bool = False) -> Row:  # fmt: skip
    """One score of n units; a single number stands for all."""
    value, mean, sd, p = (np.broadcast_to(np.asarray(given, dtype=np.float64), n) for given in (value, mean, sd, p))
    return score, compared, value, mean, sd, p


def side_rows(plan: Plan, place: Place, truth: Truth, evidence: str) -> list[Row]:
    """Scores of crops in the embedder's space, or of visualizations: without a null."""
    n, rng = int(truth.is_scored.sum()), generator(plan, place, evidence)
    items = K if evidence == "exemplars" else VISUALIZATIONS
    names = ["gap", "silhouette", "clarity", "semanticity", "semanticity_c", "semanticity_d", "polysemanticity"]
    names += ["cut", "alignment", "distinctness", "dip_p", "monosemanticity"] if evidence == "exemplars" else []
    rows = [row(name, rng.uniform(0.05, 0.95, n), n=n) for name in names]
    rows += [row("silhouette_k", 2.0, n=n), row("semanticity_i", float(items), n=n)]
    return [*rows, row("semanticity_k", rng.integers(1, 5, n), n=n)]


def long_rows(place: Place, channels: np.ndarray, rows: Sequence[Row], evidence: str, space: str, null: str) -> Columns:
    """Rows of `scores`, unit by unit."""
    n, many = len(channels), len(rows)
    stacked = [np.stack([one[at] for one in rows], axis=1).reshape(-1) for at in (2, 3, 4, 5)]
    is_exact = np.tile(np.array([one[0] == "separation" for one in rows]), n)
    return {
        **named(place, np.repeat(channels, many).astype(np.int32)),
        "evidence": words(evidence, n * many),
        "space": words(space, n * many),
        "null": np.tile(np.array([null if one[1] else "" for one in rows], dtype=object), n),
        "is_main": np.full(n * many, null == "layer" and is_main(place, evidence, space)),
        "score": np.tile(np.array([one[0] for one in rows], dtype=object), n),
        **dict(zip(("value", "null_mean", "null_sd", "p"), stacked, strict=True)),
        "p_exact": np.where(is_exact, np.ceil(stacked[3] * (N_EXACT + 1)) / (N_EXACT + 1), np.nan),
        "is_extrapolated": np.zeros(n * many, dtype=bool),
        "n_exact": np.where(is_exact, N_EXACT, 0).astype(np.int32),
    }


N_EXACT = 640
"""Null sets that the exact p are counted among."""


def scores(plan: Plan, place: Place, truth: Truth) -> Columns:
    """All scores of a layer: virtual units have those of the main evidence alone."""
    channels = np.flatnonzero(truth.is_scored)
    main = main_rows(plan, place, truth)
    parts = [long_rows(place, channels, main, "exemplars", space_name(place.space), "layer")]
    if place.is_real:
        if place.space == "image":
            beside = [one for one in main if one[1]]
            parts.append(long_rows(place, channels, beside, "exemplars", EMBEDDER, "embedding"))
        else:
            crops = side_rows(plan, place, truth, "exemplars")
            parts.append(long_rows(place, channels, crops, "exemplars", EMBEDDER, ""))
        seen = side_rows(plan, place, truth, "visualizations")
        parts.append(long_rows(place, channels, seen, "visualizations", EMBEDDER, ""))
    return by_channel(parts)


def by_channel(parts: Sequence[Columns]) -> Columns:
    """Tables one after another, then sorted by channel; rows of a unit keep their order."""
    whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    order = np.argsort(whole["channel"], kind="stable")
    return {name: values[order] for name, values in whole.items()}


def matches(plan: Plan, place: Place, truth: Truth) -> Columns:
    """How well the null speaks for each scored unit: well, but for one in a hundred."""
    channels, rng = np.flatnonzero(truth.is_scored), generator(plan, place, "matches")
    n = len(channels)
    drawn = rng.random(n)
    return {
        **named(place, channels.astype(np.int32)),
        "evidence": words("exemplars", n),
        "space": words(space_name(place.space), n),
        "null": words("layer", n),
        "n_sets": np.full(n, NULLS, dtype=np.int32),
        "match_radius": rng.uniform(0, 0.02, n),
        "off_range": drawn < 0.01,
        "incoherent": drawn > 0.99,
    }


def artefacts(plan: Plan, place: Place, truth: Truth) -> Columns:
    """No scored unit has one."""
    channels = np.flatnonzero(truth.is_scored)
    n = len(channels)
    return {
        **named(place, channels.astype(np.int32)),
        "evidence": words("exemplars", n),
        **{name: words("", n) for name in ("artefact", "mark")},
        **{name: np.full(n, np.nan) for name in ("share", "elsewhere")},
    }


def centres(plan: Plan, place: Place, truth: Truth) -> Columns:
    """Directions that lie nearer to each other in deeper layers."""
    if not place.is_real:
        return empty("centres")
    channels, rng = np.flatnonzero(~truth.is_dead), generator(plan, place, "centres")
    vectors = rng.normal(size=(len(channels), AXES)) + depth_of(plan, place.place) * rng.normal(size=AXES)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    space = words(space_name(place.space), len(channels))
    return {**named(place, channels.astype(np.int32)), "space": space, "embedding": vectors.astype(np.float32)}


def clusters(plan: Plan, place: Place, truth: Truth) -> Columns:
    """Clusters of exemplars where they are compared, with a plane; in the embedder's space; of visualizations."""
    if not place.is_real:
        return empty("clusters")
    channels, rng = np.flatnonzero(~truth.is_dead), generator(plan, place, "clusters")
    best = labels(truth)[channels]
    turn = 2 * np.pi * best / truth.n_clusters[channels, None]
    far = np.where(truth.is_several[channels, None], 0.6, 0.1)
    noise = rng.normal(scale=0.12, size=(2, *best.shape))
    planes = [(far * np.cos(turn) + noise[0]).reshape(-1), (far * np.sin(turn) + noise[1]).reshape(-1)]
    parts = [cluster_rows(place, channels, best, "exemplars", space_name(place.space), planes)]
    if place.space != "image":
        parts.append(cluster_rows(place, channels, best, "exemplars", EMBEDDER))
    few = (rng.random((len(channels), VISUALIZATIONS)) < 0.3).astype(np.int32)
    parts.append(cluster_rows(place, channels, few, "visualizations", EMBEDDER))
    return by_channel(parts)


def cluster_rows(
    place: Place, channels: np.ndarray, best: np.ndarray, evidence: str, space: str, plane: Sequence[np.ndarray] = ()
) -> Columns:
    """Rows of `clusters`; BIC's are the best ones, the largest cut in two."""
    rows = per_item(place, channels, best.shape[1])
    n = best.size
    nowhere = np.full(n, np.nan)
    x, y = plane or (nowhere, nowhere)
    bic = np.where((best == 0) & (np.arange(best.shape[1]) % 3 == 2), best.max() + 1 if n else 0, best)
    cluster = {"cluster": best.reshape(-1), "cluster_bic": bic.reshape(-1).astype(np.int32)}
    about = {"evidence": words(evidence, n), "space": words(space, n)}
    return rows | about | {"is_main": np.full(n, is_main(place, evidence, space)), **cluster, "x": x, "y": y}


# ---- name ----------------------------------------------------------------------------------------------------------


def names(plan: Plan, place: Place, truth: Truth) -> Columns:
    """Three names of all exemplars and of each best cluster of a live unit."""
    channels = np.flatnonzero(~truth.is_dead)
    group = np.arange(ONE, 4)
    kept = group[None, :] < truth.n_clusters[channels, None]  # [u, 5]: all exemplars, then the clusters there are
    unit, place_of = np.nonzero(kept)
    cluster = group[place_of]
    classes = truth.classes[channels[unit], np.maximum(cluster, 0)]  # [r, 3]
    n = classes.size
    fits = generator(plan, place, "names").uniform(0.3, 1, len(unit))
    return {
        **named(place, np.repeat(channels[unit], RANKS).astype(np.int32)),
        "evidence": words("exemplars", n),
        "space": words(space_name(place.space), n),
        "cluster": np.repeat(cluster, RANKS).astype(np.int32),
        "n": np.full(n, K // 2, dtype=np.int32),
        "rank": np.tile(np.arange(RANKS, dtype=np.int32), len(unit)),
        "name": np.array(CLASSES, dtype=object)[classes.reshape(-1)],
        "kind": words("label", n),
        "similarity": (fits[:, None] * np.array([1.0, 0.5, 0.2])).reshape(-1),
        "margin": (fits[:, None] * np.array([0.5, 0.3, np.nan])).reshape(-1),
        "p": np.full(n, 0.001),
        **{name: np.full(n, np.nan) for name in ("contrast", "contrast_p", "wpmi")},
        "wpmi_rank": np.full(n, -1, dtype=np.int32),
    }
