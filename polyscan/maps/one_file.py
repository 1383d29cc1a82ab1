"""One unit's page as one file that can be mailed or stored: it needs no other file and has no links."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

from polyscan.errors import suggestion
from polyscan.maps.atlas import Atlas, UnitCard
from polyscan.maps.templating import page
from polyscan.maps.unit_data import Standing, null_entry, unit_entry
from polyscan.maps.unit_page import SCRIPTS, asset_text, page_index

STYLES = ("polyscan.css", "unit.css")
PNG = b"\x89PNG"


def one_file(atlas: Atlas, layer: str, channel: int) -> bytes:
    """The page of one unit, including its style, scripts, numbers and pictures.

    Args:
        atlas: the atlas that has the unit.
        layer: name of the unit's layer.
        channel: the unit's channel.

    Raises:
        ValueError: if the atlas has no such layer, or the layer no such unit.
    """
    row = unit_row(atlas, layer, channel)
    context = {
        "atlas": atlas,
        "data": index_without_links(page_index(atlas)),
        "block": unit_block(atlas, row),
        "style": asset_text(STYLES),
        "script": asset_text(SCRIPTS),
    }
    return page("one_file.html.j2", title=f"{layer}:{channel} · {atlas.title}", **context)


def unit_row(atlas: Atlas, layer: str, channel: int) -> int:
    """The unit's position in the arrays of the atlas."""
    names = [row.name for row in atlas.layers]
    if layer not in names:
        raise ValueError(
            f"layer {layer!r} is not in {atlas.title}; {suggestion(layer, names)}. Name one of its layers."
        )
    in_layer = atlas.layer_index == names.index(layer)
    rows = np.flatnonzero(in_layer & (atlas.channel == channel))
    if not len(rows):
        known = np.sort(atlas.channel[in_layer])
        holds = f"it holds {len(known)} units, {known[0]} to {known[-1]}" if len(known) else "it holds no units"
        raise ValueError(f"{layer} has no unit {channel} in this run; {holds}. Name one of these.")
    return int(rows[0])


def unit_block(atlas: Atlas, row: int) -> dict[str, Any]:
    """What the page draws: the null of the layer, and the unit with its sprite as a data address."""
    index, channel = int(atlas.layer_index[row]), int(atlas.channel[row])
    name = atlas.layers[index].name
    cards = {card.channel: card for card in atlas.gallery.cards(name)}
    entry = unit_entry(atlas, Standing.of(atlas), row, cards.get(channel) or UnitCard(name, channel))
    content = atlas.gallery.sprite(name, channel) if entry["sprite"] else None
    sprite = None if content is None else {**entry["sprite"], "address": data_address(content)}
    null = null_entry(atlas.gallery.null(name))
    return {"unit": [index, channel], "null": null, "units": {str(channel): {**entry, "sprite": sprite}}}


def data_address(content: bytes) -> str:
    """A JPEG or PNG as a data address."""
    kind = "png" if content.startswith(PNG) else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"


def index_without_links(index: dict[str, Any]) -> dict[str, Any]:
    """The index without anything that leads to other units: only names and sizes of the layers."""
    layers = [{"name": layer["name"], "n_units": layer["n_units"], "channels": None} for layer in index["layers"]]
    return {**index, "layers": layers}
