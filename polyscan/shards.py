"""How a stage is cut into shards, and where every random number comes from.

Law: both are pure functions of the job. A shard never depends on its worker, a seed never on the order of execution.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Protocol


@dataclass(frozen=True)
class Shard:
    """One piece of work: the items `start` up to, not including, `stop` of one stage."""

    stage: str
    index: int
    count: int
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def name(self) -> str:
        """The stem of its file names, as in `00017-of-00256`."""
        return f"{self.index:05d}-of-{self.count:05d}"


def split(stage: str, n_items: int, size: int) -> list[Shard]:
    """Ranges of `size` items that cover `n_items` once; the last one may be shorter.

    >>> [(s.start, s.stop) for s in split("collect", 5, 2)]
    [(0, 2), (2, 4), (4, 5)]
    """
    return split_within(stage, [n_items], size)


def split_within(stage: str, group_sizes: Sequence[int], size: int) -> list[Shard]:
    """Ranges of at most `size` items that cover all groups in order; no range crosses the end of a group.

    >>> [(s.start, s.stop) for s in split_within("visualize", [3, 2], 2)]
    [(0, 2), (2, 3), (3, 5)]
    """
    stops = list(accumulate(group_sizes))
    return split_ranges(stage, list(zip([0, *stops[:-1]], stops, strict=False)), size)


def split_ranges(stage: str, ranges: Sequence[tuple[int, int]], size: int) -> list[Shard]:
    """Ranges of at most `size` items that cover larger ranges (start, stop) in order, and nothing between these.

    >>> [(s.start, s.stop) for s in split_ranges("score", [(0, 3), (5, 6)], 2)]
    [(0, 2), (2, 3), (5, 6)]
    """
    if size < 1:
        raise ValueError(f"a shard holds at least 1 item, got {size}")
    bounds = [(i, min(i + size, stop)) for start, stop in ranges for i in range(start, stop, size)]
    return [Shard(stage, index, len(bounds), start, stop) for index, (start, stop) in enumerate(bounds)]


def split_by_weight(stage: str, weights: Sequence[int], most: int) -> list[Shard]:
    """Ranges of items whose weights sum to at most `most`; a heavier item gets its own range.

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
    """A shard that is done, as reported to the driver; it carries no data.

    Args:
        shard: the shard.
        rows: number of rows in all its files.
        seconds: from its start until its files are written.
        batch: batch sizes it was done with, by setting, if memory ran out at the job's own.
        cpu: kind of CPU that it was done on; None if it was not recorded.
    """

    shard: Shard
    rows: int
    seconds: float
    batch: Mapping[str, int] | None = None
    cpu: str | None = None


@dataclass(frozen=True)
class Failure:
    """A shard that failed.

    Args:
        shard: the shard.
        cause: one line on what happened.
        traceback: traceback of the error.
        is_final: whether it is not tried again, because too many workers died of it.
        is_job_error: whether the job itself is wrong, so that no shard can be done.
    """

    shard: Shard
    cause: str
    traceback: str
    is_final: bool = False
    is_job_error: bool = False


Outcome = Receipt | Failure
Work = Callable[[Shard], Outcome]
"""Runs one shard and never raises, except on an interrupt."""


ROUNDING = 1e-6  # ten workers of a tenth of a GPU fit on one, whatever the rounding of 1 / 0.1


@dataclass(frozen=True)
class Resources:
    """The resources of one worker of a stage.

    Args:
        cpus: number of CPUs.
        gpus: a share of one GPU, or a number of whole ones.
        gpus_are_optional: whether the worker runs without a GPU if there is none.
    """

    cpus: int = 1
    gpus: float = 0.0
    gpus_are_optional: bool = False

    def fitting(self, cpus: float, gpus: float) -> int:
        """How many workers fit on a machine with these; a share of a GPU is never split over two GPUs.

        >>> Resources(1, 0.5).fitting(8, 2), Resources(1, 0.4).fitting(8, 1), Resources(4).fitting(3, 1)
        (4, 2, 0)
        """
        by_cpu = max(0, int(cpus // self.cpus))
        if not self.gpus:
            return by_cpu
        by_gpu = int(gpus) * int(1 / self.gpus + ROUNDING) if self.gpus <= 1 else int(gpus // self.gpus)
        return min(by_cpu, by_gpu)


class Runner(Protocol):
    """Runs shards somewhere and yields their outcomes as they finish."""

    def __call__(
        self, make_work: Callable[[], Work], shards: Sequence[Shard], resources: Resources
    ) -> Generator[Outcome]:
        """Each shard's outcome once, in finishing order; if closed early, running shards are dropped.

        Args:
            make_work: makes the function that runs shards; called once per worker, in its process.
            shards: the shards to run.
            resources: resources of one worker.
        """
        ...


class Watcher(Protocol):
    """Receives the progress of a scan; for example a progress bar."""

    def begin(self, stage: str, *, done: int, total: int) -> None:
        """A stage begins; `done` of its `total` shards are done already."""
        ...

    def outcome(self, outcome: Outcome) -> None:
        """A shard of the stage is done or has failed."""
        ...


class Silence:
    """A watcher that does nothing."""

    def begin(self, stage: str, *, done: int, total: int) -> None:
        """Nothing."""

    def outcome(self, outcome: Outcome) -> None:
        """Nothing."""
