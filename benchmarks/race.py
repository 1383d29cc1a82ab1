"""What a benchmark gives: ratios of interleaved times, one a run, and why one was not measured."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

RUNS = 3


class Skipped(Exception):
    """A benchmark that can't be measured here; its text says why."""


@dataclass(frozen=True)
class Target:
    """Which ratio is aimed at.

    Args:
        ratio: the number.
        at_most: whether lower is better; else it is the least that is wanted.
        meaning: what is divided by what, in words.
    """

    ratio: float
    meaning: str
    at_most: bool = False

    def met(self, ratio: float) -> bool:
        return ratio <= self.ratio if self.at_most else ratio >= self.ratio


@dataclass(frozen=True)
class Outcome:
    """One line of the table.

    Args:
        runs: one ratio a run; empty where nothing was measured.
        notes: what is stored beside them (activations, seconds).
        skipped: why nothing was measured.
    """

    target: Target
    runs: Sequence[float] = ()
    notes: Mapping[str, Any] = field(default_factory=dict)
    skipped: str = ""

    @property
    def ratio(self) -> float | None:
        return statistics.median(self.runs) if self.runs else None

    def as_json(self) -> dict[str, Any]:
        line = {"ratio": self.ratio, "runs": list(self.runs), "target": self.target.ratio, **self.notes}
        return line | ({"skipped": self.skipped} if self.skipped else {})


def seconds(work: Callable[[], object]) -> float:
    """How long a call takes: CPU seconds of this process, or on a GPU the clock's, until it has finished.

    With the one thread that each side has, CPU seconds are the clock's on a quiet machine, leave out who else works on
    a busy one, and would count a second thread against the side that takes it.
    """
    if not torch.cuda.is_available():
        start = time.process_time()
        work()
        return time.process_time() - start
    torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def interleaved(sides: Mapping[str, Callable[[], object]], *, runs: int = RUNS) -> dict[str, list[float]]:
    """Seconds of each side, A B A B ..., so that a machine that slows down slows all of them."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(runs):
        for name, work in sides.items():
            times[name].append(seconds(work))
    return times


def ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """Run by run, the ones divided by the others."""
    return [a / b for a, b in zip(above, below, strict=True)]


def geometric_means(rows: Sequence[Sequence[float]]) -> list[float]:
    """Of several lists of ratios (one a layer), the geometric mean run by run."""
    return [math.exp(statistics.fmean(map(math.log, run))) for run in zip(*rows, strict=True)]
