"""Rows of the tables `swaps` and `causes`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from polyscan.stages.swap.effects import CONDITIONS, ClusterEffect
from polyscan.tables import Columns
from polyscan.tables.keys import unit_columns
from polyscan.units import Layer
from polyscan.vision.framing import Size

NO_DONORS, NO_RECIPIENTS = "no donors", "no recipients"


@dataclass(frozen=True)
class ClusterRow:
    """One cluster of one unit.

    Args:
        channel: of the unit.
        evidence: in which the cluster was found.
        cluster: its number.
        patch: height and width of its patches in px.
        effect: what they did; None if none were pasted.
        n_recipients: images that they were pasted into.
        absent: why none were pasted.
        before: an image as it was, as JPEG.
        after: the same with its patch.
    """

    channel: int
    evidence: str
    cluster: int
    patch: Size
    effect: ClusterEffect | None = None
    n_recipients: int = 0
    absent: str = ""
    before: bytes = b""
    after: bytes = b""


def swap_columns(layer: Layer, rows: Sequence[ClusterRow]) -> Columns:
    """One row for each condition of the clusters whose patches were pasted."""
    lines = [(row, row.effect, name) for row in rows if row.effect is not None for name in CONDITIONS]
    return {
        **_keys(layer, [row for row, _, _ in lines]),
        "condition": [name for _, _, name in lines],
        "n": [row.n_recipients for row, _, _ in lines],
        "effect": [effect.changes[name].mean for _, effect, name in lines],
        "low": [effect.changes[name].low for _, effect, name in lines],
        "high": [effect.changes[name].high for _, effect, name in lines],
        "p": [effect.p.get(name, math.nan) for _, effect, name in lines],
    }


def cause_columns(layer: Layer, rows: Sequence[ClusterRow]) -> Columns:
    """One row for each cluster."""
    effects = [row.effect for row in rows]
    return {
        **_keys(layer, rows),
        "n_donors": [effect.n_donors if effect else 0 for effect in effects],
        "n_recipients": [row.n_recipients for row in rows],
        "patch_y": [row.patch[0] for row in rows],
        "patch_x": [row.patch[1] for row in rows],
        **{
            name: [getattr(effect.margin, field) if effect else math.nan for effect in effects]
            for name, field in (("margin", "mean"), ("margin_low", "low"), ("margin_high", "high"))
        },
        "p": [effect.largest_p if effect else math.nan for effect in effects],
        "absent": [row.absent for row in rows],
        "before": [row.before for row in rows],
        "after": [row.after for row in rows],
    }


def _keys(layer: Layer, rows: Sequence[ClusterRow]) -> Columns:
    return {
        **unit_columns(layer, np.array([row.channel for row in rows], dtype=np.int32)),
        "evidence": [row.evidence for row in rows],
        "cluster": [row.cluster for row in rows],
    }
