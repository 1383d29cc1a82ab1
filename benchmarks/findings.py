"""`python -m benchmarks.findings RUN ...`: what both tests say of a run's units, beside its virtual units.

For each test a table: by layer, the share with p <= .05 of the channels that can be judged and of each role of virtual
units (artefacts are not counted as called), then the mean over layers; below it how many channels have each verdict, at
least how many of each role answer to several things, and Spearman's rho with depth of the share of channels less that
of controls and less that of random directions. Then the same trends of the mean of each score, and from which of their
two sources the exemplars and the least explained images of planted pairs come.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np
import pandas as pd

from polyscan.report.unit_map import calibrated_rows
from polyscan.results.at_least import at_least
from polyscan.results.results import Results
from polyscan.results.tiers import is_judged
from polyscan.stats.significance import spearman_test, wilson_interval

LEVEL = 0.05
TESTS = {"first": "", "second": "second_"}
FIRST_ROLES = ("unit", "control", "random")
PAIRS = ("planted", "planted80", "planted50", "planted20")
SCORES = ("separation", "gap", "silhouette", "alignment", "distinctness", "psi", "semanticity", "clarity")


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
        yield from _bounds(run, prefix)
        yield from (f"\n{line}" for line in _trends(found))
    yield from _score_trends(run)
    yield from _halves(run)


def _bounds(run: Results, prefix: str) -> Iterator[str]:
    """At least how many of each role answer to several things, at 95 %."""
    rows = calibrated_rows(run.run)
    rows = rows[(rows["prefix"] == prefix) & (rows["score"] == "separation") & rows["p"].notna() & ~rows["is_invalid"]]
    rows = rows[~rows["is_artefact"]]
    for role in FIRST_ROLES:
        of_role = rows[rows["role"] == role]
        if len(of_role):
            bound = at_least(of_role)
            yield f"\n{role}: at least {bound.n} of {bound.of}, by closed testing {bound.by_closed_testing}"


def _trends(found: pd.DataFrame) -> Iterator[str]:
    """Rho with depth of what channels have more than controls, and than random directions."""
    generator = np.random.default_rng(0)
    for role in ("control", "random"):
        if role in found and len(found) >= 4:  # fewer layers have no p
            excess = (found["unit"] - found[role]).dropna().to_numpy()
            rho = spearman_test(np.arange(len(excess)), excess, generator=generator)
            yield f"channels less {role}, with depth: rho {rho[0]:.2f}, p {rho[1]:.3f}; mean {excess.mean():+.3f}"


def _score_trends(run: Results) -> Iterator[str]:
    """The trends of each score's mean over a layer's units of a role."""
    rows = run.table("scores")
    rows = rows[rows["is_main"] & rows["score"].isin(SCORES) & rows["value"].notna()]
    order = run.run.layer_table().query("role == 'unit'")["layer"].tolist()
    yield "\n**mean of each score by layer**, exemplars\n"
    for score in SCORES:
        wide = rows[rows["score"] == score].groupby(["parent", "role"])["value"].mean().unstack("role")
        wide = wide.reindex([layer for layer in order if layer in wide.index])
        if {"unit", "control"} <= set(wide):
            yield f"- {score}: {'; '.join(_trends(wide))}"


def _halves(run: Results) -> Iterator[str]:
    """For planted pairs: the share of exemplars, and of the least explained images, that are a source's exemplars."""
    readouts = run.table("readouts")
    pairs = readouts[readouts["source_layer"].str.endswith("control") & readouts["role"].isin(PAIRS)]
    pairs = pairs[["parent", "role", "channel", "part", "source"]]
    exemplars, second = run.table("exemplars"), run.table("second_exemplars")
    sources = exemplars[exemplars["role"] == "control"][["parent", "channel", "image"]].assign(is_of=True)
    sources = sources.rename(columns={"channel": "source"})
    halves = {"exemplars": exemplars[exemplars["rank"] < second["rank"].max() + 1], "least explained": second}
    yield "\n**planted pairs**: share of images that are among the exemplars of the stronger and of the weaker source\n"
    yield "| kind | images | stronger | weaker |"
    yield "| --- | --- | --- | --- |"
    for name, rows in halves.items():
        images = rows[rows["role"].isin(PAIRS)][["parent", "role", "channel", "image"]]
        found = images.merge(pairs, on=["parent", "role", "channel"]).merge(
            sources, on=["parent", "source", "image"], how="left"
        )
        shares = found["is_of"].eq(True).groupby([found["role"], found["part"]]).mean().unstack("part")
        for kind, row in shares.iterrows():
            yield f"| {kind} | {name} | {row[0]:.2f} | {row[1]:.2f} |"


def main() -> None:
    """Prints the report on each run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+")
    for address in parser.parse_args().runs:
        print(f"\n## {address}")
        print("\n".join(lines(Results(address))))


if __name__ == "__main__":
    main()
