"""The page of single units: one shell for all of them, filled from the unit's data that its address names."""

from __future__ import annotations

from polyscan.maps.atlas import Atlas
from polyscan.maps.shell import page
from polyscan.maps.unit_data import unit_index


def unit_page(atlas: Atlas) -> bytes:
    """The shell."""
    return page("unit.html.j2", root="", title=f"{atlas.title} · polyscan", atlas=atlas, data=unit_index(atlas))
