"""Numbers as the commands print them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from polyscan.vision.fields import Field


def share_words(value: float | None) -> str:
    """Two digits after the decimal point; `-` for None.

    >>> share_words(0.987), share_words(None)
    ('0.99', '-')
    """
    return "-" if value is None else f"{value:.2f}"


def bytes_words(n: float) -> str:
    """Bytes in a unit of fitting size.

    >>> bytes_words(1234), bytes_words(5.6e9)
    ('1 kB', '5.6 GB')
    """
    for unit in ("B", "kB", "MB"):
        if n < 1000:
            return f"{n:.0f} {unit}"
        n /= 1000
    return f"{n:.1f} GB" if n < 1000 else f"{n / 1000:.1f} TB"


def time_words(seconds: float) -> str:
    """Seconds, minutes or hours.

    >>> time_words(30), time_words(600), time_words(9000)
    ('30 s', '10 min', '2.5 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def rate_words(value: float) -> str:
    """Three significant digits, or all digits before the decimal point.

    >>> rate_words(0.12345), rate_words(86.44), rate_words(12345.6)
    ('0.123', '86.4', '12,346')
    """
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def shards_words(n: int) -> str:
    """A count of shards.

    >>> shards_words(1), shards_words(2)
    ('1 shard', '2 shards')
    """
    return f"{n} shard" if n == 1 else f"{n} shards"


def field_words(field: Field) -> str:
    """Size of a receptive field: one number if it is a square, else rows x columns, in whole pixels."""
    if field is None:
        return "whole image"
    height, width = (math.ceil(axis.field) for axis in field)
    return f"{height} px" if height == width else f"{height}x{width} px"
