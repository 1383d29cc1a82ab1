"""score: every score of the registry on every live unit's evidence, beside its null, and the cluster of each item."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pandas as pd
from jaxtyping import Float64, Int64

from polyscan.job import Job
from polyscan.run import Run
from polyscan.run.evidence import FEATURES, EvidenceReader, Subject
from polyscan.scores import psi, separation
from polyscan.scores.sample import LEAST_ITEMS, Sample, prepare
from polyscan.scores.score import values_of
from polyscan.scores.semanticity import Semanticity
from polyscan.shards import Shard, split_ranges
from polyscan.stats import calibration
from polyscan.stats.calibration import LEAST_SETS, Calibration
from polyscan.tables import Columns

NO_NULL = ""
Numbers = Float64[np.ndarray, " u"]


def shards(job: Job, run: Run) -> list[Shard]:
    """Ranges of units, each within one layer; null read-outs are `calibrate`'s."""
    order = run.unit_order()
    ranges = [
        (order.start(layer.name), order.start(layer.name) + layer.n_units)
        for layer in order.layers
        if layer.role != "null"
    ]
    return split_ranges("score", ranges, job.score.units_per_shard)


@dataclass(frozen=True, eq=False)
class NullTable:
    """One null of one layer, evidence and space: a value for each set and score, and each set's clarity."""

    name: str
    values: pd.DataFrame

    @property
    def clarity(self) -> Numbers:
        """Of each set."""
        return self.values["clarity"].to_numpy(np.float64)

    def has(self, score: str) -> bool:
        """Whether enough of its sets have a value."""
        return score in self.values and int(self.values[score].notna().sum()) >= LEAST_SETS


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
        matches: list[pd.DataFrame] = []
        for subjects in groups:
            prepare([subject.sample for subject in subjects], k_rule=semanticity.k_rule)
            values = self._values(subjects)
            nulls = list(self._nulls(layer, subjects[0]))
            about = {"layer": layer, "evidence": subjects[0].evidence, "space": subjects[0].space}
            scores.append(self._calibrated(values, nulls).assign(**about))
            matches += [self._matched(values, null, subjects[0]).assign(**about, null=null.name) for null in nulls]
        return {
            "scores": _columns(scores, ["layer", "channel", "evidence", "space", "null", "score", *NUMBERS]),
            "matches": _columns(matches, ["layer", "channel", "evidence", "space", "null", *MATCH]),
            "clusters": _cluster_rows(layer, [s for group in groups for s in group], semanticity),
        }

    def _subjects(self, layer: str, channels: range) -> Iterator[list[Subject]]:
        """All subjects of one kind and space at a time."""
        main = self.evidence.main_space(layer)
        yield list(self.evidence.exemplars(layer, channels, main))
        if main in FEATURES and "@" not in layer and self.job.embed.crops:
            yield list(self.evidence.exemplars(layer, channels, self.job.embed.model))
        yield list(self.evidence.visualizations(layer, channels))

    def _values(self, subjects: Sequence[Subject]) -> pd.DataFrame:
        """One row a unit, one column a score or part."""
        rows = [dict(values_of(self.scores, subject.sample)) for subject in subjects]
        return pd.DataFrame(rows, index=pd.Index([subject.channel for subject in subjects], name="channel"))

    # ---- nulls -----------------------------------------------------------------------------------------------------

    def _nulls(self, layer: str, example: Subject) -> Iterator[NullTable]:
        """The nulls that speak for this evidence in this space."""
        rows = self.run.read(
            "nulls",
            ["null", "evidence", "space", "set", "score", "value"],
            where=("layer", [layer.partition("@")[0], ""]),
        )
        rows = rows[(rows["evidence"] == example.evidence) & (rows["space"] == example.space)]
        # What is drawn from whole images says nothing of crops.
        whole = example.space == self.evidence.main_space(layer)
        for name in self.job.calibrate.nulls:
            mine = rows[rows["null"] == name]
            if len(mine) and whole:
                yield NullTable(name, mine.pivot(index="set", columns="score", values="value"))

    def _calibrated(self, values: pd.DataFrame, nulls: Sequence[NullTable]) -> pd.DataFrame:
        """Rows of `scores`: each score once per null, a score without a null once."""
        made: list[pd.DataFrame] = []
        for name in values:
            its = [null for null in nulls if name in self.scores and null.has(str(name))]
            if not its:
                made.append(_score_rows(str(name), NO_NULL, values.index, values[name].to_numpy(np.float64)))
            made += [self._against(str(name), values, null) for null in its]
        for null in nulls:
            made += [self._separation(values, null), *self._psi(values, null)]
        return pd.concat(made, ignore_index=True)

    def _against(self, name: str, values: pd.DataFrame, null: NullTable) -> pd.DataFrame:
        value, clarity = values[name].to_numpy(np.float64), values["clarity"].to_numpy(np.float64)
        tail = self.scores[name].tail
        known = null.values[name].to_numpy(np.float64)
        fit = Calibration.fit(known, null.clarity, tail=tail)
        if self.job.calibrate.match == "nearest":
            p = calibration.matched(value, clarity, known, null.clarity, tail=tail)
        else:
            p = fit.p(value, clarity)
        has_value = ~np.isnan(value)
        mean, sd = np.where(has_value, fit.mean(clarity), np.nan), np.where(has_value, fit.sd(clarity), np.nan)
        return _score_rows(name, null.name, values.index, value, null_mean=mean, null_sd=sd, p=p)

    def _separation(self, values: pd.DataFrame, null: NullTable) -> pd.DataFrame:
        """The statistic of the test, its null from the same null sets."""
        clarity = values["clarity"].to_numpy(np.float64)
        residuals: list[tuple[Numbers, Numbers]] = []
        for name in separation.PARTS:
            if not null.has(name):
                residuals.append((np.full(len(values), np.nan), np.full(len(null.values), np.nan)))
                continue
            known = null.values[name].to_numpy(np.float64)
            fit = Calibration.fit(known, null.clarity, tail="none")
            own = fit.standardised(values[name].to_numpy(np.float64), clarity)
            residuals.append((own, fit.standardised(known, null.clarity)))
        (own_silhouette, null_silhouette), (own_cut, null_cut) = residuals
        value = separation.separation(own_silhouette, own_cut)
        fit = Calibration.fit(separation.separation(null_silhouette, null_cut), null.clarity, tail="upper")
        mean, sd, p = fit.mean(clarity), fit.sd(clarity), fit.p(value, clarity)
        return _score_rows("separation", null.name, values.index, value, null_mean=mean, null_sd=sd, p=p)

    def _psi(self, values: pd.DataFrame, null: NullTable) -> Iterator[pd.DataFrame]:
        """PSI and its parts, by labels and by words; p is among null sets near in clarity, all parts at once."""
        for suffix, last in (("", "distinctness"), ("_words", "distinctness_words")):
            parts = [*psi.PARTS[:2], last]
            if any(values[part].isna().all() or not null.has(part) for part in parts):
                continue
            fit = Calibration.fit(null.values["silhouette"].to_numpy(np.float64), null.clarity, tail="upper")

            def index(
                frame: pd.DataFrame, clarity: Numbers, fit: Calibration = fit, parts: list[str] = parts
            ) -> psi.Psi:
                s, q, d = (frame[part].to_numpy(np.float64) for part in parts)
                return psi.psi(s, fit.mean(clarity), q, d)

            clarity = values["clarity"].to_numpy(np.float64)
            own, nulls = index(values, clarity), index(null.values, null.clarity)
            p = calibration.matched(own.psi, clarity, nulls.psi, null.clarity, tail="upper")
            joint = Calibration.fit(nulls.psi, null.clarity, tail="upper")
            mean, sd = joint.mean(clarity), joint.sd(clarity)
            yield _score_rows(f"psi{suffix}", null.name, values.index, own.psi, null_mean=mean, null_sd=sd, p=p)
            for part in ("s", "q", "d"):
                yield _score_rows(f"psi{suffix}_{part}", null.name, values.index, getattr(own, part))

    def _matched(self, values: pd.DataFrame, null: NullTable, example: Subject) -> pd.DataFrame:
        """Rows of `matches`."""
        clarity = values["clarity"].to_numpy(np.float64)
        return pd.DataFrame(
            {
                "channel": values.index,
                "n_sets": len(null.values),
                "match_radius": calibration.match_radius(clarity, null.clarity),
                "off_range": calibration.off_range(clarity, null.clarity),
                "incoherent": clarity <= self.evidence.random_clarity(example.layer, example.space),
            }
        )


NUMBERS = ("value", "null_mean", "null_sd", "p")
MATCH = ("n_sets", "match_radius", "off_range", "incoherent")


def _score_rows(score: str, null: str, channel: pd.Index, value: Numbers, **under_null: Numbers) -> pd.DataFrame:
    """Rows of one score; `null_mean`, `null_sd` and `p` are NaN where they are not given."""
    nothing = dict.fromkeys(NUMBERS[1:], np.nan)
    return pd.DataFrame({"channel": channel, "null": null, "score": score, "value": value, **nothing, **under_null})


def _columns(frames: Sequence[pd.DataFrame], names: Sequence[str]) -> Columns:
    """Columns of a table, unit by unit."""
    if not frames:
        return {name: [] for name in names}
    rows = pd.concat(frames, ignore_index=True).sort_values(["channel", "evidence"], kind="stable")
    return {name: rows[name].to_numpy() for name in names}


def _cluster_rows(layer: str, subjects: Sequence[Subject], semanticity: Semanticity) -> Columns:
    subjects = sorted(subjects, key=lambda subject: (subject.channel, subject.evidence))
    lengths = [len(subject.items) for subject in subjects]

    def repeated(values: list[Any], dtype: Any) -> np.ndarray:
        return np.repeat(np.array(values, dtype=dtype), lengths)

    nothing = np.empty(0, dtype=np.int64)
    return {
        "layer": [layer] * sum(lengths),
        "channel": repeated([s.channel for s in subjects], np.int32),
        "evidence": repeated([s.evidence for s in subjects], object),
        "space": repeated([s.space for s in subjects], object),
        "item": np.concatenate([nothing, *(s.items for s in subjects)]),
        "cluster": np.concatenate([nothing, *(_best_clusters(s.sample) for s in subjects)]),
        "cluster_bic": np.concatenate([nothing, *(clusters_of(s.sample, semanticity) for s in subjects)]),
    }


def _best_clusters(sample: Sample) -> Int64[np.ndarray, " n"]:
    return sample.best_split.labels[0] if len(sample) >= LEAST_ITEMS else np.zeros(len(sample), dtype=np.int64)


def clusters_of(sample: Sample, semanticity: Semanticity) -> Int64[np.ndarray, " n"]:
    """The cluster of each item at the K that semanticity counts; all in cluster 0 where there is no pair."""
    if len(sample) < LEAST_ITEMS:
        return np.zeros(len(sample), dtype=np.int64)
    return sample.clustering(sample.best_k(semanticity.k_rule)).labels
