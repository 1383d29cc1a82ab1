"""The small files of a run that say what happened: a record of every shard done, a trace of every one at work."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import dataclass
from typing import Any

from polyscan.shards import Shard

NO_RECORD = (ValueError, TypeError, KeyError, AttributeError)
"""What comes of reading as a record what is none."""


@dataclass(frozen=True)
class Part:
    """One file of one shard."""

    table: str
    file: str
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Done:
    """The record that one shard is done: its range and its files.

    Args:
        stage: whose shard it is.
        index: its number in the stage.
        count: shards in the stage.
        start: its first item.
        stop: behind its last item.
        fingerprint: of the stage, when it was done.
        parts: its files.
        seconds: from its beginning to its filing.
        at: when it was filed, in seconds since 1970; None in records of 0.1.0.
        batch: batch sizes by setting, where memory ran out at the job's own: equal to others' up to rounding.
        cpu: kind of the CPU that did it; None in records of 0.1.0.
    """

    stage: str
    index: int
    count: int
    start: int
    stop: int
    fingerprint: str
    parts: tuple[Part, ...]
    seconds: float
    at: float | None = None
    batch: dict[str, int] | None = None
    cpu: str | None = None

    @property
    def rows(self) -> int:
        """Rows over all its files."""
        return sum(part.rows for part in self.parts)

    @classmethod
    def parse(cls, text: bytes) -> Done:
        """The record as it was written.

        Raises:
            ValueError, TypeError, KeyError, AttributeError: if it is none.
        """
        record: dict[str, Any] = json.loads(text)
        parts = tuple(Part(**part) for part in record.pop("parts"))
        done = cls(parts=parts, **record)
        for part in parts:
            if part.file != part_file(part.table, done.shard):
                raise ValueError(f"a part of {part.table} lies at {part.file!r}")
            if not isinstance(part.rows, int) or not isinstance(part.bytes, int):
                raise TypeError(f"{part.file} has {part.rows!r} rows and {part.bytes!r} bytes")
        return done

    @property
    def shard(self) -> Shard:
        """The shard that it tells of."""
        return Shard(self.stage, self.index, self.count, self.start, self.stop)


@dataclass(frozen=True)
class Running:
    """The trace of a shard that is at work: where, and since when (seconds since 1970)."""

    index: int
    host: str
    pid: int
    since: float

    @property
    def is_gone(self) -> bool:
        """Whether its process is known to be gone; that of another machine never is."""
        if self.host != platform.node() or os.name != "posix":
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:  # another user's, and alive
            return False
        return False


def part_file(table: str, shard: Shard) -> str:
    """Where a shard's rows of a table lie.

    >>> part_file("embeddings", Shard("embed", 1, 23, 8, 16))
    'embeddings/part-00001-of-00023.parquet'
    """
    return f"{table}/part-{shard.name}.parquet"


def done_file(shard: Shard) -> str:
    """Where its done record lies.

    >>> done_file(Shard("embed", 1, 23, 8, 16))
    'done/embed/00001-of-00023.json'
    """
    return f"done/{shard.stage}/{shard.name}.json"
