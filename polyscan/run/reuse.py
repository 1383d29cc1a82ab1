"""What a run reuses of another one: the tables of every stage that would come out the same.

Law: what is reused is done by the run's own records, byte for byte that of the other. Files are replaced and never
changed, so one run can't alter what the other holds, and either may be deleted.
"""

from __future__ import annotations

from collections.abc import Sequence

from polyscan.errors import TableError
from polyscan.run.folder import Run
from polyscan.run.records import Done


def reuse(base: Run, variant: Run, stages: Sequence[str]) -> list[str]:
    """Links or copies parts and done records of each stage whose fingerprint is the same in both runs.

    What the variant has already is left alone, so that an interrupted call goes on where it was.

    Args:
        base: a finished run.
        variant: a run whose manifest is settled.
        stages: names in their order.

    Returns:
        The stages that are reused.

    Raises:
        TableError: if the base is not finished, has lost a part, or the variant has no manifest.
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
    """Refuses a run of which a shard is not done with the settings of its manifest.

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
    """One shard: its parts, then its done record."""
    shard = record.shard
    if variant.ledger.done_record(shard) == record:
        return
    for file in (*(part.file for part in record.parts), f"done/{shard.stage}/{shard.name}.json"):
        try:
            variant.storage.link(file, base.storage)
        except FileNotFoundError as error:
            raise TableError(
                f"{base.address} has lost {file}; the same `polyscan scan` makes it again, and it alone"
            ) from error
