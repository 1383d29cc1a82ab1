"""k-means of many small sets, against scikit-learn and FAISS on one thread each: time a set, for K = 2 to 8.

The task is 2,048 sets of 100 vectors in 512 dimensions, ten starts a K. Each costs the same, so fewer are timed: as
many as `TIMED` says, the first ones on every side. polyscan clusters 64 at a time from their vectors, as the score
stage does, the making of the Gram matrices among the time; the others are called set by set. Sets are drawn from one to
four planted clusters in noise whose directions differ in strength as those of embeddings do.

Sums of squares are taken from the labels by one formula for all sides, in float64, on the sets that all have timed.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.peers.rival import CLUSTERING, Rival
from benchmarks.race import RUNS, Outcome, Target, ratios, seconds
from polyscan.stats.clustering import gram, kmeans

N, D, CLUSTERS, STARTS = 100, 512, (2, 3, 4, 5, 6, 7, 8), 10
TIMED = {"polyscan": 512, "sklearn": 64, "faiss": 64}
SETS_AT_ONCE = 64
MOST_PLANTED, CENTRE_LENGTH = 4, 1.5
ALIKE = 1.01
"""Sums of squares up to so many times the others' count as no worse."""
SKLEARN, FAISS = "cluster_vs_sklearn", "cluster_vs_faiss"
TARGETS = {
    SKLEARN: Target(20.0, "scikit-learn's time a set / polyscan's"),
    FAISS: Target(2.0, "FAISS' time a set / polyscan's"),
}


def outcomes() -> dict[str, Outcome]:
    """The lines of both races."""
    sets = planted_sets(max(TIMED.values()))
    times: dict[str, list[float]] = {side: [] for side in TIMED}
    labels: dict[str, np.ndarray] = {}
    with Rival(CLUSTERING) as rival:
        np.save(rival.folder / "sets.npy", sets)
        files = {name: str(rival.folder / f"{name}.npy") for name in ("sets", "labels")}
        order = files | {"clusters": CLUSTERS, "starts": STARTS}
        clustered(sets[:SETS_AT_ONCE])  # first calls load what they need
        for call in ("sklearn", "faiss"):
            rival.ask(order | {"call": call, "count": 1})
        for _ in range(RUNS):
            kept: list[np.ndarray] = []
            took = seconds(lambda kept=kept: kept.append(clustered(sets[: TIMED["polyscan"]])))
            times["polyscan"].append(took / TIMED["polyscan"])
            labels["polyscan"] = kept[0]
            for call in ("sklearn", "faiss"):
                took = rival.ask(order | {"call": call, "count": TIMED[call]})["seconds"]
                times[call].append(took / TIMED[call])
                labels[call] = np.load(files["labels"])
    notes = {"seconds_per_set": times, **compared(sets, labels)}
    return {
        name: Outcome(TARGETS[name], ratios(times[call], times["polyscan"]), notes)
        for name, call in ((SKLEARN, "sklearn"), (FAISS, "faiss"))
    }


def planted_sets(count: int) -> np.ndarray:
    """Seeded sets [s, n, d] in float32: planted centres, and noise of variance 1 / j along the j-th axis."""
    generator = np.random.default_rng(0)
    scale = np.arange(1, D + 1) ** -0.5
    sets = np.empty((count, N, D), dtype=np.float32)
    for number in range(count):
        centres = CENTRE_LENGTH * scale * generator.normal(size=(1 + number % MOST_PLANTED, D))
        sets[number] = centres[generator.integers(len(centres), size=N)] + scale * generator.normal(size=(N, D))
    return sets


def clustered(sets: np.ndarray) -> np.ndarray:
    """polyscan's side: labels [s, K, n]."""
    parts: list[np.ndarray] = []
    for start in range(0, len(sets), SETS_AT_ONCE):
        batch = sets[start : start + SETS_AT_ONCE]
        grams = gram(batch)
        found = [kmeans(grams, k, uniforms=_uniforms(range(start, start + len(batch)), k)).labels for k in CLUSTERS]
        parts.append(np.stack(found, axis=1))
    return np.concatenate(parts)


def compared(sets: np.ndarray, labels: dict[str, np.ndarray]) -> dict[str, Any]:
    """Shares of (set, K) whose sum of squares is within 1 % of scikit-learn's, and how the sums compare on average."""
    count = min(TIMED.values())
    sums = {side: np.array([_sums(x, its) for x, its in zip(sets[:count], found, strict=False)])
            for side, found in labels.items()}  # fmt: skip
    return {
        "compared_with_sklearn": {
            side: {
                "within_1_percent": float((sums[side] <= ALIKE * sums["sklearn"]).mean()),
                "lower": float((sums[side] < sums["sklearn"] / ALIKE).mean()),
                "mean_ratio": float((sums[side] / sums["sklearn"]).mean()),
            }
            for side in ("polyscan", "faiss")
        }
    }


def _uniforms(numbers: range, k: int) -> np.ndarray:
    """Draws for each set from its own seed, as the score stage makes them."""
    return np.stack([np.random.default_rng((number, k)).random((STARTS, k)) for number in numbers])


def _sums(x: np.ndarray, labels: np.ndarray) -> list[float]:
    """Sum of squared distances to the cluster means of each of a set's partitions."""
    x = x.astype(np.float64)
    return [sum(float(((x[its == c] - x[its == c].mean(axis=0)) ** 2).sum()) for c in np.unique(its)) for its in labels]
