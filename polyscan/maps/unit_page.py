"""The page of single units: one shell for all of them, filled from the unit's data that its address names."""

from __future__ import annotations

from typing import Any

from polyscan.maps.atlas import Atlas
from polyscan.maps.shell import page
from polyscan.maps.unit_data import unit_index

EXPLANATIONS = {
    "one": "its exemplars are not more split than those of one-exemplar read-outs of its layer that are as homogeneous.",
    "several": "its exemplars are more split than those of one-exemplar read-outs of its layer that are as homogeneous, "
    "at the run's false discovery rate over all units.",
    "several, certified": "its exemplars are more split than those of one-exemplar read-outs of its layer that are as "
    "homogeneous, and a valley parts the two clusters, whatever the null.",
    "incoherent": "its exemplars are no more alike than random ones, so there is nothing to count.",
    "off range": "no null sets are as homogeneous as its exemplars, so its p says nothing.",
    "saturated": "more images tie at its largest peak than are kept, so which are its exemplars is arbitrary.",
    "dead": "it never says anything.",
    "": "there is no null for this unit.",
}
"""What a verdict means, in a sentence; other words stand alone."""


def unit_page(atlas: Atlas) -> bytes:
    """The shell."""
    return page("unit.html.j2", root="", title=f"{atlas.title} · polyscan", atlas=atlas, data=page_index(atlas))


def page_index(atlas: Atlas) -> dict[str, Any]:
    """What the page knows before any unit's data are there; `verdicts` explain the words that are said of units."""
    return {**unit_index(atlas), "verdicts": EXPLANATIONS if len(atlas.verdict) else {}}
