"""Formats numbers in the same way as the pages' script (`numberText` in `assets/packed.js`)."""

from __future__ import annotations

import math
from decimal import ROUND_HALF_UP, Context, Decimal

NONE = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"
FOUR_DIGITS = Context(prec=4, rounding=ROUND_HALF_UP)
THREE_DIGITS = Context(prec=3, rounding=ROUND_HALF_UP)
SMALLEST_PLAIN = 1e-3
LARGEST_PLAIN = 1000.0
FIRST_EXPONENT = 1e9


def number_text(value: float | None, kind: str = "real") -> str:
    """`value` as text: counts as whole numbers, reals with four digits, a dash if there is no value.

    >>> number_text(0.61234), number_text(3, "count"), number_text(0.000096), number_text(1234.5)
    ('0.6123', '3', '9.60e-5', '1235')
    """
    if value is None or math.isnan(value):
        return NONE
    sign = MINUS if value < 0 else ""
    size = abs(value)
    return sign + (f"{size:.0f}" if kind == "count" and math.isfinite(size) else size_text(size))


def size_text(size: float) -> str:
    """A number of at least 0 as text."""
    if math.isinf(size):
        return "∞"
    if size == 0:
        return "0"
    if size < SMALLEST_PLAIN or size >= FIRST_EXPONENT:
        digits, exponent = f"{THREE_DIGITS.create_decimal(Decimal(size)):.2e}".split("e")
        return f"{digits}e{int(exponent)}"
    if size >= LARGEST_PLAIN:
        return f"{Decimal(size).quantize(Decimal(1), rounding=ROUND_HALF_UP):f}"
    rounded = FOUR_DIGITS.create_decimal(Decimal(size))
    return f"{rounded:.{max(0, 3 - rounded.adjusted())}f}"


def share_text(share: float) -> str:
    """A share with two digits and no leading zero.

    >>> share_text(0.045), share_text(1.0)
    ('.05', '1.00')
    """
    if math.isnan(share):
        return NONE
    return f"{Decimal(repr(float(share))).quantize(Decimal('0.01'), rounding=ROUND_HALF_UP):f}".removeprefix("0")


def interval_text(mean: float, low: float, high: float) -> str:
    """A mean followed by its interval, or alone if there is no interval.

    >>> interval_text(0.5, 0.25, 0.75), interval_text(0.5, float("nan"), float("nan"))
    ('0.5000 [0.2500 to 0.7500]', '0.5000')
    """
    if not (math.isfinite(low) and math.isfinite(high)):
        return number_text(mean)
    return f"{number_text(mean)} [{number_text(low)} to {number_text(high)}]"


def count_text(value: int) -> str:
    """A whole number with commas between thousands.

    >>> count_text(30000)
    '30,000'
    """
    return f"{value:,}"


def strength_text(strength: float) -> str:
    """The strength of a unit's second part beside its main one, with two digits; "" if unknown.

    >>> strength_text(0.618), strength_text(float("nan"))
    ('.62', '')
    """
    if math.isnan(strength):
        return ""
    return (MINUS if strength < 0 else "") + share_text(abs(strength))


def verdict_with_strength(verdict: str, strength: float) -> str:
    """A verdict of the second test, and how strong the second part is beside the main one.

    >>> verdict_with_strength("probably several", 0.618), verdict_with_strength("dead", float("nan"))
    ('probably several, strength .62', 'dead')
    """
    strong = strength_text(strength) if verdict else ""
    return f"{verdict}, strength {strong}" if strong else verdict
