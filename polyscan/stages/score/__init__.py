"""score: every score of the registry on every live unit's evidence, beside its null, and the cluster of each item."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

import numpy as np
import pandas as pd
from jaxtyping import Int64

from polyscan.evidence import FEATURES, EvidenceReader, Subject
from polyscan.job import Job
from polyscan.run import Run
from polyscan.scores.sample import LEAST_ITEMS, Sample, prepare
from polyscan.scores.score import values_of
from polyscan.scores.semanticity import Semanticity
from polyscan.shards import Shard, split_ranges
from polyscan.stages.score.against import NO_NULL, NUMBERS, NullTable, against, matches
from polyscan.stages.score.centres import centre_rows
from polyscan.stats.plane import plane
from polyscan.tables import Columns
from polyscan.units import Layer

KEY = ("layer", "parent", "role", "channel", "evidence", "space", "null")
MATCH = ("n_sets", "match_radius", "off_range", "incoherent")


def shards(job: Job, run: Run) -> list[Shard]:
    """Ranges of units, each within one layer; null readouts are `calibrate`'s."""
    ranges = run.unit_order().ranges(lambda layer: layer.role != "null")
    return split_ranges("score", ranges, job.score.units_per_shard)


class Worker:
    """Reads evidence and nulls through the run."""

    def __init__(self, job: Job, run: Run) -> None:
        self.job = job
        self.run = run
        self.order = run.unit_order()
        self.evidence = EvidenceReader(job, run)
        self.scores = job.score_functions()
        self.first_null = (NO_NULL, *job.calibrate.nulls[:1])

    def __call__(self, shard: Shard) -> dict[str, Columns]:
        """Scores, matches and clusters of one range of units."""
        layer, channels = self.order.within_layer(shard.start, shard.stop)
        semanticity = cast("Semanticity", self.scores["semanticity"])
        groups = [group for group in self._subjects(layer, channels) if group]
        scores: list[pd.DataFrame] = []
        matched: list[pd.DataFrame] = []
        for subjects in groups:
            prepare([subject.sample for subject in subjects], k_rule=semanticity.k_rule)
            values = values_by_channel(self.scores, subjects)
            about = {**_about(layer), "evidence": subjects[0].evidence, "space": subjects[0].space}
            nulls = list(self._nulls(layer, subjects[0]))
            rows = against(values, nulls, self.scores, match=self.job.calibrate.match).assign(**about)
            scores.append(rows.assign(is_main=self._is_main(subjects[0]) & rows["null"].isin(self.first_null)))
            random_clarity = self.evidence.random_clarity(layer.name, subjects[0].space)
            matched += [matches(values, null, random_clarity=random_clarity).assign(**about) for null in nulls]
        subjects = [subject for group in groups for subject in group]
        compared = [subject for subject in subjects if layer.is_real and self._is_main(subject)]
        is_main = [self._is_main(subject) for subject in subjects]
        return {
            "scores": _columns(scores, [*KEY, "is_main", "score", *NUMBERS, "is_extrapolated"]),
            "matches": _columns(matched, [*KEY, *MATCH]),
            "clusters": _cluster_rows(layer, subjects, semanticity, is_main=is_main, seen=compared),
            "centres": centre_rows(compared),
        }

    def _subjects(self, layer: Layer, channels: range) -> Iterator[list[Subject]]:
        """All subjects of one kind and space at a time."""
        main = self.evidence.main_space(layer.name)
        yield list(self.evidence.exemplars(layer.name, channels, main))
        if main in FEATURES and layer.is_real and self.job.embed.crops:
            yield list(self.evidence.exemplars(layer.name, channels, self.job.embed.model))
        yield list(self.evidence.visualizations(layer.name, channels))

    def _is_main(self, subject: Subject) -> bool:
        """Whether these are exemplars in the space where their layer is compared."""
        return subject.evidence == "exemplars" and subject.space == self.evidence.main_space(subject.layer)

    def _nulls(self, layer: Layer, subject: Subject) -> Iterator[NullTable]:
        """The nulls that speak for this kind of evidence of this layer in this space."""
        is_crops = subject.evidence == "exemplars" and not self._is_main(subject)
        if not is_crops:  # what holds for whole images says nothing of them
            yield from nulls_of(self.job, self.run, layer.parent, subject.evidence, subject.space)


def values_by_channel(scores: Any, subjects: Sequence[Subject]) -> pd.DataFrame:
    """One row a unit, one column a score or part."""
    rows = [dict(values_of(scores, subject.sample)) for subject in subjects]
    return pd.DataFrame(rows, index=pd.Index([subject.channel for subject in subjects], name="channel"))


def nulls_of(job: Job, run: Run, parent: str, evidence: str, space: str) -> Iterator[NullTable]:
    """A real layer's null and those drawn from the pool, in the job's order, of this evidence in this space."""
    wanted = ["null", "evidence", "space", "set", "score", "value"]
    rows = run.read("nulls", wanted, where={"layer": [parent, ""]})
    rows = rows[(rows["evidence"] == evidence) & (rows["space"] == space)]
    for name in job.calibrate.nulls:
        of_null = rows[rows["null"] == name]
        table = NullTable(name, of_null.pivot(index="set", columns="score", values="value"))
        if table.has("clarity"):  # of too few sets there is no null, rather than a bad one
            yield table


def _columns(frames: Sequence[pd.DataFrame], names: Sequence[str]) -> Columns:
    """Columns of a table, unit by unit."""
    if not frames:
        return {name: [] for name in names}
    rows = pd.concat(frames, ignore_index=True).sort_values(["channel", "evidence"], kind="stable")
    return {name: rows[name].to_numpy() for name in names}


def _about(layer: Layer) -> dict[str, str]:
    return {"layer": layer.name, "parent": layer.parent, "role": layer.role}


def _cluster_rows(
    layer: Layer,
    subjects: Sequence[Subject],
    semanticity: Semanticity,
    *,
    is_main: Sequence[bool],
    seen: Sequence[Subject],
) -> Columns:
    """Each item's clusters and, of `seen` subjects, its place in the plane."""
    order = sorted(range(len(subjects)), key=lambda at: (subjects[at].channel, subjects[at].evidence))
    subjects, is_main = [subjects[at] for at in order], [is_main[at] for at in order]
    lengths = [len(subject.items) for subject in subjects]

    def repeated(values: Sequence[Any], dtype: Any) -> np.ndarray:
        return np.repeat(np.array(values, dtype=dtype), lengths)

    nothing = np.empty(0, dtype=np.int64)
    planes = [plane(s.sample.cosines) if s in seen else np.full((len(s.items), 2), np.nan) for s in subjects]
    places = np.concatenate([np.empty((0, 2)), *planes]).astype(np.float32)
    return {
        **{name: [value] * sum(lengths) for name, value in _about(layer).items()},
        "channel": repeated([s.channel for s in subjects], np.int32),
        "evidence": repeated([s.evidence for s in subjects], object),
        "space": repeated([s.space for s in subjects], object),
        "is_main": repeated(is_main, np.bool_),
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
