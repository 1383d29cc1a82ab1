"""Names by labels, counted among a cluster's images: no model is run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int64
from scipy.special import bdtrc

from polyscan.job import Job
from polyscan.run import Run
from polyscan.scores.naming import differences, name_p, random_differences
from polyscan.shards import seed
from polyscan.stages.name.members import NamedGroup, each_evidence, groups_of
from polyscan.stages.name.rows import ALL, NAMES, NameRow

LEVEL = 0.05
UNLABELLED = -1


class LabelNames:
    """Counts labels."""

    def __init__(self, job: Job, run: Run) -> None:
        self.job = job
        images = run.read("images", ["image", "label", "label_name"])
        self.labels = images.set_index("image")["label"].fillna(UNLABELLED).astype(np.int64)
        self.shares = label_shares(self.labels.to_numpy())
        labelled = images.dropna(subset="label")
        pairs = zip(labelled["label"].astype(np.int64), labelled["label_name"], strict=True)
        self.names: dict[int, str] = {int(label): str(name or label) for label, name in pairs}

    def __call__(self, layer: str, members: pd.DataFrame) -> Iterator[NameRow]:
        """Labels that are above chance in each cluster; none if the images have fewer than two classes."""
        if len(self.names) < 2:
            return
        labels = self.labels.reindex(members["image"]).to_numpy(np.int64)
        clusters = members["cluster"].to_numpy(np.int64)
        for channel, evidence, rows in each_evidence(members):
            for group in groups_of(clusters[rows], evidence):
                number = seed(self.job.seed, f"contrast of labels of {evidence}", layer, channel, group.cluster)
                key = (channel, evidence, group.cluster, int(group.members.sum()))
                yield from self._names(key, labels[rows], group, number)

    def _names(
        self, key: tuple[int, str, int, int], labels: Int64[np.ndarray, " n"], group: NamedGroup, number: int
    ) -> Iterator[NameRow]:
        above, margins = self._above_chance(labels[group.members])
        if not above:
            return
        known, own = np.unique(labels, return_inverse=True)
        has = np.eye(len(known))[own]
        contrasts = differences(has, _contrasted(group))
        draws = random_differences(
            has, int(_contrasted(group).sum()), self.job.name.null_sets, np.random.default_rng(number)
        )
        for rank, (label, share, p) in enumerate(above):
            contrast = float(contrasts[np.searchsorted(known, label)])
            contrast_p = name_p(contrast, draws)
            yield NameRow(*key, rank, self.names[label], "label", share, margins[label], p, contrast, contrast_p)

    def _above_chance(
        self, labels: Int64[np.ndarray, " n"]
    ) -> tuple[list[tuple[int, float, float]], Mapping[int, float]]:
        """The commonest labels above chance with share and p; and by how much each label is commoner than the next."""
        known, counts = np.unique(labels, return_counts=True)
        order = np.argsort(-counts, kind="stable")
        ranked: list[int] = known[order].tolist()
        shares = counts[order] / len(labels)
        margins = dict(zip(ranked, (shares - np.append(shares[1:], 0)).tolist(), strict=True))
        tested = [
            (label, float(share), min(1.0, chance_of(int(count), len(labels), self.shares[label], len(self.names))))
            for label, share, count in zip(ranked, shares, counts[order], strict=True)
            if label in self.names
        ]
        return [row for row in tested if row[2] <= LEVEL][:NAMES], margins


def _contrasted(group: NamedGroup) -> Bool[np.ndarray, " n"]:
    """The cluster's items; all exemplars together have no others, and so no contrast."""
    return group.members if group.cluster != ALL else np.ones(len(group.members), dtype=bool)


def label_shares(labels: Int64[np.ndarray, " n"]) -> Mapping[int, float]:
    """Each label's share of all images that have one."""
    known, counts = np.unique(labels[labels != UNLABELLED], return_counts=True)
    return dict(zip(known.tolist(), (counts / max(1, counts.sum())).tolist(), strict=True))


def chance_of(count: int, n: int, share: float, n_labels: int) -> float:
    """P of a label that `count` of n images have, if `share` of all images have it.

    Binomial test, corrected over all labels (Bonferroni), since any of them could have become the name.

    >>> round(chance_of(3, 32, 0.001, 1000), 4), chance_of(1, 32, 0.001, 1000) > 0.05
    (0.0049, True)
    """
    return float(bdtrc(count - 1, n, share) * n_labels)
