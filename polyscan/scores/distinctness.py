"""Distinctness (D of PSI): how different the things are that a unit's clusters stand for."""

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
"""More of them cost time and change nothing: each unit's cuts are drawn anew."""
LEAST_ROOM = 0.01
"""Where chance leaves less room below the reference, concepts can't be told apart: D is 0."""


@dataclass(frozen=True)
class Distinctness:
    """Distance of the clusters' concepts, adjusted for chance.

        D = (d - E0[d]) / (d_ref - E0[d])

    d is the mean pairwise 1 - cosine of the clusters' concept vectors, E0[d] its mean over random cuts of the same
    items into clusters of the same sizes, d_ref the median of 1 - cosine over random pairs of concepts. A cluster's
    vector is the mean of its items' label prototypes, or the word that fits the cluster best.

    Range: at most about 2; 0 is what chance gives, 1 what two random concepts give. 0 where d_ref - E0[d] <= .01.

    High means: the clusters stand for things that have little to do with each other.

    Blind to: what has no name in the concepts: two unnamed textures have D near 0.

    Source: ours, for the part D of PSI (Gupta & Kumar 2025, arXiv 2508.16950, who use CLIP; their tables were not
    available to us).

    Args:
        concepts: "labels" (prototypes of the images' classes) or "words" (an open vocabulary; needs a text tower).
        draws: random cuts behind E0[d].
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
        """D of one unit; NaN where there are no concepts of the kind."""
        if sample.evidence not in self.evidence or len(sample) < LEAST_ITEMS:
            return math.nan
        clusters = sample.best_split.labels[0]
        generator = np.random.default_rng((sample.seed, 3))
        cuts = np.stack([clusters, *(generator.permutation(clusters) for _ in range(self.draws))])
        if self.concepts == "labels":
            if sample.labels is None or sample.prototypes is None:
                return math.nan
            vectors = sample.prototypes.of_labels(sample.labels)
            found, reference = distances(vectors, cuts), sample.prototypes.reference
        else:
            if sample.vocabulary is None:
                return math.nan
            found, reference = _word_distances(sample, sample.vocabulary, cuts), sample.vocabulary.reference
        chance = float(found[1:].mean())
        room = reference - chance
        return (float(found[0]) - chance) / room if room > LEAST_ROOM else 0.0


@dataclass(frozen=True)
class WordDistinctness(Distinctness):
    """Distinctness with an open vocabulary: each cluster stands for the word that fits it best.

    As `distinctness`, with words in the embedder's joint space of images and text in place of label prototypes.

    Range: at most about 2; 0 is what chance gives, 1 what two random words give.

    High means: the clusters' best words have little to do with each other.

    Blind to: what no word of the vocabulary says. Needs an embedder with a text tower, and evidence compared there.

    Source: as `distinctness`.
    """

    label: ClassVar[str] = "word distinctness"
    concepts: Literal["labels", "words"] = "words"


def distances(vectors: Float64[np.ndarray, "n d"], cuts: Int64[np.ndarray, "m n"]) -> Float64[np.ndarray, " m"]:
    """Mean pairwise 1 - cosine of the clusters' mean vectors, for each cut into clusters 0, 1, ... of the items."""
    k = int(cuts.max()) + 1
    members = (cuts[:, None, :] == np.arange(k)[None, :, None]).astype(np.float64)  # [m, k, n]
    products = members @ (vectors @ vectors.T) @ members.transpose(0, 2, 1)
    return _mean_distance(products)


def _word_distances(sample: Sample, vocabulary: Concepts, cuts: Int64[np.ndarray, "m n"]) -> Float64[np.ndarray, " m"]:
    """The same for each cluster's best word: the one whose vector the cluster's mean is most like."""
    k = int(cuts.max()) + 1
    members = (cuts[:, None, :] == np.arange(k)[None, :, None]).astype(np.float64)
    likeness = members @ word_likeness(sample, vocabulary)
    words = vocabulary.vectors[np.argmax(likeness, axis=-1)]  # [m, k, d]
    return _mean_distance(words @ words.transpose(0, 2, 1))


def word_likeness(sample: Sample, vocabulary: Concepts) -> Float64[np.ndarray, "n w"]:
    """Cosine of each item, seen from the space's mean, with each word."""
    centre = 0 if sample.whitening is None else sample.whitening.mean
    items = sample.embeddings.astype(np.float64) - centre
    lengths = np.linalg.norm(items, axis=1, keepdims=True)
    return items / np.where(lengths > 0, lengths, 1) @ vocabulary.vectors.T


def _mean_distance(products: Float64[np.ndarray, "m k k"]) -> Float64[np.ndarray, " m"]:
    """Mean over pairs of 1 - cosine, from inner products; a zero vector has cosine 0 to all."""
    lengths = np.sqrt(np.clip(np.einsum("mkk->mk", products), 0, None))
    scale = np.where(lengths > 0, lengths, 1)
    cosines = products / (scale[:, :, None] * scale[:, None, :])
    first, second = np.triu_indices(products.shape[1], k=1)
    return (1 - cosines[:, first, second]).mean(axis=1)
