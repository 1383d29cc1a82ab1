"""scikit-learn's and FAISS' side of the clustering races, in a process of their own.

Both are called set by set and K by K, which is all that they offer. scikit-learn runs each start until it converges;
FAISS runs each for its own 25 iterations from random points, both as they do by default.
"""

from __future__ import annotations

from typing import Any

import faiss  # noqa: TID251  # it is the peer here, not a part of polyscan
import numpy as np
from sklearn.cluster import KMeans

from benchmarks.peers.orders import carry_out
from benchmarks.race import seconds


def with_sklearn(x: np.ndarray, k: int, starts: int, seed: int) -> np.ndarray:
    """Labels [n]."""
    return KMeans(k, n_init=starts, random_state=seed).fit_predict(x)


def with_faiss(x: np.ndarray, k: int, starts: int, seed: int) -> np.ndarray:
    """Labels [n]."""
    runs = faiss.Kmeans(
        x.shape[1], k, nredo=starts, seed=seed + 1, min_points_per_centroid=1, max_points_per_centroid=len(x)
    )
    runs.train(x)
    return runs.assign(x)[1]


CALLS = {"sklearn": with_sklearn, "faiss": with_faiss}


def answer(order: dict[str, Any]) -> dict[str, Any]:
    """Carries out one order and leaves labels [s, K, n] in its file."""
    faiss.omp_set_num_threads(1)
    sets, call = np.load(order["sets"])[: order["count"]], CALLS[order["call"]]
    labels = np.empty((len(sets), len(order["clusters"]), sets.shape[1]), dtype=np.int64)

    def work() -> None:
        for number, x in enumerate(sets):
            for place, k in enumerate(order["clusters"]):
                labels[number, place] = call(x, k, order["starts"], number)

    took = seconds(work)
    np.save(order["labels"], labels)
    return {"seconds": took}


if __name__ == "__main__":
    carry_out(answer)
