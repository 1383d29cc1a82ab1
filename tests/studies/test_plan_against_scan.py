"""The plan of the toy job beside its scan, printed: `pytest -rP tests/studies/test_plan_against_scan.py` shows it.

Times are told, not judged: a toy's are all opening and first calls. `python -m benchmarks.scaling.plan_vs_scan`
compares jobs that are large enough.
"""

from __future__ import annotations

import sys

import toy

from polyscan.pipeline import STAGES
from polyscan.results import Results
from polyscan.studies.plan import plan
from polyscan.studies.status import status_of


def test_each_stage_of_a_scan_was_foretold(toy_results: Results) -> None:
    outlined = plan(toy.stored_job(toy_results))
    foretold = {row.stage: row for row in outlined.rows if row.shards}
    taken = {row.stage: row for row in status_of(toy_results.run.address)}
    filed = {stage: sum(part.bytes for done in toy_results.run.ledger.done(stage).values() for part in done.parts)
             for stage in taken}  # fmt: skip
    head = ("stage", "s", "taken", "shards", "done", "rows", "filed", "bytes", "filed", "MiB")
    lines = ["".join(f"{name:>12}" for name in head)]
    for stage, row in foretold.items():
        its = taken[stage]
        memory = "?" if row.memory is None else f"{row.memory / 2**20:.0f}"
        cells = (f"{row.seconds:.2f}", f"{its.seconds:.2f}", row.shards, its.done, row.rows, its.rows,
                 f"{row.bytes:.0f}", filed[stage], memory)  # fmt: skip
        lines.append(f"{stage:>12}" + "".join(f"{cell:>12}" for cell in cells))
    sys.stdout.write("\n".join(lines) + "\n")
    assert list(foretold) == [stage.name for stage in STAGES if taken[stage.name].done]
    for stage, row in foretold.items():
        assert row.seconds > 0, stage
        assert row.bytes > 0, stage
        assert row.shards >= taken[stage].done, stage
        assert row.held >= 0, stage
