"""The variants of a run: its job with a few other settings each, or the reason why a variant is skipped."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from polyscan.job import Job

FEWEST_EXEMPLARS = 20
RESTARTS = 3
MATCHES = ("regression", "nearest")
LONGEST = 60


@dataclass(frozen=True)
class Variant:
    """A run that differs from another in a few settings.

    Args:
        name: its folder in `variants/`.
        question: what it changes, in words.
        changes: dotted keys of the job and their values; None removes a setting.
    """

    name: str
    question: str
    changes: Mapping[str, Any]

    @property
    def changes_embedder(self) -> bool:
        """Whether its evidence is compared in the space of another embedder."""
        return "embed.model" in self.changes


@dataclass(frozen=True)
class Skipped:
    """A variant that does not apply to a run, and why."""

    name: str
    reason: str


def variants_of(
    job: Job, *, embedders: Sequence[str] = (), rescan: bool = False, has_p: bool = True
) -> Iterator[Variant | Skipped]:
    """The variants that a finished run is compared with, cheapest first.

    Args:
        job: the job of the run.
        embedders: further embedders, a variant each.
        rescan: whether to repeat the whole scan with another seed.
        has_p: whether units of the run have a p.
    """
    yield _fewer_exemplars(job)
    yield _fewer_restarts(job)
    yield Variant("seed", "other k-means starts and pooled null sets", {"score.seed": job.score.seed + 1})
    yield _other_match(job) if has_p else Skipped("match", "no unit of the run has a p, so no null sets are matched")
    for model in dict.fromkeys(embedders):
        yield _other_embedder(job, model)
    if rescan:
        yield Variant("rescan", "the whole scan with another seed", {"seed": job.seed + 1})


def _fewer_exemplars(job: Job) -> Variant | Skipped:
    n = job.n_scored
    half = n // 2
    if half < FEWEST_EXEMPLARS:
        return Skipped(
            "n-half", f"half of {n} exemplars is {half}; with fewer than {FEWEST_EXEMPLARS} too little is found"
        )
    return Variant("n-half", f"{half} exemplars per unit instead of {n}", {"score.n_exemplars": half})


def _fewer_restarts(job: Job) -> Variant | Skipped:
    restarts = job.score.restarts
    if restarts == RESTARTS:
        return Skipped("restarts", f"the run itself has {RESTARTS} k-means starts")
    return Variant("restarts", f"{RESTARTS} k-means starts instead of {restarts}", {"score.restarts": RESTARTS})


def _other_match(job: Job) -> Variant:
    present = job.calibrate.match
    other = next(match for match in MATCHES if match != present)
    return Variant("match", f"null sets matched by `{other}` instead of `{present}`", {"calibrate.match": other})


def _other_embedder(job: Job, model: str) -> Variant | Skipped:
    name = f"embedder-{_folder_name(model)}"
    if model == job.embed.model:
        return Skipped(name, f"{model} is the embedder of the run itself")
    # The input size belongs to the model: another model takes its default.
    changes: dict[str, Any] = {"embed.model": model, "embed.input_px": None}
    if job.embed.vocabulary and not model.startswith("open_clip:"):
        changes["embed.vocabulary"] = ""  # a model without a text tower takes no words
    return Variant(name, f"evidence embedded by {model}", changes)


def _folder_name(model: str) -> str:
    """A model and its weights as a folder name; a path to weights is replaced by its digest."""
    network, _, weights = model.partition("/")
    if "/" in weights or len(weights) > LONGEST:
        weights = hashlib.sha256(weights.encode()).hexdigest()[:8]
    return re.sub(r"[^A-Za-z0-9._]+", "-", f"{network}/{weights}").strip("-")
