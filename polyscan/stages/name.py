"""name: gives words for what a unit's exemplars, and the exemplars of each cluster, have in common.

Law: a label is a name only if more of these images have it than that many images drawn at random would.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Int64
from scipy.special import bdtrc

from polyscan.evidence import EvidenceReader, Subject
from polyscan.job import Job
from polyscan.run import Run
from polyscan.scores.concepts import Concepts
from polyscan.scores.distinctness import word_likeness
from polyscan.scores.sample import Sample
from polyscan.shards import Shard, split_ranges
from polyscan.tables import Columns

NAMES = 3
LEVEL = 0.05
ALL = -1
COLUMNS = ("layer", "channel", "evidence", "space", "cluster", "rank", "name", "kind", "similarity")

NameRow = tuple[Any, ...]


def shards(job: Job, run: Run) -> list[Shard]:
    """Ranges of judged units, each within one layer."""
    ranges = run.unit_order().ranges(lambda layer: layer.is_judged)
    return split_ranges("name", ranges, job.score.units_per_shard)


class Worker:
    """Reads clusters and concepts through the run."""

    def __init__(self, job: Job, run: Run) -> None:
        self.run = run
        self.order = run.unit_order()
        self.evidence = EvidenceReader(job, run)

    def __call__(self, shard: Shard) -> dict[str, Columns]:
        """Names of the exemplars of one range of units, in the layer's own space."""
        layer, channels = self.order.within_layer(shard.start, shard.stop)
        rows: list[NameRow] = []
        if self.evidence.prototypes is not None or self.evidence.vocabulary is not None:
            clusters = self._clusters(layer.name)
            shares = label_shares(self.run)
            for subject in self.evidence.exemplars(layer.name, channels, self.evidence.main_space(layer.name)):
                rows += _rows(subject, clusters[subject.channel], shares)
        columns = list(zip(*rows, strict=True)) or [()] * len(COLUMNS)
        return {"names": dict(zip(COLUMNS, columns, strict=True))}

    def _clusters(self, layer: str) -> dict[int, Int64[np.ndarray, " n"]]:
        """Each unit's clusters, item by item."""
        rows = self.run.read("clusters", ["channel", "is_main", "item", "cluster"], where={"layer": layer})
        rows = rows[rows["is_main"]].sort_values("item", kind="stable")
        return {int(channel): labels.to_numpy(np.int64) for channel, labels in rows.groupby("channel")["cluster"]}  # pyright: ignore


def label_shares(run: Run) -> dict[int, float]:
    """Each label's share of all images that have one."""
    labels = run.read("images", ["label"])["label"].dropna().to_numpy(np.int64)
    known, counts = np.unique(labels, return_counts=True)
    return dict(zip(known.tolist(), (counts / max(1, len(labels))).tolist(), strict=True))


def is_above_chance(count: int, n: int, share: float, n_labels: int) -> bool:
    """Whether a label occurs more often among n images than chance gives, if `share` of all images have it.

    Binomial test at .05, corrected over all labels (Bonferroni), since any of them could have become the name.

    >>> is_above_chance(32, 32, 0.1, 10), is_above_chance(1, 32, 0.001, 1000), is_above_chance(3, 32, 0.001, 1000)
    (True, False, True)
    """
    return bool(bdtrc(count - 1, n, share) * n_labels <= LEVEL)


def _rows(subject: Subject, clusters: Int64[np.ndarray, " n"], shares: Mapping[int, float]) -> Iterator[NameRow]:
    """Names of all exemplars, then of each cluster."""
    key = (subject.layer, subject.channel, subject.evidence, subject.space)
    groups = [(ALL, np.ones(len(clusters), dtype=bool))]
    groups += [(cluster, clusters == cluster) for cluster in range(int(clusters.max()) + 1)]
    for cluster, members in groups:
        for rank, (name, kind, similarity) in enumerate(_names(subject.sample, members, shares)):
            yield (*key, cluster, rank, name, kind, similarity)


def _names(
    sample: Sample, members: Bool[np.ndarray, " n"], shares: Mapping[int, float]
) -> list[tuple[str, str, float]]:
    """Up to three names: words if there is a vocabulary in the evidence's space, else labels above chance."""
    if sample.vocabulary is not None:
        return _words(sample, sample.vocabulary, members)
    if sample.labels is None or sample.prototypes is None:
        return []
    names = dict(zip(sample.prototypes.labels.tolist(), sample.prototypes.names, strict=True))
    labels, counts = np.unique(sample.labels[members], return_counts=True)
    order = np.argsort(-counts, kind="stable")
    n = int(members.sum())
    above_chance = [
        (names[label], "label", count / n)
        for label, count in ((int(labels[i]), int(counts[i])) for i in order)
        if label in names and is_above_chance(count, n, shares.get(label, 0.0), len(names))
    ]
    return above_chance[:NAMES]


def _words(sample: Sample, vocabulary: Concepts, members: Bool[np.ndarray, " n"]) -> list[tuple[str, str, float]]:
    likeness = word_likeness(sample, vocabulary)[members].mean(axis=0)
    best = np.argsort(-likeness, kind="stable")[:NAMES]
    return [(vocabulary.names[i], "text", float(likeness[i])) for i in best]
