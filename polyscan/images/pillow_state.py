"""Pillow's settings that hold for the whole process, as decoding needs them, whatever the user's own code set."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from threading import Lock
from typing import Any

from PIL import GifImagePlugin, Image, ImageFile, PngImagePlugin, TiffImagePlugin

LEAST_GUARD = 89_478_485  # pixels; Pillow's own bound, of which it refuses twice as many


@contextmanager
def pillow_settings(max_pixels: int) -> Generator[None]:
    """Within it, a damaged file is an error, and limits and modes are Pillow's defaults; threads may be in it at once.

    Args:
        max_pixels: as in `decode`; so many are never too many for Pillow.
    """
    _SETTINGS.enter(max_pixels)
    try:
        yield
    finally:
        _SETTINGS.leave()


class _Settings:
    """The settings as they were before the first thread entered; the last that leaves restores them."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._before: list[tuple[Any, str, Any]] = []
        self._n_inside = 0

    def enter(self, max_pixels: int) -> None:
        with self._lock:
            self._n_inside += 1
            if self._n_inside == 1:
                wanted = _wanted(max_pixels)
                self._before = [(place, name, getattr(place, name)) for place, name, _ in wanted]
                _set(wanted)
            else:
                Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS or 0, max_pixels)

    def leave(self) -> None:
        with self._lock:
            self._n_inside -= 1
            if self._n_inside == 0:
                _set(self._before)


def _set(settings: list[tuple[Any, str, Any]]) -> None:
    for place, name, value in settings:
        setattr(place, name, value)


def _wanted(max_pixels: int) -> list[tuple[Any, str, Any]]:
    """Module, name and value of each setting."""
    return [
        (ImageFile, "LOAD_TRUNCATED_IMAGES", False),
        (Image, "MAX_IMAGE_PIXELS", max(LEAST_GUARD, max_pixels)),
        (PngImagePlugin, "MAX_TEXT_CHUNK", 1 << 20),
        (PngImagePlugin, "MAX_TEXT_MEMORY", 1 << 26),
        (GifImagePlugin, "LOADING_STRATEGY", GifImagePlugin.LoadingStrategy.RGB_AFTER_FIRST),
        (TiffImagePlugin, "READ_LIBTIFF", False),  # only where libtiff is needed
    ]


_SETTINGS = _Settings()
