"""`python -m benchmarks.findings RUN ...`: what both tests say of a run's units, beside its virtual units.

For each test a table: by layer, the share with p <= .05 of the channels that can be judged and of each role of virtual
units (artefacts are not counted as called), then the mean over layers; below it how many channels have each verdict,
and Spearman's rho with depth of the share of channels less that of controls and less that of random directions.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np
import pandas as pd

from polyscan.report.unit_map import calibrated_rows
from polyscan.results.results import Results
from polyscan.results.tiers import is_judged
from polyscan.stats.significance import spearman_test, wilson_interval

LEVEL = 0.05
TESTS = {"first": "", "second": "second_"}
FIRST_ROLES = ("unit", "control", "random")


def shares(run: Results, prefix: str) -> pd.DataFrame:
    """Share with p <= .05 and no artefact, by layer in forward order and role; `n` rows under them by role."""
    rows = calibrated_rows(run.run)
    rows = rows[(rows["prefix"] == prefix) & (rows["score"] == "separation") & rows["p"].notna() & ~rows["is_invalid"]]
    hits = ((rows["p"] <= LEVEL) & ~rows["is_artefact"]).groupby([rows["parent"], rows["role"]])
    order = run.run.layer_table().query("role == 'unit'")["layer"].tolist()
    wide = hits.mean().unstack("role").reindex([layer for layer in order if layer in set(rows["parent"])])
    others = sorted(set(wide) - set(FIRST_ROLES))
    return wide[[role for role in (*FIRST_ROLES, *others) if role in wide]]


def pooled(run: Results, prefix: str, role: str) -> str:
    """The share of all virtual units of a role, with its 95 % interval."""
    rows = calibrated_rows(run.run)
    rows = rows[(rows["prefix"] == prefix) & (rows["score"] == "separation") & (rows["role"] == role)]
    rows = rows[rows["p"].notna() & ~rows["is_invalid"]]
    found = wilson_interval(int(((rows["p"] <= LEVEL) & ~rows["is_artefact"]).sum()), len(rows))
    return f"{found.mean:.3f} [{found.low:.3f}, {found.high:.3f}] of {len(rows)}"


def lines(run: Results) -> Iterator[str]:
    """The report on one run, as Markdown."""
    frame = run.map
    for name, prefix in TESTS.items():
        if f"{prefix}verdict" not in frame:
            continue
        found = shares(run, prefix)
        yield f"\n**{name} test**, share with p <= .05\n"
        yield "| layer | " + " | ".join(found) + " |"
        yield "| --- |" + " --- |" * len(found.columns)
        for layer, row in found.iterrows():
            yield f"| {layer} | " + " | ".join("" if np.isnan(x) else f"{x:.2f}" for x in row) + " |"
        yield "| mean | " + " | ".join(f"{x:.3f}" for x in found.mean()) + " |"
        for role in ("control", "random"):
            if role in found:
                yield f"\n{role}: {pooled(run, prefix, role)}"
        verdicts = frame[f"{prefix}verdict"]
        counts = verdicts[is_judged(verdicts)].value_counts()
        yield f"\nverdicts: {', '.join(f'{word} {n}' for word, n in counts.items())}; of {len(frame)} channels"
        yield from _trends(found)


def _trends(found: pd.DataFrame) -> Iterator[str]:
    generator = np.random.default_rng(0)
    for role in ("control", "random"):
        if role in found and len(found) >= 4:  # fewer layers have no p
            excess = (found["unit"] - found[role]).dropna().to_numpy()
            rho = spearman_test(np.arange(len(excess)), excess, generator=generator)
            yield f"\nchannels less {role}, with depth: rho {rho[0]:.2f}, p {rho[1]:.3f}; mean {excess.mean():+.3f}"


def main() -> None:
    """Prints the report on each run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+")
    for address in parser.parse_args().runs:
        print(f"\n## {address}")
        print("\n".join(lines(Results(address))))


if __name__ == "__main__":
    main()
