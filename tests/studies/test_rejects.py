"""The line on rejected images."""

from __future__ import annotations

from pathlib import Path

from polyscan.run import Run
from polyscan.shards import Shard
from polyscan.studies.rejects import rejects_line
from polyscan.tables import TABLES


def with_rejects(folder: Path, *reasons: str) -> Run:
    run = Run(str(folder))
    columns = {table.name: {c.name: [] for c in table.columns} for table in TABLES.values() if table.stage == "collect"}
    n = len(reasons)
    columns["rejects"] = {"image": list(range(n)), "path": ["a.png"] * n, "reason": list(reasons), "checksum": [""] * n}
    run.write(Shard("collect", 0, 1, 0, n), columns, fingerprint="f", seconds=0.0)
    run.save_manifest({"stages": {}, "images": {"n": 2000}})
    return run


def test_the_commonest_reason_is_said(tmp_path: Path) -> None:
    assert rejects_line(with_rejects(tmp_path / "none")) == ""
    assert rejects_line(with_rejects(tmp_path / "one", "empty file")) == (
        "1 of 2,000 images rejected, because: empty file; the table `rejects` has all"
    )
    assert rejects_line(with_rejects(tmp_path / "more", "empty file", "truncated", "truncated")) == (
        "3 of 2,000 images rejected, because in 2 of them: truncated; the table `rejects` has all"
    )
    assert rejects_line(Run(str(tmp_path / "no run"))) == ""
