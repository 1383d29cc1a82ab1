"""Progress of a scan: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from polyscan.cli.console import err, tell
from polyscan.cli.words import shards_words


class Bars:
    """A bar per stage on a terminal, plain lines elsewhere."""

    def __init__(self, progress: Progress | None) -> None:
        self.progress = progress
        self.stage, self.done, self.total = "", 0, 0
        self.task: Any = None

    def begin(self, stage: str, *, done: int, total: int) -> None:
        """Shows that a stage begins."""
        self.stage, self.done, self.total = stage, done, total
        if self.progress is not None:
            self.task = self.progress.add_task(stage, completed=done, total=total)
        elif total:
            tell(f"{stage}: {done} of {total} shards done before" if done else f"{stage}: {shards_words(total)}")

    def outcome(self, outcome: object) -> None:
        """Counts a shard of the stage if it is done; a failed one does not count."""
        from polyscan.shards import Receipt

        if not isinstance(outcome, Receipt):
            return
        self.done += 1
        if self.progress is not None:
            self.progress.advance(self.task)
        elif self.done == self.total or self.done % max(1, self.total // 10) == 0:
            tell(f"{self.stage}: {self.done} of {self.total}")


@contextmanager
def watching(*, quiet: bool) -> Generator[Bars | None]:
    """Yields what shows the progress, or None if `quiet`."""
    if quiet:
        yield None
    elif err.is_terminal:
        columns = (TextColumn("{task.description:>10}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=err) as progress:
            yield Bars(progress)
    else:
        yield Bars(None)
