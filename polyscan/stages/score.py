"""score: every score of the registry on every live unit's evidence, and which cluster each piece of it belongs to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import numpy as np
import pandas as pd
from jaxtyping import Int32, Int64

from polyscan.job import Job
from polyscan.run import Run
from polyscan.run.keys import visualization_keys
from polyscan.scores.sample import LEAST_ITEMS, Evidence, Sample, prepare
from polyscan.scores.score import ScoreOfParts
from polyscan.scores.semanticity import Semanticity
from polyscan.shards import Shard, seed, split_within
from polyscan.tables import Columns


def shards(job: Job, run: Run) -> list[Shard]:
    """Ranges of units, each within one layer."""
    return split_within("score", [layer.n_units for layer in run.layers()], job.score.units_per_shard)


@dataclass(frozen=True)
class Subject:
    """One unit's evidence of one kind, with what its rows are called by."""

    channel: int
    evidence: Evidence
    items: Int32[np.ndarray, " n"]
    sample: Sample


class Worker:
    """Reads evidence and embeddings through the run."""

    def __init__(self, job: Job, run: Run) -> None:
        self.job = job
        self.run = run
        self.order = run.unit_order()
        self.scores = job.score_functions()
        self.space = job.embed.model

    def __call__(self, shard: Shard) -> dict[str, Columns]:
        """Scores and clusters of one range of units."""
        layer = self.order[shard.start].layer
        first = shard.start - self.order.start(layer)
        channels = range(first, first + len(shard))
        subjects = [*self._exemplars(layer, channels), *self._visualizations(layer, channels)]
        semanticity = cast("Semanticity", self.scores["semanticity"])
        prepare([subject.sample for subject in subjects], k_rule=semanticity.k_rule)
        subjects.sort(key=lambda subject: (subject.channel, subject.evidence))
        return {
            "scores": self._score_rows(layer, subjects),
            "clusters": self._cluster_rows(layer, subjects, semanticity),
        }

    def _exemplars(self, layer: str, channels: range) -> Iterator[Subject]:
        rows = self.run.read("exemplars", ["channel", "rank", "activation", "crop"], where=("layer", layer))
        rows = rows[
            rows["channel"].isin(channels) & (rows["rank"] < (self.job.embed.n_exemplars or self.job.collect.k))
        ]
        return self._subjects(layer, "exemplars", rows.rename(columns={"rank": "item", "crop": "key"}))

    def _visualizations(self, layer: str, channels: range) -> Iterator[Subject]:
        rows = self.run.read("visualizations", ["channel", "index", "activation"], where=("layer", layer))
        rows = rows[rows["channel"].isin(channels)].rename(columns={"index": "item"})
        rows["key"] = visualization_keys([layer] * len(rows), rows["channel"], rows["item"])
        return self._subjects(layer, "visualizations", rows)

    def _subjects(self, layer: str, evidence: Evidence, rows: pd.DataFrame) -> Iterator[Subject]:
        units = self.run.read("units", ["channel", "min", "max", "is_dead"], where=("layer", layer)).set_index(
            "channel"
        )
        rows = rows[~rows["channel"].map(units["is_dead"])]
        if rows.empty:
            return
        vectors = self.run.vectors(rows["key"].to_numpy(np.int64))
        for channel, places in rows.groupby("channel", sort=True).indices.items():
            mine = rows.iloc[places]
            number = int(cast("int", channel))
            sample = Sample(
                embeddings=vectors[places],
                activations=mine["activation"].to_numpy(np.float32),
                activation_min=float(units.loc[number, "min"]),  # pyright: ignore[reportArgumentType]
                activation_max=float(units.loc[number, "max"]),  # pyright: ignore[reportArgumentType]
                evidence=evidence,
                max_clusters=self.job.score.max_clusters,
                restarts=self.job.score.restarts,
                seed=seed(self.job.seed, f"clusters of {evidence}", layer, number),
            )
            yield Subject(number, evidence, mine["item"].to_numpy(np.int32), sample)

    def _score_rows(self, layer: str, subjects: list[Subject]) -> Columns:
        rows = [
            (subject.channel, subject.evidence, name, value)
            for subject in subjects
            for name, value in self._values(subject)
        ]
        n = len(rows)
        return {
            "layer": [layer] * n,
            "channel": [row[0] for row in rows],
            "evidence": [row[1] for row in rows],
            "space": [self.space] * n,
            "score": [row[2] for row in rows],
            "value": np.array([row[3] for row in rows], dtype=np.float64),
            # Filled by `calibrate`; a score without its null has no p.
            **{name: np.full(n, np.nan) for name in ("null_mean", "null_sd", "p")},
        }

    def _values(self, subject: Subject) -> Iterator[tuple[str, float]]:
        """Each score that is defined on this evidence, and its parts."""
        for name, score in self.scores.items():
            if subject.evidence not in score.evidence:
                continue
            yield name, score(subject.sample)
            if isinstance(score, ScoreOfParts):
                yield from ((f"{name}_{part}", value) for part, value in score.parts(subject.sample).items())

    def _cluster_rows(self, layer: str, subjects: list[Subject], semanticity: Semanticity) -> Columns:
        labels = [clusters_of(subject.sample, semanticity) for subject in subjects]
        lengths = [len(each) for each in labels]
        n = sum(lengths)
        return {
            "layer": [layer] * n,
            "channel": np.repeat(np.array([s.channel for s in subjects], dtype=np.int32), lengths),
            "evidence": np.repeat(np.array([s.evidence for s in subjects], dtype=object), lengths),
            "space": [self.space] * n,
            "item": np.concatenate([s.items for s in subjects]) if subjects else np.empty(0, dtype=np.int32),
            "cluster": np.concatenate(labels) if subjects else np.empty(0, dtype=np.int64),
        }


def clusters_of(sample: Sample, semanticity: Semanticity) -> Int64[np.ndarray, " n"]:
    """The cluster of each item at the K that semanticity counts; all in cluster 0 where there is no pair."""
    if len(sample) < LEAST_ITEMS:
        return np.zeros(len(sample), dtype=np.int64)
    return sample.clustering(sample.best_k(semanticity.k_rule)).labels
