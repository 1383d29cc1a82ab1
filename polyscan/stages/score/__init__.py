"""score: computes every score on the evidence of every live unit, compares it with nulls, and clusters the items."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

import numpy as np
import pandas as pd
from jaxtyping import Int32, Int64

from polyscan.evidence import FEATURES, EvidenceReader, Subject
from polyscan.job import Job
from polyscan.run import Run
from polyscan.scores.sample import LEAST_ITEMS, Sample, prepare
from polyscan.scores.score import values_of
from polyscan.scores.semanticity import Semanticity
from polyscan.shards import Shard, seed, split_ranges
from polyscan.stages.score.against import NO_NULL, NUMBERS, NullTable, against, matches
from polyscan.stages.score.artefacts import ArtefactFinder
from polyscan.stages.score.centres import centre_rows
from polyscan.stats.plane import plane
from polyscan.tables import Columns
from polyscan.units import Layer

KEY = ("layer", "parent", "role", "channel", "evidence", "space", "null")
MATCH = ("n_sets", "match_radius", "off_range", "incoherent")


def shards(job: Job, run: Run) -> list[Shard]:
    """Ranges of units, each within one layer; null readouts are scored by `calibrate`."""
    ranges = run.unit_order().ranges(lambda layer: layer.role != "null")
    return split_ranges("score", ranges, job.score.units_per_shard)


class Worker:
    """Reads evidence and nulls through the run."""

    def __init__(self, job: Job, run: Run) -> None:
        self.job = job
        self.run = run
        self.order = run.unit_order()
        self.evidence = EvidenceReader(job, run)
        self.artefacts = ArtefactFinder(job, run)
        self.scores = job.score_functions()
        self.semanticity = cast("Semanticity", self.scores["semanticity"])
        self.first_null = (NO_NULL, *job.calibrate.nulls[:1])

    def __call__(self, shard: Shard) -> dict[str, Columns]:
        """Scores, matches, clusters and artefacts of one range of units."""
        layer, channels = self.order.within_layer(shard.start, shard.stop)
        groups = [group for group in self._subjects(layer, channels) if group]
        scores: list[pd.DataFrame] = []
        matched: list[pd.DataFrame] = []
        for group in groups:
            rows, match_rows = self._compared(layer, group)
            scores.append(rows)
            matched += match_rows
        subjects = [subject for group in groups for subject in group]
        return {
            "scores": _columns(scores, [*KEY, "is_main", "score", *NUMBERS, "is_extrapolated", "n_exact"]),
            "matches": _columns(matched, [*KEY, *MATCH]),
            "clusters": self._cluster_rows(layer, subjects),
            "centres": centre_rows([subject for subject in subjects if layer.is_judged and self._is_main(subject)]),
            "artefacts": self.artefacts(
                layer, [of for of in subjects if self._is_main(of) or of.evidence == "deflated"]
            ),
        }

    def _compared(self, layer: Layer, subjects: Sequence[Subject]) -> tuple[pd.DataFrame, list[pd.DataFrame]]:
        """Scores of subjects of one kind in one space against each null, and how well each null matches them."""
        prepare([subject.sample for subject in subjects], k_rule=self.semanticity.k_rule)
        values = values_by_channel(self.scores, subjects)
        key = {**_layer_key(layer), "evidence": subjects[0].evidence, "space": subjects[0].space}
        nulls = list(self._nulls(layer, subjects[0]))
        rows = against(values, nulls, self.scores, match=self.job.calibrate.match).assign(**key)
        rows = rows.assign(is_main=self._is_main(subjects[0]) & rows["null"].isin(self.first_null))
        random_clarity = self.evidence.random_clarity(layer.name, subjects[0].space)
        return rows, [matches(values, null, random_clarity=random_clarity).assign(**key) for null in nulls]

    def _subjects(self, layer: Layer, channels: range) -> Iterator[list[Subject]]:
        """All subjects, grouped by kind of evidence and space."""
        main = self.evidence.main_space(layer.name)
        yield list(self.evidence.exemplars(layer.name, channels, main))
        yield list(self.evidence.deflated(layer.name, channels, main))
        if main in FEATURES and layer.is_judged and self.job.embed.crops:
            yield list(self.evidence.exemplars(layer.name, channels, self.job.embed.model))
        yield list(self.evidence.visualizations(layer.name, channels))

    def _is_main(self, subject: Subject) -> bool:
        """Whether these are exemplars in the space where their layer is compared."""
        return subject.evidence == "exemplars" and subject.space == self.evidence.main_space(subject.layer)

    def _nulls(self, layer: Layer, subject: Subject) -> Iterator[NullTable]:
        """The nulls that are valid for this kind of evidence of this layer in this space."""
        is_crops = subject.evidence == "exemplars" and not self._is_main(subject)
        if not is_crops:  # nulls of whole images are not valid for crops
            yield from nulls_of(self.job, self.run, layer.parent, subject.evidence, subject.space)

    def _cluster_rows(self, layer: Layer, subjects: Sequence[Subject]) -> Columns:
        """Each item's clusters and, for judged units' main evidence, its position in the plane."""
        subjects = sorted(subjects, key=lambda subject: (subject.channel, subject.evidence))
        is_main = [self._is_main(subject) for subject in subjects]
        planes = [
            plane(subject.sample.cosines) if layer.is_judged and main else np.full((len(subject.items), 2), np.nan)
            for subject, main in zip(subjects, is_main, strict=True)
        ]
        positions = np.concatenate([np.empty((0, 2)), *planes]).astype(np.float32)
        samples = [subject.sample for subject in subjects]
        return {
            **_item_keys(layer, subjects, is_main),
            "item": _joined(subject.items for subject in subjects),
            "cluster": _joined(_best_clusters(sample) for sample in samples),
            "cluster_bic": _joined(clusters_of(sample, self.semanticity) for sample in samples),
            "x": positions[:, 0],
            "y": positions[:, 1],
        }


def values_by_channel(scores: Any, subjects: Sequence[Subject]) -> pd.DataFrame:
    """One row per unit, one column per score or part of one."""
    rows = [dict(values_of(scores, subject.sample)) for subject in subjects]
    return pd.DataFrame(rows, index=pd.Index([subject.channel for subject in subjects], name="channel"))


def nulls_of(job: Job, run: Run, parent: str, evidence: str, space: str) -> Iterator[NullTable]:
    """A real layer's null and those drawn from the pool, for this evidence in this space, in the job's order."""
    names = ["null", "evidence", "space", "set", "score", "value"]
    rows = run.read("nulls", names, where={"layer": [parent, ""]})
    rows = rows[(rows["evidence"] == evidence) & (rows["space"] == space)]
    for name in job.calibrate.nulls:
        of_null = rows[rows["null"] == name]
        table = NullTable(
            name,
            of_null.pivot(index="set", columns="score", values="value"),
            seed(job.seed, f"exact p against {name}", parent),
        )
        if table.has("clarity"):  # too few sets: no null is better than a bad one
            yield table


def _columns(frames: Sequence[pd.DataFrame], names: Sequence[str]) -> Columns:
    """Columns of a table, unit by unit."""
    if not frames:
        return {name: [] for name in names}
    rows = pd.concat(frames, ignore_index=True).sort_values(["channel", "evidence"], kind="stable")
    return {name: rows[name].to_numpy() for name in names}


def _layer_key(layer: Layer) -> dict[str, str]:
    return {"layer": layer.name, "parent": layer.parent, "role": layer.role}


def _item_keys(layer: Layer, subjects: Sequence[Subject], is_main: Sequence[bool]) -> Columns:
    """What each item belongs to, one row per item."""
    lengths = [len(subject.items) for subject in subjects]

    def repeated(values: Sequence[Any], dtype: Any) -> np.ndarray:
        return np.repeat(np.array(values, dtype=dtype), lengths)

    return {
        **{name: [value] * sum(lengths) for name, value in _layer_key(layer).items()},
        "channel": repeated([subject.channel for subject in subjects], np.int32),
        "evidence": repeated([subject.evidence for subject in subjects], object),
        "space": repeated([subject.space for subject in subjects], object),
        "is_main": repeated(is_main, np.bool_),
    }


def _joined(arrays: Iterable[Int64[np.ndarray, " n"] | Int32[np.ndarray, " n"]]) -> Int64[np.ndarray, " m"]:
    return np.concatenate([np.empty(0, dtype=np.int64), *arrays])


def _best_clusters(sample: Sample) -> Int64[np.ndarray, " n"]:
    if len(sample) < LEAST_ITEMS:
        return np.zeros(len(sample), dtype=np.int64)
    split = sample.halves if sample.evidence == "deflated" else sample.best_split
    return split.labels[0]


def clusters_of(sample: Sample, semanticity: Semanticity) -> Int64[np.ndarray, " n"]:
    """The cluster of each item at the K that semanticity counts; all in cluster 0 if there are too few items."""
    if len(sample) < LEAST_ITEMS or sample.evidence == "deflated":  # BIC is published for exemplars
        return np.zeros(len(sample), dtype=np.int64)
    return sample.clustering(sample.best_k(semanticity.k_rule)).labels
