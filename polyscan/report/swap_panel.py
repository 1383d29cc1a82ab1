"""The panel of a unit's patch swaps: each cluster with an image before and after, and its effects by condition."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from polyscan.maps.atlas import Cluster, Panel, Tile
from polyscan.maps.numbers import number_text

UnitRows = Mapping[str, np.ndarray]
Boxes = Mapping[int, tuple[int, int, int, int]]
WORDS = {
    "aligned": "its patches",
    "other_unit": "patches of other units",
    "random": "random patches",
    "elsewhere": "its patches elsewhere",
    "ablated_elsewhere": "plain patches elsewhere",
}
REASONS = {
    "no donors": "no image outside the evidence is nearest to it",
    "no recipients": "no image lies in the middle of the unit's activations",
}


def swap_panel(causes: UnitRows, swaps: UnitRows, boxes: Boxes, letters: Mapping[int, str]) -> Panel:
    """The panel.

    Args:
        causes: the unit's rows of `causes` with q, in the table's order.
        swaps: its rows of `swaps`.
        boxes: of its pictures in the sprite, by item of `tiles`.
        letters: how the page names each cluster of its exemplars; empty if it shows others.
    """
    n = len(causes["cluster"])
    facts = [
        ("pasted into", f"{int(causes['n_recipients'].max())} images that are not in the evidence"),
        ("patch", f"{causes['patch_y'][0]} x {causes['patch_x'][0]} px"),
        ("changes", "in sd of the unit, with 95 % intervals"),
    ]
    return Panel("swaps", n, facts, [_cluster(place, causes, swaps, boxes, letters) for place in range(n)])


def _cluster(place: int, causes: UnitRows, swaps: UnitRows, boxes: Boxes, letters: Mapping[int, str]) -> Cluster:
    row = {name: column[place] for name, column in causes.items()}
    evidence, cluster = str(row["evidence"]), int(row["cluster"])
    of_cluster = (swaps["evidence"] == evidence) & (swaps["cluster"] == cluster)
    lines = zip(*(swaps[name][of_cluster].tolist() for name in ("condition", "effect", "low", "high")), strict=True)
    names = [(_name(evidence, cluster, letters), _verdict(row))]
    names += [(WORDS[condition], _change(*numbers)) for condition, *numbers in lines]
    captions = ((2 * place, "before", "an image as it was"), (2 * place + 1, "after", "the same with a patch"))
    tiles = [Tile(*boxes[item], caption, title) for item, caption, title in captions if item in boxes]
    return Cluster(int(row["n_recipients"]), tiles, names)


def _name(evidence: str, cluster: int, letters: Mapping[int, str]) -> str:
    if evidence != "exemplars":
        return f"second test, part {cluster + 1}"
    return f"cluster {letters[cluster]}" if cluster in letters else f"best split, cluster {cluster + 1}"


def _verdict(row: Mapping[str, Any]) -> str:
    if row["absent"]:
        return f"not tested: {REASONS[str(row['absent'])]}"
    says = "drives the unit" if row["is_causal"] else "not shown to drive it"
    return f"{says} (q {number_text(float(row['q']))}, {row['n_donors']} donors)"


def _change(mean: float, low: float, high: float) -> str:
    return f"{mean:+.2f}" if math.isnan(low) else f"{mean:+.2f} [{low:+.2f}, {high:+.2f}]"
