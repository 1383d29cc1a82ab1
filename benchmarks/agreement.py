"""`python -m benchmarks.agreement RUN RUN ...`: how far scans of a network with other seeds or images agree.

The first run is compared with each other one, on the channels that both can judge: the share of equal verdicts in tiers
and Cohen's kappa of "several or probably several", the same of p <= .05, and Spearman's rho of separation, over all
channels and as the mean over layers.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np
import pandas as pd
from sklearn.metrics import cohen_kappa_score

from polyscan.results.results import Results
from polyscan.results.tiers import is_judged

TESTS = {"first": "", "second": "second_"}
KEY = ["layer", "channel"]
CALLED = ("several", "several, certified", "probably several")


def lines(one: pd.DataFrame, other: pd.DataFrame) -> Iterator[str]:
    """The agreement of two maps by each test."""
    for name, prefix in TESTS.items():
        columns = [f"{prefix}{column}" for column in ("verdict", "p", "separation")]
        if not set(columns) <= set(one) & set(other):
            continue
        both = one[KEY + columns].merge(other[KEY + columns], on=KEY, suffixes=("_a", "_b"))
        verdicts = [both[f"{prefix}verdict_{side}"] for side in "ab"]
        both = both[is_judged(verdicts[0]) & is_judged(verdicts[1])]
        tiers = [both[f"{prefix}verdict_{side}"] for side in "ab"]
        called = [of_side.isin(CALLED).to_numpy() for of_side in tiers]
        hits = [(both[f"{prefix}p_{side}"] <= 0.05).to_numpy() for side in "ab"]
        values = [f"{prefix}separation_{side}" for side in "ab"]
        by_layer = [of_layer[values].corr(method="spearman").iloc[0, 1] for _, of_layer in both.groupby("layer")]
        rho = both[values].corr(method="spearman").iloc[0, 1]
        yield f"{name} test, {len(both)} channels: same tier {float((tiers[0].array == tiers[1].array).mean()):.2f}"
        for word, answers in (("called", called), ("p <= .05", hits)):
            n_both, (n_a, n_b) = int((answers[0] & answers[1]).sum()), (int(side.sum()) for side in answers)
            yield f"  {word}: {n_a} and {n_b}, in both {n_both}, kappa {cohen_kappa_score(*answers):.2f}"
        yield f"  rho of separation {rho:.2f}, mean of layers {float(np.nanmean(by_layer)):.2f}"


def main() -> None:
    """Prints the agreement of the first run with each other one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+")
    first, *others = parser.parse_args().runs
    one = Results(first).map
    for address in others:
        print(f"\n{first} and {address}")
        print("\n".join(lines(one, Results(address).map)))


if __name__ == "__main__":
    main()
