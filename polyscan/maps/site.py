"""All files of the maps folder, the front page last."""

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
    """The maps folder of an atlas, file by file; a file has the same bytes whether it is written or served.

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
        """The name of every file, relative to the folder, layer by layer, so that the units of a layer are read once.

        The front page comes last: a folder written in this order never has a page that links to a missing file.
        """
        yield from dict(asset_files())
        yield from (name for name in PAGES if name != INDEX)
        for place in range(len(self.atlas.columns)):
            if not is_at_once(self.atlas, place):
                yield urls.column_address(place)
        if len(self.atlas.names):
            yield urls.NAMES
        for index, address in enumerate(self.places):
            for block in self._blocks(index):
                yield urls.block_address(index, len(self.places), block)
            for channel, card in self._layer_cards(index).items():
                if card.sprite is not None:
                    yield urls.sprite_address(index, len(self.places), channel)
            yield address
        yield INDEX

    def content(self, name: str) -> bytes:
        """The bytes of one file.

        Raises:
            KeyError: if the site has no file of this name.
        """
        if name in self.places:
            index = self.places.index(name)
            return layer_page(self.atlas, index, list(self._layer_cards(index).values()))
        if match := DATA.fullmatch(name):
            return self._data(name, int(match["layer"]), int(match["number"]), is_sprite=match["kind"] == "img")
        if match := COLUMN.fullmatch(name):
            return self._column(name, int(match["place"]))
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
        """A sprite or a block of units; refuses other spellings of the name."""
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
        """The layer's cards by channel; the cards of the layer asked for last are kept in memory."""
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
"""Registry of the pages and files that a site has exactly one of."""


def pages(atlas: Atlas) -> Iterator[tuple[str, bytes]]:
    """Yields the relative name and the content of every file of the maps folder, `index.html` last."""
    site = Site(atlas)
    for name in site.names():
        yield name, site.content(name)


def check(atlas: Atlas) -> None:
    """Checks that the atlas does not contradict itself.

    Raises:
        ValueError: if lengths differ, layers or columns have the same name, or a unit is in an unknown layer.
    """
    n_units = len(atlas.layer_index)
    layers = [layer.name for layer in atlas.layers]
    columns = [column.name for column in atlas.columns]
    for kind, names in (("layer", layers), ("column", columns)):
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"the atlas has {kind} {repeated[0]!r} twice; the name of each {kind} must be unique.")
    if not columns:
        raise ValueError("the atlas has no column; the map needs at least one number per unit.")
    for name, values in lists_of_units(atlas).items():
        if len(values) != n_units:
            raise ValueError(f"`{name}` holds {len(values)} units, `layer_index` {n_units}; they must agree.")
    if n_units and not 0 <= atlas.layer_index.min() <= atlas.layer_index.max() < len(layers):
        raise ValueError(f"`layer_index` must lie in 0..{len(layers) - 1}, got {atlas.layer_index.max()}.")


def lists_of_units(atlas: Atlas) -> dict[str, Sized]:
    """All lists of the atlas that have one entry per unit, by name."""
    lists: dict[str, Sized] = {"channel": atlas.channel, "is_dead": atlas.is_dead}
    names = ("verdict", "second_verdict", "names", "q")
    optional: dict[str, Sized] = {name: getattr(atlas, name) for name in names}
    lists |= {name: values for name, values in optional.items() if len(values)}
    return lists | {f"values[{column.name!r}]": atlas.values.get(column.name, ()) for column in atlas.columns}
