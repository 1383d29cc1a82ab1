"""Values that are computed once and kept, because a worker needs them repeatedly."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Memo(Generic[Key, Value]):
    """Values by key, each computed at first use.

    Args:
        make: computes the value of a key.
        most: number of values to keep; the oldest is dropped first. None: all.

    >>> lengths = Memo(len)
    >>> lengths("ab"), lengths("ab")
    (2, 2)
    """

    def __init__(self, make: Callable[[Key], Value], most: int | None = None) -> None:
        self._make = make
        self._most = most
        self._values: dict[Key, Value] = {}

    def __call__(self, key: Key) -> Value:
        """The value of that key."""
        if key not in self._values:
            while self._most is not None and len(self._values) >= self._most:
                self._values.pop(next(iter(self._values)))  # before the new value needs memory as well
            self._values[key] = self._make(key)
        return self._values[key]

    def forget(self) -> None:
        """Drops all values."""
        self._values.clear()
