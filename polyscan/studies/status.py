"""How far a run is, from its folder alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from polyscan.pipeline import STAGES
from polyscan.run import Results


@dataclass(frozen=True)
class StageStatus:
    """One stage: shards done of how many (None before it began), rows, seconds of work, failures."""

    stage: str
    done: int
    total: int | None
    rows: int
    seconds: float
    failures: list[dict[str, Any]]


def status_of(address: str) -> list[StageStatus]:
    """Each stage's status.

    Raises:
        TableError: if there is no run at this address.
    """
    run = Results(address).run
    rows: list[StageStatus] = []
    for stage in STAGES:
        done = run.done(stage.name).values()
        rows.append(
            StageStatus(
                stage=stage.name,
                done=len(done),
                total=run.planned(stage.name),
                rows=sum(record.rows for record in done),
                seconds=sum(record.seconds for record in done),
                failures=run.failures(stage.name),
            )
        )
    return rows
