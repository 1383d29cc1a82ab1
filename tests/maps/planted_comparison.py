"""A comparison of runs with planted numbers and with names that would break a page."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from maps.writing import put

from polyscan.maps.atlas import MapColumn
from polyscan.maps.comparison import (
    Changed,
    Comparison,
    Differing,
    LayerDifference,
    LayerMean,
    NetworkMean,
    OverallDifference,
    Pairing,
    Rho,
    RunFacts,
    UnitTable,
    Verdicts,
)
from polyscan.maps.comparison_page import comparison_files

NASTY = ("plain", "<script>alert(1)</script>", "größe \"&'\N{SNOWMAN}", "=1+1")
LAYERS = ("conv1", "<b>mid</b>", "third.0.conv", "head")
COLUMNS = (
    MapColumn("gap", "gap", "how much closer"),
    MapColumn("several_share", "called several", "share of judged units"),
    MapColumn("p", "p <i>", "chance", "p"),
)
METRICS = {"accuracy": (0.1, 0.5, 0.8, 0.9), "step": (0.0, 100.0, 1000.0, 5000.0)}


def comparison(n_runs: int = 3, *, n_layers: int = 4, is_one_network: bool = True) -> Comparison:
    """Runs with planted numbers and names that would break a page."""
    generator = np.random.default_rng(0)
    names = [NASTY[at] if at < len(NASTY) else f"run {at}" for at in range(n_runs)]
    layers = [LAYERS[at] if at < len(LAYERS) else f"layer{at}" for at in range(n_layers)]
    means: list[LayerMean] = []
    differences: list[LayerDifference] = []
    for run in range(n_runs):
        for column in COLUMNS:
            for depth, layer in enumerate(layers):
                mean, half = generator.normal(0.1 * run, 0.2), generator.uniform(0.01, 0.1)
                numbers = (mean, mean - half, mean + half)
                means.append(LayerMean(run, column.name, layer, depth, depth / (n_layers - 1), 10 + depth, *numbers))
                if run:
                    change = numbers if depth else (0.0, 0.0, 0.0)
                    differences.append(LayerDifference(run, column.name, layer, 9, *change, True, change[0] / 0.3))
    network = [
        NetworkMean(run, c.name, n_layers, 0.1 * run, 0.1 * run - 0.05, 0.1 * run + 0.05)
        for run in range(n_runs)
        for c in COLUMNS
    ]
    overall = [
        OverallDifference(run, c.name, n_layers, 0.1 * run, 0.01, 0.2, 0.1, math.nan, is_claimed=run == 1)
        for run in range(1, n_runs)
        for c in COLUMNS
    ]
    changed = Changed(
        "<b>mid</b>:3", (0.1, 0.5), 0.4, (0.5, 0.01), (math.nan, 0.04), ("suggestive", "several, certified")
    )
    verdicts = Verdicts(["dead", "suggestive", "several"], [[1, 0, 0], [0, 1200, 4], [0, 2, 7]])
    rhos = [Rho("gap", "gap", 0.5, 0.4, 0.6, 40, 0.3), Rho("p", "p <i>", math.nan, math.nan, math.nan, 4, math.nan)]
    table = UnitTable(1214, 1213, {"gap": [changed], "PSI": []}, verdicts, rhos)
    return Comparison(
        title=" · ".join(names[:3]),
        runs=[
            RunFacts(name, f"runs/{name}", "toy:<u>net</u>", "w.pt", "abc", "photos, 60", "own", n_layers, 50, 2)
            for name in names
        ],
        statements=[f"Units' gap: no difference between {names[0]} and {names[1]} is claimed."],
        warnings=["The runs' images differ."],
        differing=[Differing("images.digest", [str(at) for at in range(n_runs)], "images")],
        columns=COLUMNS,
        layers=layers if is_one_network else [],
        means=means,
        network=network,
        differences=differences,
        overall=overall,
        pairings=[
            Pairing(run, f"why <{run}>", table if run == 1 else None) for run in range(1, n_runs)
        ],
        metrics={name: [*values, *range(6, n_runs + 2)][:n_runs] for name, values in METRICS.items()},
        notes=["a note"],
        seed=0,
        draws=1000,
    )  # fmt: skip


def written(given: Comparison, folder: Path) -> Path:
    """Its pages in that folder."""
    return put(comparison_files(given), folder)
