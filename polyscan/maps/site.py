"""The maps folder: every file of it, the index last."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sized
from typing import Any

import numpy as np

from polyscan.maps import urls
from polyscan.maps.atlas import Atlas, MapColumn, UnitCard
from polyscan.maps.depth_trend import flat_words, is_chosen, trend_charts, trend_csv
from polyscan.maps.layer_page import layer_page
from polyscan.maps.network_map import column_script, is_at_once, map_data, names_script, unit_order
from polyscan.maps.numbers import number_text
from polyscan.maps.templating import asset_files, known, page
from polyscan.maps.unit_data import Standing, block_script
from polyscan.maps.unit_page import unit_page

DATA = re.compile(r"(?P<kind>data|img)/(?P<layer>\d+)/(?P<number>\d+)\.(js|jpg)")
COLUMN = re.compile(r"data/column-(?P<place>\d+)\.js")
STATEMENTS = "statements.json"
MOST_RANKED = 20
RANKED_COLUMNS = 5


class Site:
    """The maps folder of an atlas, file by file: what is written to a disk and what is served are the same bytes.

    Raises:
        ValueError: if the atlas contradicts itself (lengths, unknown layers, a layer or column named twice).
    """

    def __init__(self, atlas: Atlas) -> None:
        check(atlas)
        self.atlas = atlas
        self.standing = Standing.of(atlas)
        self.places = urls.layer_addresses([layer.name for layer in atlas.layers])
        self._cards: tuple[int, dict[int, UnitCard]] = (-1, {})

    def names(self) -> Iterator[str]:
        """Every file, relative to the folder, `index.html` last; layer by layer, so that a layer's units are read once.

        Who writes them in this order never has a page that points at what is not there.
        """
        yield from dict(asset_files())
        yield "trend.csv"
        yield STATEMENTS
        yield "unit.html"
        for place in range(len(self.atlas.columns)):
            if not is_at_once(self.atlas, place):
                yield urls.column_address(place)
        if len(self.atlas.names):
            yield urls.NAMES
        for index, place in enumerate(self.places):
            for block in self._blocks(index):
                yield urls.block_address(index, len(self.places), block)
            for channel, card in self._layer_cards(index).items():
                if card.sprite is not None:
                    yield urls.sprite_address(index, len(self.places), channel)
            yield place
        yield "index.html"

    def content(self, name: str) -> bytes:
        """The bytes of one file.

        Raises:
            KeyError: if the site has none of that name.
        """
        if name in self.places:
            index = self.places.index(name)
            return layer_page(self.atlas, index, list(self._layer_cards(index).values()))
        if found := DATA.fullmatch(name):
            return self._data(name, int(found["layer"]), int(found["number"]), is_sprite=found["kind"] == "img")
        if found := COLUMN.fullmatch(name):
            return self._column(name, int(found["place"]))
        single: dict[str, Callable[[], bytes]] = {
            "index.html": lambda: index_page(self.atlas),
            "unit.html": lambda: unit_page(self.atlas),
            STATEMENTS: lambda: statements_file(self.atlas),
            "trend.csv": lambda: trend_csv(self.atlas.trend, self.atlas.layers),
        }
        if len(self.atlas.names):
            single[urls.NAMES] = lambda: names_script(self.atlas)
        return single[name]() if name in single else dict(asset_files())[name]

    def _column(self, name: str, place: int) -> bytes:
        if place >= len(self.atlas.columns) or is_at_once(self.atlas, place) or name != urls.column_address(place):
            raise KeyError(name)
        return column_script(self.atlas, place)

    def _data(self, name: str, index: int, number: int, *, is_sprite: bool) -> bytes:
        """A sprite or a block of units, if it is called by its one right name."""
        n_layers = len(self.places)
        if index >= n_layers:
            raise KeyError(name)
        if is_sprite and name == urls.sprite_address(index, n_layers, number):
            sprite = self.atlas.gallery.sprite(self.atlas.layers[index].name, number)
            if sprite is not None:
                return sprite
        if not is_sprite and name == urls.block_address(index, n_layers, number) and number in self._blocks(index):
            cards = list(self._layer_cards(index).values())
            return block_script(self.atlas, self.standing, index, number, cards)
        raise KeyError(name)

    def _blocks(self, index: int) -> list[int]:
        channels = self.atlas.channel[self.atlas.layer_index == index]
        return sorted({int(block) for block in channels // urls.BLOCK_UNITS})

    def _layer_cards(self, index: int) -> dict[int, UnitCard]:
        """The layer's cards by channel; those of the last layer are kept."""
        if self._cards[0] != index:
            cards = self.atlas.gallery.cards(self.atlas.layers[index].name)
            self._cards = (index, {card.channel: card for card in cards})
        return self._cards[1]


def statements_file(atlas: Atlas) -> bytes:
    """The sentences of the front page, each with the numbers that it was made from."""
    claims = [{"text": claim.text, "inputs": known(claim.inputs)} for claim in atlas.claims]
    return json.dumps({"run": atlas.run, "statements": claims}, indent=1, ensure_ascii=False).encode()


def pages(atlas: Atlas) -> Iterator[tuple[str, bytes]]:
    """Every file of the maps folder as its relative name and its content, `index.html` last, one by one."""
    site = Site(atlas)
    for name in site.names():
        yield name, site.content(name)


def check(atlas: Atlas) -> None:
    """Refuses what could only be drawn wrongly."""
    n_units = len(atlas.layer_index)
    names = [layer.name for layer in atlas.layers]
    keys = [column.name for column in atlas.columns]
    for what, given in (("layer", names), ("column", keys)):
        twice = sorted({name for name in given if given.count(name) > 1})
        if twice:
            raise ValueError(f"the atlas names {what} {twice[0]!r} twice; each {what} has one name of its own.")
    if not keys:
        raise ValueError("the atlas has no column; the map needs at least one number per unit.")
    lists: dict[str, Sized] = {"channel": atlas.channel, "is_dead": atlas.is_dead}
    if len(atlas.verdict):
        lists["verdict"] = atlas.verdict
    lists |= {what: given for what, given in (("names", atlas.names), ("q", atlas.q)) if len(given)}
    lists |= {f"values[{key!r}]": atlas.values.get(key, ()) for key in keys}
    for what, one in lists.items():
        if len(one) != n_units:
            raise ValueError(f"`{what}` holds {len(one)} units, `layer_index` {n_units}; they must agree.")
    if n_units and not 0 <= atlas.layer_index.min() <= atlas.layer_index.max() < len(names):
        raise ValueError(f"`layer_index` must lie in 0..{len(names) - 1}, got {atlas.layer_index.max()}.")


def index_page(atlas: Atlas) -> bytes:
    """The front page."""
    names = [layer.name for layer in atlas.layers]
    places = urls.layer_addresses(names)
    most, least = ranked(atlas)
    charts = trend_charts(atlas)
    words = {
        "atlas": atlas,
        "places": places,
        "ranks": [("most", most, ties(atlas, most)), ("least", least, ties(atlas, least))],
        "ranked_columns": ranked_columns(atlas),
        "trended": trended_columns(atlas),
        "table": layer_table(atlas, places),
        "charts": charts,
        "trends": [{"rows": chart["rows"], "specs": chart["specs"]} for chart in charts],
        "flat": flat_words(atlas),
        "has_excess": any("excess" in chart["specs"] for chart in charts),
        "weak": any(layer.is_weak for layer in atlas.layers),
        "shown": {name: any(getattr(layer, name) for layer in atlas.layers) for name in ("space", "fpr", "power")},
        "has_q": bool(len(atlas.q)),
        "named": bool(len(atlas.names)),
        "data": map_data(atlas, places),
    }
    return page("index.html.j2", root="", title=f"{atlas.title} · polyscan", **words)


def ranked_columns(atlas: Atlas) -> list[MapColumn]:
    """The columns that the tables of extreme units show: the default one, then what the page has at once.

    Verdicts and names take room from the last ones.
    """
    at_once = [column for place, column in enumerate(atlas.columns) if place and is_at_once(atlas, place)]
    columns = [atlas.columns[0], *(at_once or atlas.columns[1:])]
    return columns[: RANKED_COLUMNS - bool(len(atlas.verdict)) - bool(len(atlas.names))]


def ranked(atlas: Atlas) -> tuple[list[Any], list[Any]]:
    """The live, scored units with the most and the least of the default column, ties in unit order.

    At most `MOST_RANKED` each, and never one unit in both.
    """
    order = unit_order(atlas)
    values = np.asarray(atlas.values[atlas.columns[0].name], dtype=np.float64)[order]
    scored = np.flatnonzero(np.isfinite(values) & ~atlas.is_dead[order].astype(bool))
    count = min(MOST_RANKED, len(scored) // 2)
    rising = scored[np.argsort(values[scored], kind="stable")]
    falling = scored[np.argsort(-values[scored], kind="stable")]
    chosen_most = falling[:count]
    chosen_least = rising[~np.isin(rising, chosen_most)][:count]
    most, least = ([unit_row(atlas, int(order[at])) for at in best] for best in (chosen_most, chosen_least))
    return most, least


def ties(atlas: Atlas, rows: list[dict[str, Any]]) -> int:
    """How many live units share the last line's value but stand in no line; the table says so."""
    if not rows:
        return 0
    values = np.asarray(atlas.values[atlas.columns[0].name], dtype=np.float64)
    last = rows[-1]["value"]
    same = int(((values == last) & ~atlas.is_dead.astype(bool)).sum())
    return same - sum(row["value"] == last for row in rows)


def unit_row(atlas: Atlas, unit: int) -> dict[str, Any]:
    """One line of the tables of extreme units."""
    index, channel = int(atlas.layer_index[unit]), int(atlas.channel[unit])
    name = atlas.layers[index].name
    columns = ranked_columns(atlas)
    numbers = [number_text(float(atlas.values[column.name][unit]), column.kind) for column in columns]
    address = urls.unit_address(name, channel)
    value = float(atlas.values[columns[0].name][unit])
    verdict = atlas.verdict[unit] if len(atlas.verdict) else ""
    called = atlas.names[unit] if len(atlas.names) else ""
    row = {"unit": f"{name}:{channel}", "address": address, "numbers": numbers}
    return row | {"value": value, "verdict": verdict, "name": called}


def trended_columns(atlas: Atlas) -> list[MapColumn]:
    """The key columns that have a trend, and shares; all that have one where none is key."""
    names = {point.column for point in atlas.trend}
    found = [column for column in atlas.columns if column.name in names]
    return [column for column in found if column.is_key] + list(atlas.shares) if is_chosen(atlas) else found


def layer_table(atlas: Atlas, places: list[str]) -> list[dict[str, Any]]:
    """The map in words: one line per layer with each trended column's mean and interval."""
    points = {(point.layer, point.column): point for point in atlas.trend if point.n > 0}
    rows: list[dict[str, Any]] = []
    for layer, address in zip(atlas.layers, places, strict=True):
        cells: list[tuple[str, str]] = []
        for column in trended_columns(atlas):
            point = points.get((layer.name, column.name))
            numbers = (None, None, None) if point is None else (point.mean, point.low, point.high)
            mean, low, high = (number_text(number) for number in numbers)
            cells.append((mean, "" if point is None else f"{low} to {high}"))
        rows.append({"layer": layer, "address": address, "cells": cells})
    return rows
