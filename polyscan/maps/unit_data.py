"""Scripts with the data of 16 units each, which `unit.html` and the layer pages load when they show these units.

A page opened from disk may load only scripts and pictures, so data are scripts: each calls `polyscan.deliver(block)`
with

    {"schema": 1, "run": str, "layer": place, "block": number, "null": {...} | null, "units": {channel: unit}}

and a unit is

    values   one number per column of the map, in their order, as float32; null if there is no number
    verdict  word or phrase, "" if there is none           dead      true or false
    second   [verdict of the second test, "" if there is none, the same with the strength of the second part]
    facts    [[label, text], ...]                            missing   [sentence, ...]
    null     {"z", "value", "mean", "sd"} or null; the block's own `null` is {"score", "low", "width", "counts"}
    elbow    {"distances": [null, .31, ...], "count", "stop"} or null
    plane    {"n", "data"}: base64 of x, y, cluster as bytes, one triple per exemplar; 0..255 means -1..1; or null
    nearest  [[place of the layer, channel, cosine], ...]
    more, less    [place of the layer, channel] of the next unit with a higher and a lower first column, or null
    rank     [rank among the live, scored units by the first column (1 is the highest), number of these units]
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
from polyscan.maps.atlas import Atlas, Cluster, ElbowCurve, NullSets, Panel, Plane, UnitCard
from polyscan.maps.network_map import column_words, packed_counts, unit_order
from polyscan.maps.numbers import verdict_with_strength
from polyscan.maps.templating import script_json

SCHEMA = 1
STRENGTH = "second_strength"
"""The column whose number stands beside the verdict of the second test."""
BLOCK_UNITS = urls.BLOCK_UNITS


@dataclass(frozen=True, eq=False)
class Standing:
    """The rank of each live, scored unit in the whole network by the first column of the map."""

    place: Mapping[tuple[int, int], int]
    units: Sequence[tuple[int, int]]

    @classmethod
    def of(cls, atlas: Atlas) -> Standing:
        """The ranks of an atlas, from the highest to the lowest value; ties in unit order."""
        order = unit_order(atlas)
        values = np.asarray(atlas.values[atlas.columns[0].name], dtype=np.float64)[order]
        order = order[np.isfinite(values) & ~atlas.is_dead[order].astype(bool)]
        values = np.asarray(atlas.values[atlas.columns[0].name], dtype=np.float64)[order]
        order = order[np.argsort(-values, kind="stable")]
        units = list(zip(atlas.layer_index[order].tolist(), atlas.channel[order].tolist(), strict=True))
        return cls({unit: place for place, unit in enumerate(units)}, units)

    def rank_entry(self, unit: tuple[int, int]) -> dict[str, Any]:
        """The unit's rank, and the units one rank above and below."""
        place = self.place.get(unit)
        if place is None:
            return {"rank": None, "more": None, "less": None}
        return {
            "rank": [place + 1, len(self.units)],
            "more": list(self.units[place - 1]) if place > 0 else None,
            "less": list(self.units[place + 1]) if place + 1 < len(self.units) else None,
        }


def block_script(atlas: Atlas, standing: Standing, index: int, block: int, cards: Sequence[UnitCard]) -> bytes:
    """The script of one block.

    Args:
        atlas: the atlas that has the units.
        standing: the ranks of this atlas.
        index: place of the layer.
        block: number of the block: channels 16 * block to 16 * block + 15.
        cards: cards of these units; may hold more.
    """
    layer = atlas.layers[index]
    by_channel = {card.channel: card for card in cards}
    rows = np.flatnonzero((atlas.layer_index == index) & (atlas.channel // BLOCK_UNITS == block))
    units: dict[str, Any] = {}
    for row in rows[np.argsort(atlas.channel[rows], kind="stable")]:
        channel = int(atlas.channel[row])
        card = by_channel.get(channel) or UnitCard(layer.name, channel)
        units[str(channel)] = unit_entry(atlas, standing, int(row), card)
    null = null_entry(atlas.gallery.null(layer.name))
    content = {"schema": SCHEMA, "run": atlas.run, "layer": index, "block": block, "null": null, "units": units}
    return f"polyscan.deliver({script_json(content)});\n".encode()


def null_entry(null: NullSets | None) -> dict[str, Any] | None:
    """A layer's null as the pages read it."""
    return null and {"score": null.score, "low": null.low, "width": null.width, "counts": list(null.counts)}


def unit_entry(atlas: Atlas, standing: Standing, row: int, card: UnitCard) -> dict[str, Any]:
    """One unit as the pages read it; `row` is its position in the arrays of the atlas."""
    index, channel = int(atlas.layer_index[row]), int(atlas.channel[row])
    places = {layer.name: place for place, layer in enumerate(atlas.layers)}
    nearest = [[places[name], other, rounded(cosine)] for name, other, cosine in card.nearest if name in places]
    null = card.null and {"z": card.null.z, "value": card.null.value, "mean": card.null.mean, "sd": card.null.sd}
    return {
        "values": [json_number(column.kind, atlas.values[column.name][row]) for column in atlas.columns],
        "verdict": str(atlas.verdict[row]) if len(atlas.verdict) else "",
        "second": [second_verdict(atlas, row), verdict_with_strength(second_verdict(atlas, row), strength(atlas, row))],
        "dead": bool(atlas.is_dead[row]),
        "facts": [list(pair) for pair in card.facts],
        "missing": list(card.missing),
        "null": null,
        "elbow": elbow_entry(card.elbow),
        "plane": packed_plane(card.plane) if card.plane is not None else None,
        "nearest": nearest,
        **standing.rank_entry((index, channel)),
        "sprite": sprite_entry(atlas, index, card),
        "panels": [panel_entry(panel) for panel in card.panels],
    }


def second_verdict(atlas: Atlas, row: int) -> str:
    """The unit's verdict by the second test; "" if it has none."""
    return str(atlas.second_verdict[row]) if len(atlas.second_verdict) else ""


def strength(atlas: Atlas, row: int) -> float:
    """How strong the unit's second part is beside its main one; NaN if unknown."""
    return float(atlas.values[STRENGTH][row]) if STRENGTH in atlas.values else math.nan


def elbow_entry(elbow: ElbowCurve | None) -> dict[str, Any] | None:
    """The spread of a unit's visualizations as the pages read it."""
    if elbow is None:
        return None
    return {"distances": [rounded(d) for d in elbow.distances], "count": elbow.count, "stop": elbow.stop}


def sprite_entry(atlas: Atlas, index: int, card: UnitCard) -> dict[str, Any] | None:
    """Address and size of a unit's sprite; `index` is the place of its layer."""
    if card.sprite is None:
        return None
    address = urls.sprite_address(index, len(atlas.layers), card.channel)
    return {"address": address, "width": card.sprite[0], "height": card.sprite[1]}


def panel_entry(panel: Panel) -> dict[str, Any]:
    """One kind of evidence as the pages read it."""
    facts = [list(pair) for pair in panel.facts]
    clusters = [cluster_entry(cluster) for cluster in panel.clusters]
    return {"evidence": panel.evidence, "size": panel.size, "facts": facts, "clusters": clusters}


def cluster_entry(cluster: Cluster) -> dict[str, Any]:
    """One cluster as the pages read it."""
    tiles = [[tile.left, tile.top, tile.width, tile.height, tile.caption, tile.title] for tile in cluster.tiles]
    return {"size": cluster.size, "names": [list(pair) for pair in cluster.names], "tiles": tiles}


def json_number(kind: str, value: float) -> float | int | None:
    """The value as JSON: a whole number for counts, else the shortest decimal of the same float32."""
    number = float(value)
    if not math.isfinite(number):
        return None
    return int(number) if kind == "count" else float(str(np.float32(number)))


def rounded(value: float) -> float | None:
    """The value with four digits, enough for charts; None for NaN and infinity."""
    return float(f"{value:.4g}") if math.isfinite(value) else None


def packed_plane(plane: Plane) -> dict[str, Any]:
    """The plane with three bytes per exemplar: x, y and cluster."""
    axes = [np.clip(np.round((np.asarray(axis) + 1) * 127.5), 0, 255) for axis in (plane.x, plane.y)]
    triples = np.stack([*axes, np.asarray(plane.cluster)], axis=1).astype(np.uint8)
    return {"n": len(triples), "data": base64.b64encode(triples.tobytes()).decode("ascii")}


def unit_index(atlas: Atlas) -> dict[str, Any]:
    """What `unit.html` knows about the network before it loads a unit's data.

    `layers` has the name, the page, the number of units in the network, and the scanned channels of each layer;
    `channels` is null if all were scanned. The block of a channel is `channel // 16`.
    """
    names = [layer.name for layer in atlas.layers]
    order = unit_order(atlas)
    layers: list[dict[str, Any]] = []
    for index, (layer, page) in enumerate(zip(atlas.layers, urls.layer_addresses(names), strict=True)):
        channel = atlas.channel[order[atlas.layer_index[order] == index]]
        is_whole = np.array_equal(channel, np.arange(layer.n_units))
        channels = None if is_whole else packed_counts(channel.astype(np.float64))
        layers.append({"name": layer.name, "page": page, "n_units": layer.n_units, "channels": channels})
    columns = [column_words(column) for column in atlas.columns]
    return {"schema": SCHEMA, "run": atlas.run, "title": atlas.title, "columns": columns, "layers": layers}
