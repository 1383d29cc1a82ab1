"""A run's front page as one file, reduced to its map, for a frame in a notebook."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from html import escape, unescape
from html.parser import HTMLParser
from typing import Any

from polyscan.errors import StoreError
from polyscan.maps.templating import script_json
from polyscan.storage import Storage

MAP_SECTION = "map-title"
FRONT_PAGE = "maps/index.html"
DATA = re.compile(r'id="map-data">(.*?)</script>', re.DOTALL)
ROOM = 350_000  # bytes of columns
COLUMN_MENUS = ("by", "sort")
CLOSING = re.compile(r"</(?=script|style)", re.IGNORECASE)
# A framed page has no address that could keep the map's state, and no other pages to open.
BEFORE = "history.replaceState = function () {};"
AFTER = 'if (polyscan.network) polyscan.network.map.address = () => "javascript:void 0";'
STYLE = "#tooltip > p.quiet:last-child { display: none } #map { cursor: default !important } body { padding-bottom: 0 }"
NARROW = "@media (max-width: 620px) { .statement { display: none } }"  # the frame's height is fixed
# Nothing is drawn before the frame has a size; if scripts do not run it stays empty, and the picture shows.
HIDDEN = "<style>html:not(.begun) { display: none }</style>"
BEGIN = """(function begin() {
  if (!innerWidth) return void requestAnimationFrame(begin);
  document.documentElement.classList.add("begun");
  const script = document.createElement("script");
  script.textContent = document.getElementById("later").textContent;
  document.body.append(script);
})();"""


class FrontPage(HTMLParser):
    """The run's front page, reduced to its map, with style and scripts inside.

    Args:
        storage: of the run.

    Raises:
        FileNotFoundError: if some page file is missing.
    """

    def __init__(self, storage: Storage) -> None:
        super().__init__(convert_charrefs=False)
        self._storage = storage
        self.title = ""
        page = storage.read(FRONT_PAGE).decode()
        self.data = _map_data(page)
        self.columns: list[dict[str, Any]] = self.data["columns"]
        self._fill()
        # The page loads other columns and the names of units from separate files, which a frame can't.
        self.data |= {"columns": [column for column in self.columns if "cells" in column], "named": False}
        self._included = {column["name"] for column in self.data["columns"]}
        self._parts: list[str] = []
        self._within = ""  # the element whose text is read
        self._menu = ""  # the menu whose options are read
        self._left_out = ("", 0)  # an element that is left out, and the nesting depth in elements of its name
        self.feed(page)
        self.close()

    def _fill(self) -> None:
        """Includes columns that the page would load, in their order, as long as there is room."""
        room = ROOM - sum(len(column["cells"]["data"]) for column in self.columns if "cells" in column)
        for place, column in enumerate(self.columns):
            with suppress(FileNotFoundError):
                if "cells" not in column:
                    content = self._storage.read(f"maps/data/column-{place}.js").decode()
                    room -= len(content)
                    if room < 0:
                        return
                    column.update(json.loads(content[content.index("(") + 1 : content.rindex(")")])["column"])

    @property
    def html(self) -> str:
        """The whole page."""
        return "".join(self._parts)

    def handle_decl(self, decl: str) -> None:
        """Keeps the document type."""
        self._parts.append(f"<!{decl}>")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keeps an element, replaces it, or leaves it out with its content."""
        left_out, depth = self._left_out
        attributes = {name: value or "" for name, value in attrs}
        if depth:
            self._left_out = (left_out, depth + (tag == left_out))
        elif self._is_foreign(tag, attributes):
            self._left_out = (tag, 1)
        elif tag in ("link", "a") or (tag == "script" and "src" in attributes):
            self._parts.append(self._replaced(tag, attributes))
        elif attributes.get("id") == "map-data":
            self._parts.append(f"{self.get_starttag_text()}{script_json(self.data)}")
            self._within = "data"
        else:
            self._menu = attributes.get("id", "") if tag == "select" else self._menu
            self._parts.append((self.get_starttag_text() or "").replace(" or name", ""))
            self._within = tag

    def _replaced(self, tag: str, attributes: Mapping[str, str]) -> str:
        """A style sheet or a script with its content, or a link without an address."""
        if tag == "link":
            return self._styles(attributes)
        if tag == "script":
            code = f"{BEFORE}\n{self._file(attributes['src'])}\n{AFTER}"
            return f'<script type="text/plain" id="later">{code}</script><script>{BEGIN}'
        # The map's script looks for links, but there is no page to go to.
        kept = "".join(f' {name}="{escape(value)}"' for name, value in attributes.items() if name in ("title", "class"))
        return f"<a{kept}>"

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keeps or leaves out an element without content."""
        if not self._left_out[1] and not self._is_foreign(tag, dict(attrs)):
            self._parts.append(self.get_starttag_text() or "")

    def handle_endtag(self, tag: str) -> None:
        """Closes an element that is kept."""
        left_out, depth = self._left_out
        if depth:
            self._left_out = (left_out, depth - (tag == left_out))
            return
        self._within = ""
        self._parts.append(f"{HIDDEN if tag == 'head' else ''}</{tag}>")

    def handle_data(self, data: str) -> None:
        """Keeps text, and reads the title."""
        if self._left_out[1] or self._within == "data":
            return
        if self._within == "h1":
            self.title += unescape(data)
        self._parts.append(data)

    def handle_entityref(self, name: str) -> None:
        """Keeps `&name;`."""
        self.handle_data(f"&{name};")

    def handle_charref(self, name: str) -> None:
        """Keeps `&#name;`."""
        self.handle_data(f"&#{name};")

    def _is_foreign(self, tag: str, attributes: Mapping[str, str | None]) -> bool:
        """Whether the element is not part of the map, or is an option for a column that is not included."""
        if tag == "option" and self._menu in COLUMN_MENUS:
            value = attributes.get("value") or ""
            return bool(value) and not value.startswith(":") and value not in self._included
        if tag == "section":
            return attributes.get("aria-labelledby") != MAP_SECTION
        if tag == "script":
            return attributes.get("id") == "trend-data" or "vega" in (attributes.get("src") or "")
        return tag in ("footer", "noscript", "nav") or (tag == "a" and "download" in attributes)

    def _styles(self, attributes: Mapping[str, str]) -> str:
        if attributes.get("rel") != "stylesheet":
            return ""
        return f"<style>{self._file(attributes['href'])}\n{STYLE}{NARROW}</style>"

    def _file(self, name: str) -> str:
        """Content of a file in the page's folder, changed so that it cannot close the element it is put into."""
        return CLOSING.sub(r"<\\/", self._storage.read(f"maps/{name}").decode())


def _map_data(page: str) -> dict[str, Any]:
    """The data of the page's map."""
    match = DATA.search(page)
    if match is None:
        raise FileNotFoundError(f"{FRONT_PAGE} holds no map")
    return json.loads(match.group(1))


def front_page(storage: Storage) -> FrontPage | None:
    """The run's front page; None if it is missing or damaged."""
    try:
        return FrontPage(storage)
    except (FileNotFoundError, StoreError, ValueError, KeyError):
        return None
