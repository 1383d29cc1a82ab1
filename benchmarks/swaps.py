"""How often patch swaps call a planted cluster a cause, and one whose patches are those of other units.

    python -m benchmarks.swaps RUN [UNITS]

RUN is a scored run; nothing in it is changed. Up to UNITS planted units of each real layer (20) are swapped twice: with
their clusters' own donors (power), and with exemplars of random other units of the layer in place of these. A test that
keeps its level calls no more than .05 of the latter.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np
import pandas as pd

from polyscan.inputs import pinned_threads, settled_job
from polyscan.job import Job
from polyscan.results import Results
from polyscan.run import Run
from polyscan.shards import Shard
from polyscan.stages import swap
from polyscan.stages.swap.donors import DonorFinder
from polyscan.stats.significance import benjamini_hochberg, wilson_interval
from polyscan.units import Layer

LEVEL = 0.05


class DecoyWorker(swap.Worker):
    """Pastes exemplars of random other units wherever those of a cluster would be pasted."""

    def __init__(self, job: Job, run: Run) -> None:
        super().__init__(job, run)
        self.donors = Decoys(self)


class Decoys(DonorFinder):
    """Finds donors, and then takes others in their place."""

    def __init__(self, worker: swap.Worker) -> None:
        super().__init__(worker.job, worker.run, worker.network, worker.donors.evidence)
        self.worker = worker

    def assigned(self, layer: Layer, wanted: Any, rows: pd.DataFrame, views: Any) -> pd.DataFrame:
        """The candidates with their clusters, but with the images and peaks of other units."""
        rows = super().assigned(layer, wanted, rows, views).reset_index(drop=True)
        others = self.run.unit_rows("exemplars", layer.parent, ["image", "y", "x"])
        drawn = np.random.default_rng(len(rows)).integers(len(others), size=len(rows))
        others = others.iloc[drawn].reset_index(drop=True)
        views.update(self.worker._views(others["image"]))
        return rows.assign(**{name: others[name] for name in others})


def measured(job: Job, run: Run, kind: type[swap.Worker]) -> pd.DataFrame:
    """Rows of `causes` of the planted units, and the seconds that each took."""
    worker, order = kind(job, run), run.unit_order()
    frames: list[pd.DataFrame] = []
    for shard in swap.shards(job, run):
        layer, _ = order.within_layer(shard.start, shard.stop)
        if layer.role == "planted":
            frames.append(_rows(worker, shard))
    return pd.concat(frames, ignore_index=True)


def _rows(worker: swap.Worker, shard: Shard) -> pd.DataFrame:
    started = time.process_time()
    causes = worker(shard)["causes"]
    rows = pd.DataFrame({name: list(causes[name]) for name in ("parent", "channel", "evidence", "p")})
    return rows.assign(seconds=(time.process_time() - started) / max(1, len(rows)))


def line(words: str, rows: pd.DataFrame) -> str:
    """The shares of tested clusters with p and with q at most .05."""
    p = rows["p"].dropna().to_numpy(np.float64)
    by_p, by_q = (wilson_interval(int((values <= LEVEL).sum()), len(p)) for values in (p, benjamini_hochberg(p)))
    shares = "  ".join(f"{one.mean:.3f} [{one.low:.3f}, {one.high:.3f}]" for one in (by_p, by_q))
    return f"{words:<32} {len(p):>5} {shares}  {rows['seconds'].mean():.2f}"


def main(address: str, units: int = 20) -> None:
    """Prints both shares, layer by layer and over all layers."""
    results = Results(address)
    job = settled_job(results.job)
    settings = {"enabled": True, "virtual_units": units, "units": "called"}
    job = job.model_copy(update={"swap": job.swap.model_copy(update=settings)})
    print("clusters of planted units, tested; share p <= .05, q <= .05; CPU s a cluster")
    with pinned_threads(job):
        for words, kind in (("own patches", swap.Worker), ("patches of other units", DecoyWorker)):
            rows = measured(job, results.run, kind)
            for layer, of_layer in rows.groupby("parent", sort=False):
                print(line(f"{words}, {layer}", of_layer), flush=True)
            print(line(words, rows), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:3]))
