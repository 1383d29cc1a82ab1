"""Values that pydantic does not check: those of two forms, such as a side or height and width, and those of scores.

A message that begins with "input should" is completed by the setting's name and the value got.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast, get_type_hints

from polyscan.scores.score import Score

SMALLEST_PX, MOST_CHANNELS = 4, 32
MOST_MEAN_OR_STD = (
    2  # values lie in 0..1, so a mean does as well, and a deviation is .5 at most; 1 leaves them as they are
)
KINDS: dict[type, tuple[tuple[type, ...], str]] = {
    bool: ((bool,), "true or false"),
    int: ((int,), "a whole number"),
    float: ((int, float), "a number"),
    str: ((str,), "text"),
}


def checked_size(value: Any) -> Any:
    """A side in px, or height and width.

    Raises:
        ValueError: if it is something else.
    """
    numbers = _listed(value)
    is_whole = all(isinstance(number, int) and not isinstance(number, bool) for number in numbers)
    if value is not None and not (
        is_whole and len(numbers) == (1 + isinstance(value, list | tuple)) and min(numbers) >= SMALLEST_PX
    ):
        raise ValueError(f"input should be a whole number from {SMALLEST_PX} on, or [height, width]")
    return _plain(value)


def checked_per_channel(value: Any, *, is_positive: bool) -> Any:
    """A mean (or a standard deviation, which is above 0) for each channel, or one for all, of values in 0..1.

    Raises:
        ValueError: if it is something else, or plainly of values in 0..255.
    """
    numbers = _listed(value)
    is_valid = all(_is_number(number) and (number > 0 or not is_positive) for number in numbers)
    if value is not None and not (is_valid and 1 <= len(numbers) <= MOST_CHANNELS):
        bound = " above 0" if is_positive else ""
        raise ValueError(f"input should be a number{bound} or a list of up to {MOST_CHANNELS}, one for each channel")
    if value is not None and not all(-MOST_MEAN_OR_STD <= number <= MOST_MEAN_OR_STD for number in numbers):
        least = "above 0" if is_positive else f"from -{MOST_MEAN_OR_STD}"
        raise ValueError(
            f"input should be {least} to {MOST_MEAN_OR_STD}, because it is of values in 0..1 (divide by 255 what is of "
            "values in 0..255)"
        )
    return _plain(value)


def checked_range(value: Any) -> Any:
    """The words "format" and "image", or two rising numbers.

    Raises:
        ValueError: if it is something else.
    """
    if value in ("format", "image"):
        return value
    numbers = _listed(value)
    if not (len(numbers) == 2 and all(map(_is_number, numbers)) and numbers[0] < numbers[1]):
        raise ValueError('input should be "format", "image" or two rising numbers, [black, white]')
    return _plain(value)


def _listed(value: Any) -> list[Any]:
    return list(cast("Sequence[Any]", value)) if isinstance(value, list | tuple) else [value]


def _plain(value: Any) -> Any:
    """A list as the tuple that a frozen setting holds."""
    return tuple(cast("Sequence[Any]", value)) if isinstance(value, list | tuple) else value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


# ---- settings of scores ---------------------------------------------------------------------------------------------


def check_kinds(score: type[Score], settings: Mapping[str, Any]) -> None:
    """Refuses a score's setting that is not of its field's type; the score itself checks bounds.

    Raises:
        ValueError: with the name of the setting and the value got.
    """
    hints = get_type_hints(score)
    for name, value in settings.items():
        kinds, expected = KINDS.get(hints.get(name, object), ((object,), ""))
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds and object not in kinds):
            raise ValueError(f"`{name}` must be {expected}, got {value!r:.80}")
        if isinstance(value, int | float) and not -(2**63) <= value < 2**63:  # false for NaN, too
            raise ValueError(f"`{name}` must be a finite number of 64 bits, got {value!r:.80}")
