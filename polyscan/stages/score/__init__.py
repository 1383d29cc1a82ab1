"""score: every score of the registry on every live unit's evidence, beside its null, and the cluster of each item."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

import numpy as np
import pandas as pd
from jaxtyping import Int64

from polyscan.job import Job
from polyscan.run import Run
from polyscan.run.evidence import FEATURES, EvidenceReader, Subject
from polyscan.scores.sample import LEAST_ITEMS, Sample, prepare
from polyscan.scores.score import values_of
from polyscan.scores.semanticity import Semanticity
from polyscan.shards import Shard, split_ranges
from polyscan.stages.score.against import NUMBERS, NullTable, against, matches
from polyscan.stages.score.centres import centre_rows
from polyscan.stats.plane import plane
from polyscan.tables import Columns

KEY = ("layer", "channel", "evidence", "space", "null")
MATCH = ("n_sets", "match_radius", "off_range", "incoherent")


def shards(job: Job, run: Run) -> list[Shard]:
    """Ranges of units, each within one layer; null read-outs are `calibrate`'s."""
    order = run.unit_order()
    ranges = [
        (order.start(layer.name), order.start(layer.name) + layer.n_units)
        for layer in order.layers
        if layer.role != "null"
    ]
    return split_ranges("score", ranges, job.score.units_per_shard)


class Worker:
    """Reads evidence and nulls through the run."""

    def __init__(self, job: Job, run: Run) -> None:
        self.job = job
        self.run = run
        self.order = run.unit_order()
        self.evidence = EvidenceReader(job, run)
        self.scores = job.score_functions()

    def __call__(self, shard: Shard) -> dict[str, Columns]:
        """Scores, matches and clusters of one range of units."""
        layer = self.order[shard.start].layer
        first = shard.start - self.order.start(layer)
        channels = range(first, first + len(shard))
        semanticity = cast("Semanticity", self.scores["semanticity"])
        groups = [group for group in self._subjects(layer, channels) if group]
        scores: list[pd.DataFrame] = []
        matched: list[pd.DataFrame] = []
        for subjects in groups:
            prepare([subject.sample for subject in subjects], k_rule=semanticity.k_rule)
            values = values_by_channel(self.scores, subjects)
            about = {"layer": layer, "evidence": subjects[0].evidence, "space": subjects[0].space}
            nulls = list(self._nulls(subjects[0]))
            scores.append(against(values, nulls, self.scores, match=self.job.calibrate.match).assign(**about))
            random_clarity = self.evidence.random_clarity(layer, subjects[0].space)
            matched += [matches(values, null, random_clarity=random_clarity).assign(**about) for null in nulls]
        compared = self._compared(layer, groups)
        return {
            "scores": _columns(scores, [*KEY, "score", *NUMBERS, "is_extrapolated"]),
            "matches": _columns(matched, [*KEY, *MATCH]),
            "clusters": _cluster_rows(layer, [s for group in groups for s in group], semanticity, seen=compared),
            "centres": centre_rows(compared),
        }

    def _subjects(self, layer: str, channels: range) -> Iterator[list[Subject]]:
        """All subjects of one kind and space at a time."""
        main = self.evidence.main_space(layer)
        yield list(self.evidence.exemplars(layer, channels, main))
        if main in FEATURES and "@" not in layer and self.job.embed.crops:
            yield list(self.evidence.exemplars(layer, channels, self.job.embed.model))
        yield list(self.evidence.visualizations(layer, channels))

    def _compared(self, layer: str, groups: Sequence[Sequence[Subject]]) -> list[Subject]:
        """Real units' exemplars in the space where they are compared."""
        if "@" in layer:
            return []
        main = self.evidence.main_space(layer)
        return [s for group in groups for s in group if s.evidence == "exemplars" and s.space == main]

    def _nulls(self, subject: Subject) -> Iterator[NullTable]:
        """The nulls that speak for this kind of evidence of this layer in this space."""
        is_crops = subject.evidence == "exemplars" and subject.space != self.evidence.main_space(subject.layer)
        if not is_crops:  # what holds for whole images says nothing of them
            yield from nulls_of(self.job, self.run, subject.layer, subject.evidence, subject.space)


def values_by_channel(scores: Any, subjects: Sequence[Subject]) -> pd.DataFrame:
    """One row a unit, one column a score or part."""
    rows = [dict(values_of(scores, subject.sample)) for subject in subjects]
    return pd.DataFrame(rows, index=pd.Index([subject.channel for subject in subjects], name="channel"))


def nulls_of(job: Job, run: Run, layer: str, evidence: str, space: str) -> Iterator[NullTable]:
    """A layer's null and those drawn from the pool, in the job's order, of this evidence in this space."""
    wanted = ["null", "evidence", "space", "set", "score", "value"]
    rows = run.read("nulls", wanted, where=("layer", [layer.partition("@")[0], ""]))
    rows = rows[(rows["evidence"] == evidence) & (rows["space"] == space)]
    for name in job.calibrate.nulls:
        mine = rows[rows["null"] == name]
        table = NullTable(name, mine.pivot(index="set", columns="score", values="value"))
        if table.has("clarity"):  # of too few sets there is no null, rather than a bad one
            yield table


def _columns(frames: Sequence[pd.DataFrame], names: Sequence[str]) -> Columns:
    """Columns of a table, unit by unit."""
    if not frames:
        return {name: [] for name in names}
    rows = pd.concat(frames, ignore_index=True).sort_values(["channel", "evidence"], kind="stable")
    return {name: rows[name].to_numpy() for name in names}


def _cluster_rows(
    layer: str, subjects: Sequence[Subject], semanticity: Semanticity, *, seen: Sequence[Subject]
) -> Columns:
    """Each item's clusters and, of `seen` subjects, its place in the plane."""
    subjects = sorted(subjects, key=lambda subject: (subject.channel, subject.evidence))
    lengths = [len(subject.items) for subject in subjects]

    def repeated(values: list[Any], dtype: Any) -> np.ndarray:
        return np.repeat(np.array(values, dtype=dtype), lengths)

    nothing = np.empty(0, dtype=np.int64)
    planes = [plane(s.sample.cosines) if s in seen else np.full((len(s.items), 2), np.nan) for s in subjects]
    places = np.concatenate([np.empty((0, 2)), *planes]).astype(np.float32)
    return {
        "layer": [layer] * sum(lengths),
        "channel": repeated([s.channel for s in subjects], np.int32),
        "evidence": repeated([s.evidence for s in subjects], object),
        "space": repeated([s.space for s in subjects], object),
        "item": np.concatenate([nothing, *(s.items for s in subjects)]),
        "cluster": np.concatenate([nothing, *(_best_clusters(s.sample) for s in subjects)]),
        "cluster_bic": np.concatenate([nothing, *(clusters_of(s.sample, semanticity) for s in subjects)]),
        "x": places[:, 0],
        "y": places[:, 1],
    }


def _best_clusters(sample: Sample) -> Int64[np.ndarray, " n"]:
    return sample.best_split.labels[0] if len(sample) >= LEAST_ITEMS else np.zeros(len(sample), dtype=np.int64)


def clusters_of(sample: Sample, semanticity: Semanticity) -> Int64[np.ndarray, " n"]:
    """The cluster of each item at the K that semanticity counts; all in cluster 0 where there is no pair."""
    if len(sample) < LEAST_ITEMS:
        return np.zeros(len(sample), dtype=np.int64)
    return sample.clustering(sample.best_k(semanticity.k_rule)).labels
