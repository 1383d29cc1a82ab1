"""Where things lie in the maps folder: safe file names whatever a layer is called."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from urllib.parse import quote

BLOCK_UNITS = 16
"""Units whose data lie in one script."""
SLUG_LENGTH = 60  # keeps whole paths below the 260 characters of some file systems
UNSAFE = re.compile(r"[^a-z0-9]+")


def slug(name: str) -> str:
    """`name` in small ASCII letters, digits and hyphens, at most 60 of them.

    >>> slug("features.3/Größe"), slug("第一层")
    ('features-3-grosse', 'layer')
    """
    plain = unicodedata.normalize("NFKD", name.replace("ß", "ss")).encode("ascii", "ignore").decode()
    return UNSAFE.sub("-", plain.lower()).strip("-")[:SLUG_LENGTH].strip("-") or "layer"


def folder_number(index: int, n_layers: int) -> str:
    """The layer's number, as wide as the last one's; it tells layers apart whose slugs are equal.

    >>> folder_number(3, 50), folder_number(3, 120)
    ('03', '003')
    """
    return str(index).zfill(max(2, len(str(n_layers - 1))))


def layer_addresses(names: Sequence[str]) -> list[str]:
    """Each layer's page, relative to the maps folder.

    >>> layer_addresses(["conv1", "layer1.0"])
    ['layer/00-conv1.html', 'layer/01-layer1-0.html']
    """
    return [f"layer/{folder_number(index, len(names))}-{slug(name)}.html" for index, name in enumerate(names)]


def block_address(index: int, n_layers: int, block: int) -> str:
    """The script with 16 units' data, relative to the maps folder."""
    return f"data/{folder_number(index, n_layers)}/{block}.js"


def column_address(place: int) -> str:
    """The script with one column of all units, relative to the maps folder."""
    return f"data/column-{place}.js"


NAMES = "data/names.js"
"""The script with what units are called."""


def sprite_address(index: int, n_layers: int, channel: int) -> str:
    """A unit's pictures, relative to the maps folder."""
    return f"img/{folder_number(index, n_layers)}/{channel}.jpg"


def unit_address(layer: str, channel: int) -> str:
    """A unit's page, relative to the maps folder.

    >>> unit_address("layer1.0/größe", 3)
    'unit.html#layer1.0%2Fgr%C3%B6%C3%9Fe:3'
    """
    return f"unit.html#{quote(layer, safe='')}:{channel}"
