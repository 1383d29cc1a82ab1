"""Damaged files told from lost connections: the first stay as they are, the second may be gone at the next try."""

from __future__ import annotations


def is_damage(error: Exception) -> bool:
    """Whether it says that bytes which did arrive can't be understood.

    Arrow tells damage by its own errors, by what Python raises for wrong values, or by an OSError without a number; a
    damaged length by asking for more memory than there is.
    """
    if isinstance(error, OSError):
        return type(error) is OSError and error.errno is None
    is_arrows = type(error).__module__.partition(".")[0] == "pyarrow"
    return is_arrows or isinstance(error, (ValueError, LookupError, TypeError, OverflowError))
