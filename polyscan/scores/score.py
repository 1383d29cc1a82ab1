"""The interface of scores: numbers for one unit's evidence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar, Protocol, runtime_checkable

from polyscan.scores.sample import Evidence, Sample
from polyscan.stats.significance import Tail


@runtime_checkable
class Score(Protocol):
    """A score: a frozen dataclass whose fields are its settings, each with a type and a default.

    Its class attributes describe it. Its constructor raises ValueError for wrong settings, with the bound and the value
    got. Its docstring holds the formula, *Range*, *High means*, *Blind to* and *Source*.

    Args:
        label: short display name, as on an axis.
        tail: the side on which evidence of several concepts lies; "none" if there is no such side.
        evidence: kinds of evidence that the score is defined on.
        range: bounds of its values, whether they are reached or not.
    """

    label: ClassVar[str]
    tail: ClassVar[Tail]
    evidence: ClassVar[tuple[Evidence, ...]]
    range: ClassVar[tuple[float, float]]

    def __call__(self, sample: Sample) -> float:
        """The score of one unit; NaN if the sample has fewer than 2 items or is evidence of another kind."""
        ...


@runtime_checkable
class ScoreOfParts(Score, Protocol):
    """A score with parts that have a column each."""

    def parts(self, sample: Sample) -> dict[str, float]:
        """The parts by name; the same names for every sample, NaN where the score is NaN."""
        ...


def values_of(scores: Mapping[str, Score], sample: Sample) -> Iterator[tuple[str, float]]:
    """Each score that is defined on this evidence, followed by its parts as `<score>_<part>`."""
    for name, score in scores.items():
        if sample.evidence in score.evidence:
            yield name, score(sample)
            if isinstance(score, ScoreOfParts):
                yield from ((f"{name}_{part}", value) for part, value in score.parts(sample).items())
