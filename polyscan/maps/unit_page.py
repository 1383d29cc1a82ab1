"""The page of single units: one shell for all of them, filled from the unit's data that its address names."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from markupsafe import Markup

from polyscan.maps.atlas import Atlas
from polyscan.maps.shell import page
from polyscan.maps.unit_data import unit_index

SCRIPTS = (
    *("packed.js", "strip.js", "blocks.js", "tiles.js"),
    *("unit_marks.js", "unit_names.js", "unit_charts.js", "unit_parts.js", "unit.js"),
)
"""All that the page runs; it lies inside the page, which then loads neither the map's script nor the layers'."""
EXPLANATIONS = {
    "one": "its exemplars are not more split than those of one-exemplar read-outs of its layer as homogeneous as they.",
    "several": "its exemplars are more split than those of one-exemplar read-outs of its layer as homogeneous as they, "
    "at the run's false discovery rate over all units.",
    "several, certified": "its exemplars are more split than those of one-exemplar read-outs of its layer as "
    "homogeneous as they, and a valley parts the two clusters, whatever the null.",
    "incoherent": "its exemplars are no more alike than random ones, so there is nothing to count.",
    "off range": "no null sets are as homogeneous as its exemplars, so its p says nothing.",
    "saturated": "more images tie at its largest peak than are kept, so which are its exemplars is arbitrary.",
    "dead": "it never says anything.",
    "": "there is no null for this unit.",
}
"""What a verdict means, in a sentence; other words stand alone."""


def unit_page(atlas: Atlas) -> bytes:
    """The shell."""
    words = {"atlas": atlas, "data": page_index(atlas), "script": inside(SCRIPTS)}
    return page("unit.html.j2", root="", title=f"{atlas.title} · polyscan", **words)


def page_index(atlas: Atlas) -> dict[str, Any]:
    """What the page knows before any unit's data are there; `verdicts` explain the words that are said of units."""
    return {**unit_index(atlas), "verdicts": EXPLANATIONS if len(atlas.verdict) else {}}


def inside(names: Sequence[str]) -> Markup:
    """Own assets one after another, as they can stand inside a style or script element: they close neither."""
    folder = files("polyscan.maps") / "assets"
    return Markup("\n".join((folder / name).read_text(encoding="utf-8") for name in names))  # our own files
