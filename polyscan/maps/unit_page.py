"""The unit page: one HTML file for all units, which a script fills with the unit that the address names."""

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
"""All scripts of the page; they are part of it, so that it need not load the scripts of the map and the layer pages."""


def unit_page(atlas: Atlas) -> bytes:
    """The page without a unit."""
    context = {"atlas": atlas, "data": page_index(atlas), "script": asset_text(SCRIPTS)}
    return page("unit.html.j2", root="", title=f"{atlas.title} · polyscan", **context)


def page_index(atlas: Atlas) -> dict[str, Any]:
    """What the page knows before it loads a unit's data; `verdicts` and `seconds` explain the verdicts."""
    return {**unit_index(atlas), "verdicts": dict(atlas.meanings), "seconds": dict(atlas.second_meanings)}


def asset_text(names: Sequence[str]) -> Markup:
    """These assets, one after another; none of them closes the style or script element that it is put in."""
    folder = files("polyscan.maps") / "assets"
    return Markup("\n".join((folder / name).read_text(encoding="utf-8") for name in names))  # trusted: our own files
