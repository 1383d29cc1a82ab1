"""How a stage is cut into shards, and where every random number comes from.

Law: both are pure functions of the job. A shard never depends on who runs it, a seed never on the order of arrival.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Protocol


@dataclass(frozen=True)
class Shard:
    """One unit of work: the items `start` up to, not including, `stop` of one stage."""

    stage: str
    index: int
    count: int
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def name(self) -> str:
        """The stem of its files, as in `00017-of-00256`."""
        return f"{self.index:05d}-of-{self.count:05d}"


def split(stage: str, n_items: int, size: int) -> list[Shard]:
    """Ranges of `size` items that cover `n_items` once; the last one may be shorter.

    >>> [(s.start, s.stop) for s in split("collect", 5, 2)]
    [(0, 2), (2, 4), (4, 5)]
    """
    return split_within(stage, [n_items], size)


def split_within(stage: str, group_sizes: Sequence[int], size: int) -> list[Shard]:
    """Ranges of at most `size` items that cover all groups in turn, none of which reaches over a group's end.

    >>> [(s.start, s.stop) for s in split_within("visualize", [3, 2], 2)]
    [(0, 2), (2, 3), (3, 5)]
    """
    stops = list(accumulate(group_sizes))
    return split_ranges(stage, list(zip([0, *stops[:-1]], stops, strict=False)), size)


def split_ranges(stage: str, ranges: Sequence[tuple[int, int]], size: int) -> list[Shard]:
    """Ranges of at most `size` items that cover the given ones (start, stop) in turn, and nothing between them.

    >>> [(s.start, s.stop) for s in split_ranges("score", [(0, 3), (5, 6)], 2)]
    [(0, 2), (2, 3), (5, 6)]
    """
    if size < 1:
        raise ValueError(f"a shard holds at least 1 item, got {size}")
    bounds = [(i, min(i + size, stop)) for start, stop in ranges for i in range(start, stop, size)]
    return [Shard(stage, index, len(bounds), start, stop) for index, (start, stop) in enumerate(bounds)]


def split_by_weight(stage: str, weights: Sequence[int], most: int) -> list[Shard]:
    """Ranges of items whose weights sum to at most `most`; a heavier item has a range of its own.

    >>> [(s.start, s.stop) for s in split_by_weight("survey", [3, 3, 9, 1], 6)]
    [(0, 2), (2, 3), (3, 4)]
    """
    starts = [0] if weights else []
    total = 0
    for place, weight in enumerate(weights):
        if total and total + weight > most:
            starts.append(place)
            total = 0
        total += weight
    stops = [*starts[1:], len(weights)][: len(starts)]
    return [
        Shard(stage, i, len(starts), start, stop) for i, (start, stop) in enumerate(zip(starts, stops, strict=True))
    ]


def seed(job_seed: int, purpose: str, layer: str = "", channel: int = 0, index: int = 0) -> int:
    """A 63-bit seed for one purpose of one unit, the same on every machine and in every order.

    >>> seed(0, "start image", "conv1", 3) == seed(0, "start image", "conv1", 3)
    True
    >>> seed(0, "start image", "conv1", 3) == seed(0, "start image", "conv1", 4)
    False
    """
    # The separator can't occur in a module name, so no two purposes share a key.
    key = "\x1f".join((str(job_seed), purpose, layer, str(channel), str(index)))
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") >> 1


@dataclass(frozen=True)
class Receipt:
    """A shard that is done: what the driver is told, never its data.

    Args:
        shard: which one.
        rows: over all its files.
        seconds: from its beginning to its filing.
        batch: the batch sizes it was done with, by setting, where memory ran out at the job's own.
        cpu: the kind of CPU that it was done on; None where no record tells.
    """

    shard: Shard
    rows: int
    seconds: float
    batch: Mapping[str, int] | None = None
    cpu: str | None = None


@dataclass(frozen=True)
class Failure:
    """A shard that was not done.

    Args:
        shard: which one.
        cause: one line on what happened.
        traceback: where.
        is_final: whether trying again is pointless: its worker died of it three times.
        is_job_error: whether the job itself is wrong, so that no shard can be done.
    """

    shard: Shard
    cause: str
    traceback: str
    is_final: bool = False
    is_job_error: bool = False


Outcome = Receipt | Failure
Work = Callable[[Shard], Outcome]
"""Does one shard and never raises (but for an interrupt)."""


ROUNDING = 1e-6  # ten workers of a tenth are one whole, whatever a float makes of 1 / 0.1


@dataclass(frozen=True)
class Resources:
    """What one worker of a stage is given.

    Args:
        cpus: whole ones.
        gpus: a share of one, or whole ones.
        gpus_are_optional: whether it does without where there is none.
    """

    cpus: int = 1
    gpus: float = 0.0
    gpus_are_optional: bool = False

    def fitting(self, cpus: float, gpus: float) -> int:
        """How many workers a machine with these has room for; a share of a GPU is never of two.

        >>> Resources(1, 0.5).fitting(8, 2), Resources(1, 0.4).fitting(8, 1), Resources(4).fitting(3, 1)
        (4, 2, 0)
        """
        by_cpu = max(0, int(cpus // self.cpus))
        if not self.gpus:
            return by_cpu
        by_gpu = int(gpus) * int(1 / self.gpus + ROUNDING) if self.gpus <= 1 else int(gpus // self.gpus)
        return min(by_cpu, by_gpu)


class Runner(Protocol):
    """Does shards somewhere and hands back their outcomes as they finish."""

    def __call__(
        self, make_work: Callable[[], Work], shards: Sequence[Shard], resources: Resources
    ) -> Generator[Outcome]:
        """Each shard's outcome once, in finishing order; closed early, it lets go of what is still at work.

        Args:
            make_work: makes what does shards; called once per worker, where the worker is.
            shards: what is to be done.
            resources: of one worker.
        """
        ...
