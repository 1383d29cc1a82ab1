"""`python -m benchmarks.mixtures RUN ...`: false discovery rates and "at least N" on units whose truth is known.

RUN is a finished run with controls and planted units. A mixture is made of those that can be judged: in every other
layer a tenth are planted pairs, all others are single-concept controls. For each way to a q it prints, at q <= .05 and
<= .1, the mean over mixtures of the share of false calls among all calls (FDP; 0 if nothing is called) and of the
planted pairs called (power); then in how many mixtures "at least N" lies above the truth, and how far below it N is.

Each mixture draws its units anew, and which null sets the exact p counts among. All mixtures of a run share its
readouts, so they agree more than mixtures of different runs would: give several runs with different seeds.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from polyscan.job import Job
from polyscan.report.unit_map import calibrated_rows
from polyscan.results.results import stored_job
from polyscan.run import Run
from polyscan.scores import separation
from polyscan.stages.score import nulls_of
from polyscan.stages.score.against import NullTable, exact_p
from polyscan.stats.significance import (
    Envelope,
    Group,
    benjamini_hochberg,
    benjamini_yekutieli,
    closed_testing,
    group_benjamini_hochberg,
    storey_by_group,
    wilson_interval,
)

PLANTED_SHARE = 0.1
LEVELS = (0.05, 0.1)
SMALL_P = 0.05
CONTROL = "control"
Q_VALUES: dict[str, Callable[[Any, Any], Any]] = {
    "BH": lambda p, _: benjamini_hochberg(p),
    "BY": lambda p, _: benjamini_yekutieli(p),
    "Storey by layer": storey_by_group,
    "group BH": group_benjamini_hochberg,
    # The verdict's rule: where a layer seems to have few nulls, its q may be small for any p.
    "group BH, p <= .05": lambda p, layer: np.where(p <= SMALL_P, group_benjamini_hochberg(p, layer), 1.0),
}


class Test(NamedTuple):
    """What the rows of a test have as prefix (`report.unit_map`) and as evidence."""

    prefix: str
    evidence: str


TESTS = {"first": Test("", "exemplars"), "second": Test("second_", "deflated")}


@dataclass(frozen=True, eq=False)
class LayerUnits:
    """The virtual units of one layer.

    Args:
        name: the layer.
        null: its null sets.
        controls: values of the scores, clarity and p of each single-concept control.
        plants: the same of each planted unit.
    """

    name: str
    null: NullTable
    controls: pd.DataFrame
    plants: pd.DataFrame


def layer_units(job: Job, run: Run, kind: str, test: str) -> Iterator[LayerUnits]:
    """Controls and planted units of each layer of a run, those that can be judged: with a valid p, and no artefact."""
    rows = calibrated_rows(run)
    rows = rows[(rows["prefix"] == TESTS[test].prefix) & rows["role"].isin([CONTROL, kind])]
    rows = rows[~rows["is_invalid"] & ~rows["is_artefact"]]
    for (parent, space), of_layer in rows.groupby(["parent", "space"], sort=False):
        null = next(iter(nulls_of(job, run, str(parent), TESTS[test].evidence, str(space))), None)
        if null is None:
            continue
        wanted = of_layer[of_layer["score"].isin([*separation.PARTS, "clarity"])]
        values = wanted.pivot_table(index=["role", "channel"], columns="score", values="value")
        p = of_layer[of_layer["score"] == "separation"].set_index(["role", "channel"])["p"]
        units = values.assign(p=p.reindex(values.index)).dropna(subset=["p"])
        of_kind = {str(role): frame.droplevel("role") for role, frame in units.groupby(level="role")}
        if CONTROL in of_kind and kind in of_kind:
            yield LayerUnits(str(parent), null, of_kind[CONTROL], of_kind[kind])


def mixture(layers: list[LayerUnits], generator: np.random.Generator) -> pd.DataFrame:
    """One mixture: each unit's `layer`, `p`, `p_exact`, `n_exact` and whether it `is_planted`."""
    first = int(generator.integers(2))
    parts: list[pd.DataFrame] = []
    for place, layer in enumerate(layers):
        # Half of the controls and at most two thirds of the plants, so that mixtures differ.
        n = min(len(layer.controls) // 2, round(2 / 3 * len(layer.plants) / PLANTED_SHARE))
        n_planted = round(n * PLANTED_SHARE) if place % 2 == first else 0
        controls = layer.controls.sample(n - n_planted, random_state=generator)
        plants = layer.plants.sample(n_planted, random_state=generator)
        units = pd.concat([controls, plants], ignore_index=True)
        exact = exact_p(units, NullTable(layer.null.name, layer.null.values, int(generator.integers(2**31))))
        is_planted = np.arange(n) >= n - n_planted
        columns = {"layer": layer.name, "p": units["p"], "p_exact": exact.p, "n_exact": exact.n_sets}
        parts.append(pd.DataFrame({**columns, "is_planted": is_planted}))
    return pd.concat(parts, ignore_index=True)


def shares(units: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """FDP and power of each q at each level in one mixture."""
    is_planted = units["is_planted"].to_numpy(bool)
    for p in ("p", "p_exact"):
        for name, q_of in Q_VALUES.items():
            q = q_of(units[p].to_numpy(), units["layer"].to_numpy())
            for level in LEVELS:
                called = q <= level
                false = float((called & ~is_planted).sum() / max(1, called.sum()))
                yield {"from": p, "q": name, "level": level, "fdp": false, "power": float(called[is_planted].mean())}


def bounds(units: pd.DataFrame, generator: np.random.Generator) -> dict[str, int]:
    """The truth and both lower bounds of one mixture."""
    sizes = units.groupby("layer", sort=False)["n_exact"].agg(["size", "first"])
    groups = [Group(int(n), int(n_exact)) for n, n_exact in sizes.itertuples(index=False)]
    p = units["p_exact"].to_numpy()
    envelope = Envelope.simulate(groups, generator=generator)
    return {
        "truth": int(units["is_planted"].sum()),
        "envelope": envelope.at_least(p),
        "closed testing": closed_testing(p),
    }


def main() -> None:
    """Prints both tables for each run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("runs", nargs="+", metavar="RUN", help="a finished run with controls and planted units")
    parser.add_argument("--mixtures", type=int, default=10, help="mixtures a run for FDP and power")
    parser.add_argument("--bounds", type=int, default=200, help='mixtures a run for "at least N"')
    parser.add_argument("--test", choices=list(TESTS), default="first")
    parser.add_argument("--kind", default="planted", help="kind of planted units")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    for address in args.runs:
        run = Run(address)
        layers = list(layer_units(stored_job(run), run, args.kind, args.test))
        generator = np.random.default_rng(args.seed)
        mixtures = [mixture(layers, generator) for _ in range(max(args.mixtures, args.bounds))]
        rows = pd.DataFrame([row for units in mixtures[: args.mixtures] for row in shares(units)])
        table = rows.groupby(["from", "q", "level"], sort=False)[["fdp", "power"]].mean().unstack("level").round(3)
        print(
            f"{address}: {len(layers)} layers, {len(mixtures[0])} units, {args.mixtures} mixtures\n{table.to_string()}"
        )
        found = pd.DataFrame([bounds(units, generator) for units in mixtures[: args.bounds]])
        for name in ("envelope", "closed testing"):
            above = wilson_interval(int((found[name] > found["truth"]).sum()), len(found))
            print(
                f"at least N, {name}: above the truth in {above.mean:.3f} [{above.low:.3f}, {above.high:.3f}] of "
                f"{len(found)} mixtures; N is on average {found[name].mean():.1f} of {found['truth'].mean():.1f}"
            )


if __name__ == "__main__":
    main()
