"""Units' data as scripts, 16 units each, that `unit.html` and the layer pages load when they are looked at.

A page opened from disk may load scripts and pictures and nothing else, so data are scripts: each calls
`polyscan.deliver(block)` with

    {"schema": 1, "run": str, "layer": place, "block": number, "null": {...} | null, "units": {channel: unit}}

and a unit is

    values   one number per column of the map, in its order, as float32 holds it; null where there is none
    verdict  word or phrase, "" where nothing is said      dead      true or false
    facts    [[label, text], ...]                            missing   [sentence, ...]
    null     {"z", "value", "mean", "sd"} or null; the block's own `null` is {"score", "low", "width", "counts"}
    elbow    {"distances": [null, .31, ...], "count", "stop"} or null
    plane    {"n", "data"}: base64 of x, y, cluster as bytes, one triple per exemplar; 0..255 stands for -1..1; or null
    nearest  [[layer's place, channel, cosine], ...]
    more, less    [layer's place, channel] of the next unit with more and with less of the first column, or null
    rank     [place among the live scored units by the first column, most first (1 is the most), how many there are]
    sprite   {"address", "width", "height"} or null; the address is relative to the maps folder
    panels   [{"evidence", "size", "facts": [[label, text]], "clusters": [
                 {"size", "names": [[name, how well]], "tiles": [[left, top, width, height, caption, title], ...]}]}]
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from polyscan.maps import urls
from polyscan.maps.atlas import Atlas, Cluster, Panel, Plane, UnitCard
from polyscan.maps.network_map import packed_counts, unit_order
from polyscan.maps.templating import script_json

SCHEMA = 1
BLOCK_UNITS = urls.BLOCK_UNITS


@dataclass(frozen=True, eq=False)
class Standing:
    """Where units stand in the whole network by the map's first column: live, scored ones alone."""

    place: Mapping[tuple[int, int], int]
    units: Sequence[tuple[int, int]]

    @classmethod
    def of(cls, atlas: Atlas) -> Standing:
        """From most to least; ties in unit order."""
        order = unit_order(atlas)
        values = np.asarray(atlas.values[atlas.columns[0].name], dtype=np.float64)[order]
        order = order[np.isfinite(values) & ~atlas.is_dead[order].astype(bool)]
        values = np.asarray(atlas.values[atlas.columns[0].name], dtype=np.float64)[order]
        order = order[np.argsort(-values, kind="stable")]
        units = list(zip(atlas.layer_index[order].tolist(), atlas.channel[order].tolist(), strict=True))
        return cls({unit: at for at, unit in enumerate(units)}, units)

    def beside(self, unit: tuple[int, int]) -> dict[str, Any]:
        """Its rank and its neighbours in it."""
        at = self.place.get(unit)
        if at is None:
            return {"rank": None, "more": None, "less": None}
        return {
            "rank": [at + 1, len(self.units)],
            "more": list(self.units[at - 1]) if at > 0 else None,
            "less": list(self.units[at + 1]) if at + 1 < len(self.units) else None,
        }


def block_script(atlas: Atlas, standing: Standing, index: int, block: int, cards: Sequence[UnitCard]) -> bytes:
    """The script of one block.

    Args:
        atlas: whose units.
        standing: of this atlas.
        index: the layer's place.
        block: which 16 channels.
        cards: of its units, or of more.
    """
    layer = atlas.layers[index]
    by_channel = {card.channel: card for card in cards}
    rows = np.flatnonzero((atlas.layer_index == index) & (atlas.channel // BLOCK_UNITS == block))
    units: dict[str, Any] = {}
    for row in rows[np.argsort(atlas.channel[rows], kind="stable")]:
        channel = int(atlas.channel[row])
        card = by_channel.get(channel) or UnitCard(layer.name, channel)
        units[str(channel)] = unit_entry(atlas, standing, int(row), card)
    null = atlas.gallery.null(layer.name)
    sets = null and {"score": null.score, "low": null.low, "width": null.width, "counts": list(null.counts)}
    content = {"schema": SCHEMA, "run": atlas.run, "layer": index, "block": block, "null": sets, "units": units}
    return f"polyscan.deliver({script_json(content)});\n".encode()


def unit_entry(atlas: Atlas, standing: Standing, row: int, card: UnitCard) -> dict[str, Any]:
    """One unit as the pages read it; `row` is its place in the atlas' arrays."""
    index, channel = int(atlas.layer_index[row]), int(atlas.channel[row])
    places = {layer.name: place for place, layer in enumerate(atlas.layers)}
    nearest = [[places[layer], other, short(cosine)] for layer, other, cosine in card.nearest if layer in places]
    sprite = None
    if card.sprite is not None:
        address = urls.sprite_address(index, len(atlas.layers), channel)
        sprite = {"address": address, "width": card.sprite[0], "height": card.sprite[1]}
    null = card.null and {"z": card.null.z, "value": card.null.value, "mean": card.null.mean, "sd": card.null.sd}
    elbow = card.elbow and {
        "distances": [short(distance) for distance in card.elbow.distances],
        "count": card.elbow.count,
        "stop": card.elbow.stop,
    }
    return {
        "values": [held(column.kind, atlas.values[column.name][row]) for column in atlas.columns],
        "verdict": str(atlas.verdict[row]) if len(atlas.verdict) else "",
        "dead": bool(atlas.is_dead[row]),
        "facts": [list(pair) for pair in card.facts],
        "missing": list(card.missing),
        "null": null,
        "elbow": elbow,
        "plane": packed_plane(card.plane) if card.plane is not None else None,
        "nearest": nearest,
        **standing.beside((index, channel)),
        "sprite": sprite,
        "panels": [panel_entry(panel) for panel in card.panels],
    }


def panel_entry(panel: Panel) -> dict[str, Any]:
    """One kind of evidence."""
    facts = [list(pair) for pair in panel.facts]
    clusters = [cluster_entry(cluster) for cluster in panel.clusters]
    return {"evidence": panel.evidence, "size": panel.size, "facts": facts, "clusters": clusters}


def cluster_entry(cluster: Cluster) -> dict[str, Any]:
    """One cluster."""
    tiles = [[tile.left, tile.top, tile.width, tile.height, tile.caption, tile.title] for tile in cluster.tiles]
    return {"size": cluster.size, "names": [list(pair) for pair in cluster.names], "tiles": tiles}


def held(kind: str, value: float) -> float | int | None:
    """The value as the map holds it: whole, or the shortest decimal that is the same float32."""
    number = float(value)
    if not math.isfinite(number):
        return None
    return int(number) if kind == "count" else float(str(np.float32(number)))


def short(value: float) -> float | None:
    """Four digits: what charts are drawn from; None for what is no number."""
    return float(f"{value:.4g}") if math.isfinite(value) else None


def packed_plane(plane: Plane) -> dict[str, Any]:
    """Three bytes per exemplar."""
    at = [np.clip(np.round((np.asarray(axis) + 1) * 127.5), 0, 255) for axis in (plane.x, plane.y)]
    triples = np.stack([*at, np.asarray(plane.cluster)], axis=1).astype(np.uint8)
    return {"n": len(triples), "data": base64.b64encode(triples.tobytes()).decode("ascii")}


def unit_index(atlas: Atlas) -> dict[str, Any]:
    """What `unit.html` knows of the network before any unit's data are there.

    `layers` hold each layer's name, page, number of units (in the network), and the channels that were scanned: all
    where `channels` is null. A channel's block is `channel // 16`.
    """
    names = [layer.name for layer in atlas.layers]
    order = unit_order(atlas)
    layers: list[dict[str, Any]] = []
    for index, (layer, page) in enumerate(zip(atlas.layers, urls.layer_addresses(names), strict=True)):
        channel = atlas.channel[order[atlas.layer_index[order] == index]]
        is_whole = np.array_equal(channel, np.arange(layer.n_units))
        channels = None if is_whole else packed_counts(channel.astype(np.float64))
        layers.append({"name": layer.name, "page": page, "n_units": layer.n_units, "channels": channels})
    columns = [{"name": c.name, "label": c.label, "help": c.help, "kind": c.kind} for c in atlas.columns]
    return {"schema": SCHEMA, "run": atlas.run, "title": atlas.title, "columns": columns, "layers": layers}
