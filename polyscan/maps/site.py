"""The maps folder: every file of it, the index last."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sized

from polyscan.maps import urls
from polyscan.maps.atlas import Atlas, UnitCard
from polyscan.maps.depth_trend import trend_csv
from polyscan.maps.index_page import index_page
from polyscan.maps.layer_page import layer_page
from polyscan.maps.network_map import column_script, is_at_once, names_script
from polyscan.maps.templating import asset_files, known
from polyscan.maps.unit_data import Standing, block_script
from polyscan.maps.unit_page import unit_page

DATA = re.compile(r"(?P<kind>data|img)/(?P<layer>\d+)/(?P<number>\d+)\.(js|jpg)")
COLUMN = re.compile(r"data/column-(?P<place>\d+)\.js")
STATEMENTS, INDEX = "statements.json", "index.html"


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
        yield from (name for name in PAGES if name != INDEX)
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
        yield INDEX

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
        if name in PAGES:
            return PAGES[name](self.atlas)
        if name == urls.NAMES and len(self.atlas.names):
            return names_script(self.atlas)
        return dict(asset_files())[name]

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


PAGES: dict[str, Callable[[Atlas], bytes]] = {
    "trend.csv": lambda atlas: trend_csv(atlas.trend, atlas.layers),
    STATEMENTS: statements_file,
    "unit.html": unit_page,
    INDEX: index_page,
}
"""The registry of pages and files that a site has one of; the front page is written last."""


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
