"""What a run reuses of another one: the tables of every stage that would come out the same.

Law: reused files have done records in both runs and are equal to the byte. Files are replaced and never changed, so
neither run can alter the other's, and either may be deleted.
"""

from __future__ import annotations

from collections.abc import Sequence

from polyscan.errors import TableError
from polyscan.run.folder import Run
from polyscan.run.records import Done, done_file


def reuse(base: Run, variant: Run, stages: Sequence[str]) -> list[str]:
    """Links or copies parts and done records of each stage whose fingerprint is the same in both runs.

    Files that the variant already has are kept, so an interrupted call can be repeated.

    Args:
        base: a finished run.
        variant: a run whose manifest is written.
        stages: names in their order.

    Returns:
        The stages that are reused.

    Raises:
        TableError: if the base is not finished or has lost a part, or the variant has no manifest.
    """
    require_finished(base, stages)
    if not variant.manifest():
        raise TableError(f"{variant.address} has no run.json to compare fingerprints by; prepare the run first")
    before, now = _fingerprints(base), _fingerprints(variant)
    same = [stage for stage in stages if now.get(stage) == before[stage]]
    for stage in same:
        for _, record in sorted(base.ledger.done(stage).items()):
            _reuse_shard(record, base, variant)
    variant.forget_tables()
    return same


def require_finished(run: Run, stages: Sequence[str]) -> None:
    """Refuses a run in which some shard is not done with the settings of its manifest.

    Raises:
        TableError: naming the first stage with shards left.
    """
    fingerprints = _fingerprints(run)
    for stage in stages:
        total = run.ledger.planned(stage)
        n_done = sum(record.fingerprint == fingerprints.get(stage) for record in run.ledger.done(stage).values())
        if total is None or n_done < total:
            left = "not begun" if total is None else f"{total - n_done} of {total} shards left"
            raise TableError(f"{run.address} is not finished: `{stage}` has {left}; run `polyscan scan` again")


def _fingerprints(run: Run) -> dict[str, str]:
    return {stage: str(entry["fingerprint"]) for stage, entry in run.manifest().get("stages", {}).items()}


def _reuse_shard(record: Done, base: Run, variant: Run) -> None:
    """Reuses one shard: its parts, then its done record."""
    shard = record.shard
    if variant.ledger.done_record(shard) == record:
        return
    for file in (*(part.file for part in record.parts), done_file(shard)):
        try:
            variant.storage.link(file, base.storage)
        except FileNotFoundError as error:
            raise TableError(
                f"{base.address} has lost {file}; the same `polyscan scan` makes it again and keeps the rest"
            ) from error
