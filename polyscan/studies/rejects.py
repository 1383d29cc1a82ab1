"""How many images of a run were rejected, in a line."""

from __future__ import annotations

from polyscan.run import Run


def rejects_line(run: Run) -> str:
    """The number of rejected images and the commonest reason; empty if there are none."""
    reasons = run.readable("rejects", ["reason"])["reason"]
    if reasons.empty:
        return ""
    counts = reasons.value_counts()
    total = run.manifest().get("images", {}).get("n")
    of_all = "" if total is None else f" of {total:,}"
    count = int(counts.iloc[0])
    shared = "" if len(counts) == 1 else f" in {count:,} of them"
    return f"{len(reasons):,}{of_all} images rejected, because{shared}: {counts.index[0]}; the table `rejects` has all"
