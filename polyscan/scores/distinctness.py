"""Distinctness (D of PSI): how different the concepts of a unit's clusters are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Float64, Int64

from polyscan.scores.concepts import Concepts
from polyscan.scores.sample import LEAST_ITEMS, Evidence, Sample
from polyscan.stats.significance import Tail

MOST_DRAWS = 10_000
"""More draws cost time and change almost nothing."""
LEAST_ROOM = 0.01
"""If chance leaves less room below the reference, concepts cannot be distinguished: D is 0."""


@dataclass(frozen=True)
class Distinctness:
    """Distance between the clusters' concepts, adjusted for chance.

        D = (d - E0[d]) / (d_ref - E0[d])

    d is the mean pairwise 1 - cosine of the clusters' concept vectors, E0[d] its mean over random splits of the same
    items into clusters of the same sizes, d_ref the median of 1 - cosine over random pairs of concepts. A cluster's
    vector is the mean of its items' label prototypes, or the word that fits the cluster best.

    Range: at most about 2; 0 is chance level, 1 the distance of two random concepts. 0 if d_ref - E0[d] <= .01.

    High means: the clusters' concepts have little to do with each other.

    Blind to: differences that no concept names: two unnamed textures have D near 0.

    Source: ours, for the part D of PSI (Gupta & Kumar 2025, arXiv 2508.16950, who use CLIP; their tables were not
    available to us).

    Args:
        concepts: "labels" (prototypes of the images' classes) or "words" (an open vocabulary; needs a text tower).
        draws: number of random splits for E0[d].
    """

    label: ClassVar[str] = "concept distinctness"
    tail: ClassVar[Tail] = "upper"
    evidence: ClassVar[tuple[Evidence, ...]] = ("exemplars",)
    range: ClassVar[tuple[float, float]] = (-math.inf, math.inf)

    concepts: Literal["labels", "words"] = "labels"
    draws: int = 20

    def __post_init__(self) -> None:
        """Refuses settings out of bounds."""
        if self.concepts not in ("labels", "words"):
            raise ValueError(f'`concepts` must be "labels" or "words", got "{self.concepts}"')
        if not 1 <= self.draws <= MOST_DRAWS:
            raise ValueError(f"`draws` must lie in 1..{MOST_DRAWS}, got {self.draws}")

    def __call__(self, sample: Sample) -> float:
        """D of one unit; NaN if there are no concepts of this kind."""
        concepts = self._concepts_of(sample)
        if sample.evidence not in self.evidence or len(sample) < LEAST_ITEMS or concepts is None:
            return math.nan
        clusters = sample.best_split.labels[0]
        generator = np.random.default_rng((sample.seed, 3))
        cuts = np.stack([clusters, *(generator.permutation(clusters) for _ in range(self.draws))])
        values = self._distances(sample, concepts, cuts)
        chance = float(values[1:].mean())
        room = concepts.reference - chance
        return (float(values[0]) - chance) / room if room > LEAST_ROOM else 0.0

    def _concepts_of(self, sample: Sample) -> Concepts | None:
        if self.concepts == "words":
            return sample.vocabulary
        return sample.prototypes if sample.labels is not None else None

    def _distances(
        self, sample: Sample, concepts: Concepts, cuts: Int64[np.ndarray, "m n"]
    ) -> Float64[np.ndarray, " m"]:
        """Mean distance between the clusters' concepts for each cut."""
        if self.concepts == "words":
            return _word_distances(sample, concepts, cuts)
        assert sample.labels is not None, "without labels there are no concepts"
        return distances(concepts.of_labels(sample.labels), cuts)


@dataclass(frozen=True)
class WordDistinctness(Distinctness):
    """Distinctness with an open vocabulary: each cluster's concept is the word that fits it best.

    As `distinctness`, with words in the embedder's joint space of images and text in place of label prototypes.

    Range: at most about 2; 0 is chance level, 1 the distance of two random words.

    High means: the clusters' best words have little to do with each other.

    Blind to: differences that no word of the vocabulary names. Needs an embedder with a text tower, and evidence
    that is compared in its space.

    Source: as `distinctness`.

    Args:
        concepts: as for `distinctness`.
        draws: number of random splits for E0[d].
    """

    label: ClassVar[str] = "word distinctness"
    concepts: Literal["labels", "words"] = "words"


def distances(vectors: Float64[np.ndarray, "n d"], cuts: Int64[np.ndarray, "m n"]) -> Float64[np.ndarray, " m"]:
    """Mean pairwise 1 - cosine of the clusters' mean vectors, for each cut into clusters 0, 1, ... of the items."""
    members = _members(cuts)
    products = members @ (vectors @ vectors.T) @ members.transpose(0, 2, 1)
    return _mean_distance(products)


def _word_distances(sample: Sample, vocabulary: Concepts, cuts: Int64[np.ndarray, "m n"]) -> Float64[np.ndarray, " m"]:
    """As `distances`, for each cluster's best word: the one whose vector is most like the cluster's mean."""
    likeness = _members(cuts) @ word_likeness(sample, vocabulary)
    words = vocabulary.vectors[np.argmax(likeness, axis=-1)]  # [m, k, d]
    return _mean_distance(words @ words.transpose(0, 2, 1))


def word_likeness(sample: Sample, vocabulary: Concepts) -> Float64[np.ndarray, "n w"]:
    """Cosine of each item, seen from the space's mean, with each word."""
    centre = 0 if sample.whitening is None else sample.whitening.mean
    items = sample.embeddings.astype(np.float64) - centre
    lengths = np.linalg.norm(items, axis=1, keepdims=True)
    return items / np.where(lengths > 0, lengths, 1) @ vocabulary.vectors.T


def _members(cuts: Int64[np.ndarray, "m n"]) -> Float64[np.ndarray, "m k n"]:
    """1 where an item is in a cluster of a cut."""
    k = int(cuts.max()) + 1
    return (cuts[:, None, :] == np.arange(k)[None, :, None]).astype(np.float64)


def _mean_distance(products: Float64[np.ndarray, "m k k"]) -> Float64[np.ndarray, " m"]:
    """Mean over pairs of 1 - cosine, from inner products; a zero vector has cosine 0 to all."""
    lengths = np.sqrt(np.clip(np.einsum("mkk->mk", products), 0, None))
    scale = np.where(lengths > 0, lengths, 1)
    cosines = products / (scale[:, :, None] * scale[:, None, :])
    first, second = np.triu_indices(products.shape[1], k=1)
    return (1 - cosines[:, first, second]).mean(axis=1)
