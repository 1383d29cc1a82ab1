"""A run's front page as one file, reduced to its map: what a notebook shows in a frame."""

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
# A framed page has no address to keep the map's state in, and no other pages to open.
BEFORE = "history.replaceState = function () {};"
AFTER = 'if (polyscan.network) polyscan.network.map.address = () => "javascript:void 0";'
STYLE = "#tooltip > p.quiet:last-child { display: none } #map { cursor: default !important } body { padding-bottom: 0 }"
NARROW = "@media (max-width: 620px) { .statement { display: none } }"  # the frame's height is fixed
# Nothing is drawn before the frame has a size; where scripts do not run it stays empty, and the picture is seen.
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
        FileNotFoundError: if the run has no pages, or not all of them.
    """

    def __init__(self, storage: Storage) -> None:
        super().__init__(convert_charrefs=False)
        self._storage = storage
        self.title = ""
        page = storage.read(FRONT_PAGE).decode()
        found = DATA.search(page)
        if found is None:
            raise FileNotFoundError(f"{FRONT_PAGE} holds no map")
        self.data: dict[str, Any] = json.loads(found.group(1))
        self.columns: list[dict[str, Any]] = self.data["columns"]
        self._fill()
        # The page fetches other columns and units' names from files of their own; a frame has none.
        self.data |= {"columns": [column for column in self.columns if "cells" in column], "named": False}
        self._held = {column["name"] for column in self.data["columns"]}
        self._parts: list[str] = []
        self._within = ""  # the element whose text is read
        self._menu = ""  # the menu whose choices are read
        self._left_out = ("", 0)  # an element that is left out, and how deep in elements of its name
        self.feed(page)
        self.close()

    def _fill(self) -> None:
        """Takes over columns that the page fetches, in their order, as long as there is room."""
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
        """Keeps the document's type."""
        self._parts.append(f"<!{decl}>")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keeps an element, fills it in, or leaves it out with all that is in it."""
        left_out, depth = self._left_out
        if depth:
            self._left_out = (left_out, depth + (tag == left_out))
            return
        words = {name: value or "" for name, value in attrs}
        if self._is_foreign(tag, words):
            self._left_out = (tag, 1)
        elif tag == "link":
            self._parts.append(self._styles(words))
        elif tag == "script" and "src" in words:
            code = f"{BEFORE}\n{self._file(words['src'])}\n{AFTER}"
            self._parts.append(f'<script type="text/plain" id="later">{code}</script><script>{BEGIN}')
        elif tag == "a":  # the map's script looks for these, but there is no page to go to
            kept = "".join(f' {name}="{escape(value)}"' for name, value in words.items() if name in ("title", "class"))
            self._parts.append(f"<a{kept}>")
        elif words.get("id") == "map-data":
            self._parts.append(f"{self.get_starttag_text()}{script_json(self.data)}")
            self._within = "data"
        else:
            self._menu = words.get("id", "") if tag == "select" else self._menu
            self._parts.append((self.get_starttag_text() or "").replace(" or name", ""))
            self._within = tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """The same for an element that holds nothing."""
        if not self._left_out[1] and not self._is_foreign(tag, dict(attrs)):
            self._parts.append(self.get_starttag_text() or "")

    def handle_endtag(self, tag: str) -> None:
        """Closes what was kept."""
        left_out, depth = self._left_out
        if depth:
            self._left_out = (left_out, depth - (tag == left_out))
            return
        self._within = ""
        self._parts.append(f"{HIDDEN if tag == 'head' else ''}</{tag}>")

    def handle_data(self, data: str) -> None:
        """Keeps text, and reads the title and the map's numbers."""
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

    def _is_foreign(self, tag: str, words: Mapping[str, str | None]) -> bool:
        """Whether the element is no part of the map, or a choice of what is not there."""
        if tag == "option" and self._menu in COLUMN_MENUS:
            value = words.get("value") or ""
            return bool(value) and not value.startswith(":") and value not in self._held
        if tag == "section":
            return words.get("aria-labelledby") != MAP_SECTION
        if tag == "script":
            return words.get("id") == "trend-data" or "vega" in (words.get("src") or "")
        return tag in ("footer", "noscript", "nav") or (tag == "a" and "download" in words)

    def _styles(self, words: Mapping[str, str]) -> str:
        if words.get("rel") != "stylesheet":
            return ""
        return f"<style>{self._file(words['href'])}\n{STYLE}{NARROW}</style>"

    def _file(self, name: str) -> str:
        """A file beside the page, such that it cannot close the element that it is put into."""
        return CLOSING.sub(r"<\\/", self._storage.read(f"maps/{name}").decode())


def front_page(storage: Storage) -> FrontPage | None:
    """The run's front page; None where it has none that is whole."""
    try:
        return FrontPage(storage)
    except (FileNotFoundError, StoreError, ValueError, KeyError):
        return None
