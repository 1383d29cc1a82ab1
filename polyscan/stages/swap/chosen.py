"""Which units' patches are swapped, and by which evidence their clusters are told apart."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from polyscan.job import Job
from polyscan.run import Run
from polyscan.shards import seed
from polyscan.units import Layer

EXEMPLARS, DEFLATED = "exemplars", "deflated"
NO_PROOF = frozenset(("null", "down"))
"""Roles of virtual units that are not swapped: they tell nothing of power or error."""

Chosen = Mapping[str, Mapping[int, tuple[str, ...]]]
"""By layer and channel: the kinds of evidence whose clusters are swapped."""


def chosen_units(job: Job, run: Run) -> Chosen:
    """Live units that a test calls at the job's level, or all; of virtual layers, a seeded sample of proof.

    A unit is taken with the clusters of each test that calls it. Where all units are taken, so are the clusters of
    everyone's exemplars.
    """
    called = _called(job, run)
    units = run.read("units", ["layer", "channel", "is_dead"])
    live = units[~units["is_dead"]].groupby("layer", sort=False)["channel"].agg(list).to_dict()
    chosen: dict[str, dict[int, tuple[str, ...]]] = {}
    for layer in run.layers():
        of_layer = called.get(layer.name, {})
        of_exemplars = _by_exemplars(job, layer, live.get(layer.name, []))
        wanted = of_exemplars if not layer.is_judged else [*of_exemplars, *of_layer]
        found = {
            channel: tuple(
                kind
                for kind in (EXEMPLARS, DEFLATED)
                if kind in of_layer.get(channel, ()) or (kind == EXEMPLARS and channel in of_exemplars)
            )
            for channel in sorted(set(wanted) & set(live.get(layer.name, [])))
        }
        if found:
            chosen[layer.name] = found
    return chosen


def _called(job: Job, run: Run) -> dict[str, dict[int, set[str]]]:
    """By layer and channel: the evidence of the tests whose p is at most the job's level."""
    names = ["layer", "channel", "evidence", "is_main", "null", "p"]
    rows = run.read("scores", names, where={"score": "separation"})
    rows = rows[(rows["is_main"] | (rows["evidence"] == DEFLATED)) & (rows["p"] <= job.swap.level)]
    called: dict[str, dict[int, set[str]]] = {}
    for layer, channel, evidence in rows[["layer", "channel", "evidence"]].itertuples(index=False):
        called.setdefault(str(layer), {}).setdefault(int(channel), set()).add(str(evidence))
    return called


def _by_exemplars(job: Job, layer: Layer, live: list[int]) -> list[int]:
    """Units that are taken with the clusters of their exemplars, whatever their p."""
    if layer.is_judged:
        return live if job.swap.units == "all" else []
    if layer.role in NO_PROOF:
        return []
    generator = np.random.default_rng(seed(job.seed, "swapped proof", layer.name))
    drawn = generator.permutation(np.array(live, dtype=np.int64))[: job.swap.virtual_units]
    return sorted(drawn.tolist())


def evidence_images(run: Run, layer: str, channels: range, n_half: int) -> pd.DataFrame:
    """Images of each unit's evidence: `channel`, `evidence`, `image`."""
    columns = ["channel", "rank", "image"]
    first, second = (
        run.unit_rows(table, layer, columns, channels=channels) for table in ("exemplars", "second_exemplars")
    )
    deflated = pd.concat([rows[rows["rank"] < n_half] for rows in (first, second)])
    parts = [first.assign(evidence=EXEMPLARS), deflated.assign(evidence=DEFLATED)]
    return pd.concat(parts, ignore_index=True)[["channel", "evidence", "image"]]
