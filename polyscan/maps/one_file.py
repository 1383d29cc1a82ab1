"""One unit's page as one file, to be mailed or kept: it opens alone, in an empty folder, and leads nowhere."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

from polyscan.errors import suggestion
from polyscan.maps.atlas import Atlas, UnitCard
from polyscan.maps.templating import page
from polyscan.maps.unit_data import Standing, unit_entry
from polyscan.maps.unit_page import SCRIPTS, inside, page_index

STYLES = ("polyscan.css", "unit.css")
PNG = b"\x89PNG"


def one_file(atlas: Atlas, layer: str, channel: int) -> bytes:
    """The page of one unit with its style, scripts, numbers and pictures inside.

    Args:
        atlas: whose unit.
        layer: the unit's layer.
        channel: its index there.

    Raises:
        ValueError: if the atlas has no such layer, or the layer no such unit.
    """
    row = unit_row(atlas, layer, channel)
    words = {
        "atlas": atlas,
        "data": alone(page_index(atlas)),
        "block": unit_block(atlas, row),
        "style": inside(STYLES),
        "script": inside(SCRIPTS),
    }
    return page("one_file.html.j2", title=f"{layer}:{channel} · {atlas.title}", **words)


def unit_row(atlas: Atlas, layer: str, channel: int) -> int:
    """The unit's place in the atlas' arrays."""
    names = [one.name for one in atlas.layers]
    if layer not in names:
        raise ValueError(
            f"layer {layer!r} is not in {atlas.title}; {suggestion(layer, names)}. Name one of its layers."
        )
    of_layer = atlas.layer_index == names.index(layer)
    rows = np.flatnonzero(of_layer & (atlas.channel == channel))
    if not len(rows):
        known = np.sort(atlas.channel[of_layer])
        holds = f"it holds {len(known)} units, {known[0]} to {known[-1]}" if len(known) else "it holds none"
        raise ValueError(f"{layer} has no unit {channel} in this run; {holds}. Name one of these.")
    return int(rows[0])


def unit_block(atlas: Atlas, row: int) -> dict[str, Any]:
    """What the page draws: the unit's layer's null and the unit itself, its sprite written out as an address."""
    index, channel = int(atlas.layer_index[row]), int(atlas.channel[row])
    name = atlas.layers[index].name
    cards = {card.channel: card for card in atlas.gallery.cards(name)}
    entry = unit_entry(atlas, Standing.of(atlas), row, cards.get(channel) or UnitCard(name, channel))
    content = atlas.gallery.sprite(name, channel) if entry["sprite"] else None
    sprite = None if content is None else {**entry["sprite"], "address": data_address(content)}
    null = atlas.gallery.null(name)
    sets = null and {"score": null.score, "low": null.low, "width": null.width, "counts": list(null.counts)}
    return {"unit": [index, channel], "null": sets, "units": {str(channel): {**entry, "sprite": sprite}}}


def data_address(content: bytes) -> str:
    """A JPEG or PNG as an address that holds it."""
    kind = "png" if content.startswith(PNG) else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"


def alone(index: dict[str, Any]) -> dict[str, Any]:
    """The index without what leads to other units: their layers' names are all that is told."""
    layers = [{"name": layer["name"], "n_units": layer["n_units"], "channels": None} for layer in index["layers"]]
    return {**index, "layers": layers}
