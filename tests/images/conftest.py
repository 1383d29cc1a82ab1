"""Painted images as file contents."""

from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

Encode = Callable[..., bytes]


@pytest.fixture
def painted() -> Callable[..., np.ndarray]:
    """A smooth colour pattern of a given size, so that JPEG keeps it within a few grey levels."""

    def paint(height: int = 24, width: int = 36, shift: int = 0) -> np.ndarray:
        y, x = np.mgrid[:height, :width]
        channels = [60 + 3 * x + shift, 200 - 4 * y + shift, 100 + x + y]
        return np.stack(channels, axis=-1).clip(0, 255).astype(np.uint8)

    return paint


@pytest.fixture
def encode(painted: Callable[..., np.ndarray]) -> Encode:
    """Bytes of an image file, as Pillow writes it; of a painted one where no pixels are given."""

    def encoded(pixels: np.ndarray | Image.Image | None = None, kind: str = "JPEG", **options: Any) -> bytes:
        pixels = painted() if pixels is None else pixels
        image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
        stream = BytesIO()
        image.save(stream, kind, **({"quality": 95} if kind == "JPEG" else {}) | options)
        return stream.getvalue()

    return encoded
