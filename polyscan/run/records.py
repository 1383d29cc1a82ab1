"""The small files that record what happened in a run: one for every done shard, and one for every running shard."""

from __future__ import annotations

import json
import os
import platform
import re
from dataclasses import dataclass
from typing import Any

from polyscan.shards import Shard

PART_NAME = re.compile(r"part-\d{5,}-of-\d{5,}\.parquet")
RECORD_NAME = re.compile(r"\d{5,}-of-\d{5,}\.json")
"""How the files in the folders of tables, and those in the folders of records, are named; no others are polyscan's."""

NO_RECORD = (ValueError, TypeError, KeyError, AttributeError)
"""Errors that reading a damaged record can raise."""


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
        stage: of the shard.
        index: number of the shard in its stage.
        count: number of shards in the stage.
        start: first item.
        stop: one past the last item.
        fingerprint: of the stage, when the shard was done.
        parts: files of the shard.
        seconds: time that it took to compute.
        at: when it was recorded, in seconds since 1970; None in records of 0.1.0.
        batch: batch sizes by setting, if memory ran out at those of the job; results are equal up to rounding.
        cpu: kind of CPU that it ran on; None in records of 0.1.0.
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
            ValueError, TypeError, KeyError, AttributeError: if the text is not a done record.
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
        """The shard that is done."""
        return Shard(self.stage, self.index, self.count, self.start, self.stop)


@dataclass(frozen=True)
class Running:
    """The trace of a running shard: where it runs, and since when (seconds since 1970)."""

    index: int
    host: str
    pid: int
    since: float

    @property
    def is_gone(self) -> bool:
        """Whether its process is known to have ended; unknown, so False, for a process on another machine."""
        if self.host != platform.node() or os.name != "posix":
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:  # another user's process, still running
            return False
        return False


def part_file(table: str, shard: Shard) -> str:
    """File name of a shard's rows of a table.

    >>> part_file("embeddings", Shard("embed", 1, 23, 8, 16))
    'embeddings/part-00001-of-00023.parquet'
    """
    return f"{table}/part-{shard.name}.parquet"


def done_file(shard: Shard) -> str:
    """File name of a shard's done record.

    >>> done_file(Shard("embed", 1, 23, 8, 16))
    'done/embed/00001-of-00023.json'
    """
    return f"done/{shard.stage}/{shard.name}.json"
