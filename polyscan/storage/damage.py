"""Distinguishes damaged files from lost connections: only the latter may succeed at the next try."""

from __future__ import annotations


def is_damage(error: Exception) -> bool:
    """Whether an error means that bytes arrived but can't be understood.

    For damaged bytes, Arrow raises its own errors, Python's errors for wrong values, or an OSError without a number.
    A damaged length makes it ask for more memory than there is, which is one of its own errors.
    """
    if isinstance(error, OSError):
        return type(error) is OSError and error.errno is None
    is_from_arrow = type(error).__module__.partition(".")[0] == "pyarrow"
    return is_from_arrow or isinstance(error, (ValueError, LookupError, TypeError, OverflowError))
