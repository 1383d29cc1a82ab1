"""Damage that a format's own check sums tell and Pillow does not look at."""

from __future__ import annotations

import zlib

PNG_START = b"\x89PNG\r\n\x1a\n"


def png_damage(content: bytes) -> str:
    """The reason why a PNG is damaged, from the lengths and check sums of its chunks; "" if it is whole, or no PNG.

    Pillow stops reading at the last row, and checks no sum of the data, so half a file filled up with zeros would pass.
    """
    if not content.startswith(PNG_START):
        return ""
    view, at = memoryview(content), len(PNG_START)
    while at + 12 <= len(view):
        end = at + 8 + int.from_bytes(view[at : at + 4], "big")
        if end + 4 > len(view):
            break
        if zlib.crc32(view[at + 4 : end]) != int.from_bytes(view[end : end + 4], "big"):
            return f"corrupt: the check sum of its part at byte {at} is wrong"
        if content[at + 4 : at + 8] == b"IEND":
            return ""
        at = end + 4
    return "truncated: its end is missing"
