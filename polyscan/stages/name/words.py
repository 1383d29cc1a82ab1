"""Names by words or label prototypes, in the space of a model that sees the crops."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Float32, Float64

from polyscan.inputs import CollectedImages, check_worker, names_of, open_images, open_namer, open_network
from polyscan.job import Job
from polyscan.run import Run
from polyscan.run.memo import Memo
from polyscan.scores import naming
from polyscan.shards import seed
from polyscan.stages.name.crops import CropVectors, Vectors
from polyscan.stages.name.knowledge import Knowledge
from polyscan.stages.name.members import NamedGroup, each_evidence, groups_of, shares_of, strongest
from polyscan.stages.name.rows import ALL, NAMES, NameRow, VectorRow
from polyscan.tables import Columns
from polyscan.vision.embedders import Embedder

FEWEST = 2
TEXT = "text"
"""The kind of words that have a text side: other words than the vocabulary's can be looked for."""
NOTHING = np.zeros(0)


@dataclass(frozen=True, eq=False)
class Words:
    """What clusters may be named by.

    Args:
        names: the words.
        kind: `text`; `prototype` for classes that are means of their images.
        vectors: of length 1, seen from their mean.
        centre: their mean.
    """

    names: list[str]
    kind: str
    vectors: Float32[np.ndarray, "w d"]
    centre: Float64[np.ndarray, " d"]

    @classmethod
    def seen(cls, names: list[str], kind: str, vectors: Float[np.ndarray, "w d"], centre: np.ndarray) -> Words:
        """Words seen from a centre."""
        return cls(names, kind, naming.unit_rows(vectors, centre), centre)


@dataclass(frozen=True)
class NamedClusters:
    """What a model says of some units' clusters.

    Args:
        names: the best words of each cluster, and of all exemplars.
        vectors: the mean of each cluster's items.
    """

    names: list[NameRow] = field(default_factory=list)
    vectors: list[VectorRow] = field(default_factory=list)


def open_word_names(job: Job, run: Run) -> WordNames | None:
    """Names by the job's model; None if the model has no words and labels are counted.

    Raises:
        PolyscanError: if network, images or model are not those of the run, or can't be used.
    """
    network = open_network(job)
    namer = open_namer(job, network)
    if namer is None:
        return None
    images = open_images(job)
    check_worker(job, run, network, images)
    return WordNames(job, run, namer, CropVectors(job, run, CollectedImages(images, run), network.preprocessing, namer))


class RandomCrops:
    """A layer's random crops: where names of chance are counted.

    Args:
        vectors: of length 1, seen from their mean.
        words: what they are named by.
        count: number of random sets.
        number: seed of the sets.
    """

    def __init__(self, vectors: Vectors, words: Words, count: int, number: int) -> None:
        self.centre = vectors.mean(axis=0, dtype=np.float64)
        self.vectors = naming.unit_rows(vectors, self.centre)
        self.words = words
        self.count = count
        self.number = number
        self.best = Memo(self._best)
        self.log_mean = Memo(self._log_mean)

    def _sets(self, n: int) -> np.ndarray:
        generator = np.random.default_rng((self.number, n))
        return naming.random_sets(len(self.vectors), min(n, len(self.vectors)), self.count, generator)

    def _best(self, n: int) -> Float32[np.ndarray, " b"]:
        """Similarity of the best word of each random set of n crops."""
        means = naming.mean_direction(self.vectors[self._sets(n)])
        return naming.best_similarity(means, self.words.vectors)

    def _log_mean(self, n: int) -> Float64[np.ndarray, " w"]:
        """For each word, log of the mean chance of random sets of n crops."""
        return naming.log_mean_chances(self._chances, self._sets(n))

    @cached_property
    def _chances(self) -> Float32[np.ndarray, "p w"]:
        return naming.word_chances(self.vectors @ self.words.vectors.T)


class WordNames:
    """Names clusters by what their crops are most like."""

    def __init__(self, job: Job, run: Run, namer: Embedder, crops: CropVectors) -> None:
        self.job = job
        self.run = run
        self.namer = namer
        self.crops = crops
        self._random: Memo[str, RandomCrops] = Memo(self._random_crops, 1)

    def __call__(self, layer: str, members: pd.DataFrame) -> NamedClusters:
        """The best words of each cluster of these units, and its mean; none if there are fewer than two words."""
        named = NamedClusters()
        if self.words is None or members.empty:
            return named
        rows, shares = strongest(members, self.job.name.items), shares_of(members)
        random = self._random(layer)
        items = naming.unit_rows(self.crops(rows), random.centre)
        clusters = rows["cluster"].to_numpy(np.int64)
        for channel, evidence, part in each_evidence(rows):
            likeness = items[part] @ self.words.vectors.T
            for group in groups_of(clusters[part], evidence, self.job.name.items):
                number = seed(self.job.seed, f"contrast of names of {evidence}", layer, channel, group.cluster)
                ranked = _Ranked.of(group, items[part], likeness, random, number)
                key = (channel, evidence, group.cluster, ranked.n)
                named.names.extend(ranked.rows(key))
                if group.cluster != ALL:
                    named.vectors.append(VectorRow(*key, shares[channel, evidence, group.cluster], ranked.mean))
        return named

    def knowledge(self) -> Columns:
        """What the model knows of the names of the images' classes."""
        about = Knowledge(self.run, self.namer, self.crops).columns(0 if self.words is None else len(self.words.names))
        word_centre = self.words.centre if self.words is not None and self.words.kind == TEXT else NOTHING
        return {**about, "image_centre": [self.crops.image_centre()], "word_centre": [word_centre]}

    @cached_property
    def words(self) -> Words | None:
        """The words; None if there are fewer than two."""
        if self.namer.words is None:
            return self._prototypes()
        labels = self.run.read("images", ["label_name"])["label_name"]
        names = names_of(self.job, self.namer, tuple(sorted({str(name) for name in labels if name})))
        if len(names) < FEWEST:
            return None
        vectors = self.namer.words(names)
        return Words.seen(names, TEXT, vectors, vectors.mean(axis=0, dtype=np.float64))

    def _prototypes(self) -> Words | None:
        """Classes as the means of their whole images in a seeded sample as large as the survey's."""
        images = self.run.read("images", ["image", "label", "label_name"]).dropna(subset="label")
        rows = self.crops.sampled(self.job.survey.images, "images of prototypes").merge(images, on="image")
        if rows["label"].nunique() < FEWEST:
            return None
        vectors = self.crops(rows)
        by_label = rows.groupby("label", sort=True).indices
        means = np.stack([vectors[places].mean(axis=0, dtype=np.float64) for places in by_label.values()])
        first = rows.groupby("label", sort=True)[["label", "label_name"]].first()
        names = [str(name or int(label)) for label, name in first.itertuples(index=False)]
        return Words.seen(names, "prototype", means, vectors.mean(axis=0, dtype=np.float64))

    def _random_crops(self, layer: str) -> RandomCrops:
        assert self.words is not None, "without words there are no names of random crops"
        number = seed(self.job.seed, "random sets of names", layer)
        return RandomCrops(self.crops.random(layer), self.words, self.job.name.null_sets, number)


@dataclass(frozen=True, eq=False)
class _Ranked:
    """The words of one cluster, with all that is said of them."""

    random: RandomCrops
    n: int
    mean: Float32[np.ndarray, " d"]
    similarity: Float32[np.ndarray, " w"]
    contrasts: Float64[np.ndarray, " w"]
    draws: Float32[np.ndarray, " b"]
    wpmi: Float64[np.ndarray, " w"]

    @classmethod
    def of(
        cls, group: NamedGroup, items: Vectors, likeness: Float32[np.ndarray, "n w"], random: RandomCrops, number: int
    ) -> _Ranked:
        n, words, mean = int(group.members.sum()), random.words, naming.mean_direction(items[group.members])
        contrasted = _contrasted(group)
        draw = partial(naming.random_differences, likeness, int(contrasted.sum()), random.count)
        return cls(
            random,
            n,
            mean,
            (mean[None] @ words.vectors.T)[0],
            naming.differences(likeness, contrasted),
            draw(np.random.default_rng(number)),
            naming.log_chances(likeness[group.members]) - random.log_mean(n),
        )

    def rows(self, key: tuple[int, str, int, int]) -> Iterator[NameRow]:
        """The best words by cosine, and the best by soft-WPMI if it is another."""
        words = self.random.words
        order = np.argsort(-self.similarity, kind="stable")
        best = order[: NAMES + 1].tolist()
        ranks = dict(enumerate(best[:NAMES]))
        first = int(np.argmax(self.wpmi))
        if first not in ranks.values():
            ranks[int(np.flatnonzero(order == first)[0])] = first
        for rank, word in ranks.items():
            after = float(self.similarity[order[rank + 1]]) if rank + 1 < len(order) else float("nan")
            similarity, contrast = float(self.similarity[word]), float(self.contrasts[word])
            yield NameRow(
                *key,
                rank,
                words.names[word],
                words.kind,
                similarity,
                similarity - after,
                naming.name_p(similarity, self.random.best(self.n)),
                contrast,
                naming.name_p(contrast, self.draws),
                float(self.wpmi[word]),
                int(np.count_nonzero(self.wpmi > self.wpmi[word])),
            )


def _contrasted(group: NamedGroup) -> Bool[np.ndarray, " n"]:
    """The cluster's items; all exemplars together have no others, and so no contrast."""
    return group.members if group.cluster != ALL else np.ones(len(group.members), dtype=bool)
