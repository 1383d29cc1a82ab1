"""The page of single units: one shell for all of them, filled from the unit's data that its address names."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from markupsafe import Markup

from polyscan.maps.atlas import Atlas
from polyscan.maps.templating import page
from polyscan.maps.unit_data import unit_index

SCRIPTS = (
    *("packed.js", "strip.js", "blocks.js", "tiles.js"),
    *("unit_marks.js", "unit_names.js", "unit_charts.js", "unit_parts.js", "unit.js"),
)
"""All that the page runs; it lies inside the page, which then loads neither the map's script nor the layers'."""


def unit_page(atlas: Atlas) -> bytes:
    """The shell."""
    words = {"atlas": atlas, "data": page_index(atlas), "script": inside(SCRIPTS)}
    return page("unit.html.j2", root="", title=f"{atlas.title} · polyscan", **words)


def page_index(atlas: Atlas) -> dict[str, Any]:
    """What the page knows before any unit's data are there; `verdicts` explain the words that are said of units."""
    return {**unit_index(atlas), "verdicts": dict(atlas.meanings)}


def inside(names: Sequence[str]) -> Markup:
    """Own assets one after another, as they can stand inside a style or script element: they close neither."""
    folder = files("polyscan.maps") / "assets"
    return Markup("\n".join((folder / name).read_text(encoding="utf-8") for name in names))  # our own files
