"""Addresses in the maps folder, with file names that are safe for any layer name."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from urllib.parse import quote

BLOCK_UNITS = 16
"""Number of units whose data are in one script."""
SLUG_LENGTH = 60  # keeps whole paths below the 260 characters of some file systems
UNSAFE = re.compile(r"[^a-z0-9]+")


def slug(name: str) -> str:
    """`name` in lower-case ASCII letters, digits and hyphens, at most 60 characters.

    >>> slug("features.3/Größe"), slug("第一层")
    ('features-3-grosse', 'layer')
    """
    plain = unicodedata.normalize("NFKD", name.replace("ß", "ss")).encode("ascii", "ignore").decode()
    return UNSAFE.sub("-", plain.lower()).strip("-")[:SLUG_LENGTH].strip("-") or "layer"


def folder_number(index: int, n_layers: int) -> str:
    """The layer's number, padded to the width of the last one; it distinguishes layers whose slugs are equal.

    >>> folder_number(3, 50), folder_number(3, 120)
    ('03', '003')
    """
    return str(index).zfill(max(2, len(str(n_layers - 1))))


def layer_addresses(names: Sequence[str]) -> list[str]:
    """The address of each layer's page, relative to the maps folder.

    >>> layer_addresses(["conv1", "layer1.0"])
    ['layer/00-conv1.html', 'layer/01-layer1-0.html']
    """
    return [f"layer/{folder_number(index, len(names))}-{slug(name)}.html" for index, name in enumerate(names)]


def block_address(index: int, n_layers: int, block: int) -> str:
    """The address of the script with the data of 16 units, relative to the maps folder."""
    return f"data/{folder_number(index, n_layers)}/{block}.js"


def column_address(place: int) -> str:
    """The address of the script with one column of all units, relative to the maps folder."""
    return f"data/column-{place}.js"


NAMES = "data/names.js"
"""The address of the script with the names of all units."""


def sprite_address(index: int, n_layers: int, channel: int) -> str:
    """The address of a unit's sprite, relative to the maps folder."""
    return f"img/{folder_number(index, n_layers)}/{channel}.jpg"


def unit_address(layer: str, channel: int) -> str:
    """The address of a unit's page, relative to the maps folder.

    >>> unit_address("layer1.0/größe", 3)
    'unit.html#layer1.0%2Fgr%C3%B6%C3%9Fe:3'
    """
    return f"unit.html#{quote(layer, safe='')}:{channel}"
