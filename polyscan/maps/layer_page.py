"""One layer's page: its numbers, then the cards of its units with their pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any

from polyscan.maps import addresses
from polyscan.maps.atlas import Atlas, Cluster, Panel, UnitCard
from polyscan.maps.network_map import ends, layer_data
from polyscan.maps.numbers import interval_text, number_text
from polyscan.maps.shell import page
from polyscan.maps.sprites import Sprite, sprite

EVIDENCE = ("exemplars", "visualizations")
N_MARKS = 8  # colours and shapes repeat after so many clusters; letters do not


@dataclass(frozen=True)
class TileView:
    """One tile as the template draws it: where it lies in the sprite, what to cut off it and what is said about it."""

    column: int
    row: int
    margin: tuple[float, float]
    caption: str
    words: str


@dataclass(frozen=True)
class ClusterView:
    """One cluster as the template draws it."""

    letter: str
    mark: int
    size: int
    tiles: list[TileView]


@dataclass(frozen=True)
class PanelView:
    """One panel as the template draws it; `address` is empty where it has no picture."""

    evidence: str
    size: int
    facts: Sequence[tuple[str, str]]
    clusters: list[ClusterView]
    address: str
    columns: int


@dataclass(frozen=True)
class CardView:
    """One unit as the template draws it; a panel that was not made is None."""

    channel: int
    anchor: str
    on_map: str
    facts: Sequence[tuple[str, str]]
    panels: list[tuple[str, PanelView | None]]


def letter(index: int) -> str:
    """A cluster's letter: A to Z, then AA, AB ...

    >>> letter(0), letter(25), letter(26)
    ('A', 'Z', 'AA')
    """
    before, place = divmod(index, len(ascii_uppercase))
    return (letter(before - 1) if before else "") + ascii_uppercase[place]


def layer_files(atlas: Atlas, index: int) -> Iterator[tuple[str, bytes]]:
    """The sprites of the layer's units, one at a time, then the page that shows them."""
    layer = atlas.layers[index]
    cards: list[CardView] = []
    for card in atlas.cards.get(layer.name, ()):
        panels = dict.fromkeys(EVIDENCE, None) | {panel.evidence: panel for panel in card.panels}
        views: list[tuple[str, PanelView | None]] = []
        for evidence, panel in panels.items():
            if panel is None:
                views.append((evidence, None))
                continue
            view, image = panel_view(panel, addresses.sprite_stem(index, len(atlas.layers), card.channel, evidence))
            if image is not None:
                yield view.address, image.content
            views.append((evidence, view))
        cards.append(card_view(card, views))
    names = [other.name for other in atlas.layers]
    places = addresses.layer_addresses(names)
    trend = trend_table(atlas, layer.name)
    words = {
        "atlas": atlas,
        "layer": layer,
        "count": int((atlas.layer_index == index).sum()),
        "before": link(names, places, index - 1),
        "after": link(names, places, index + 1),
        "trend": trend,
        "has_controls": any(row["beside"] for row in trend),
        "cards": cards,
        "data": layer_data(atlas, index),
    }
    yield places[index], page("layer.html.j2", root="../", title=f"{layer.name} · {atlas.title}", **words)


def link(names: Sequence[str], places: Sequence[str], index: int) -> tuple[str, str] | None:
    """Name and address of a neighbouring layer, as seen from a layer page; None beyond the ends."""
    if not 0 <= index < len(names):
        return None
    return names[index], places[index].removeprefix("layer/")


def card_view(card: UnitCard, panels: list[tuple[str, PanelView | None]]) -> CardView:
    """The card with its addresses."""
    on_map = addresses.place_on_map(card.layer, card.channel)
    return CardView(card.channel, addresses.anchor(card.channel), on_map, card.facts, panels)


def panel_view(panel: Panel, stem: str) -> tuple[PanelView, Sprite | None]:
    """The panel with its tiles placed, and its sprite; no sprite where no cluster has a tile."""
    tiles = [tile for cluster in panel.clusters for tile in cluster.tiles]
    if not tiles:
        clusters = [ClusterView(letter(at), at % N_MARKS, one.size, []) for at, one in enumerate(panel.clusters)]
        return PanelView(panel.evidence, panel.size, panel.facts, clusters, "", 1), None
    image = sprite(tiles, panel.evidence)
    clusters: list[ClusterView] = []
    first = 0
    for at, cluster in enumerate(panel.clusters):
        clusters.append(ClusterView(letter(at), at % N_MARKS, cluster.size, tile_views(cluster, first, image)))
        first += len(cluster.tiles)
    view = PanelView(panel.evidence, panel.size, panel.facts, clusters, f"{stem}.{image.suffix}", image.columns)
    return view, image


def tile_views(cluster: Cluster, first: int, image: Sprite) -> list[TileView]:
    """The cluster's tiles, whose first one is the sprite's tile number `first`."""
    views: list[TileView] = []
    for at, tile in enumerate(cluster.tiles, start=first):
        column, row = image.place(at)
        words = " · ".join(part for part in (tile.title, tile.caption) if part) or "picture"
        if at in image.broken:
            words = f"This picture could not be decoded. {words}"
        views.append(TileView(column, row, image.margins[at], tile.caption, words))
    return views


def quantile_text(value: float, kind: str) -> str:
    """A quantile of counts is a whole number unless it fell between two."""
    return number_text(value, kind if value.is_integer() else "real")


def trend_table(atlas: Atlas, layer: str) -> list[dict[str, Any]]:
    """The layer's mean of each column with its interval, in the columns' order, and what its controls have."""
    points = {point.column: point for point in atlas.trend if point.layer == layer and point.n > 0}
    rows: list[dict[str, Any]] = []
    for column in atlas.columns:
        point = points.get(column.name)
        if point is not None:
            numbers = [number_text(number) for number in (point.mean, point.low, point.high)]
            numbers += [quantile_text(number, column.kind) for number in point.quantiles]
            beside = [interval_text(*ends(mean)) for mean in (point.control, point.excess)] if point.control else []
            words = {"label": column.label, "help": column.help}
            rows.append(words | {"n": point.n, "numbers": numbers, "beside": beside})
    return rows
