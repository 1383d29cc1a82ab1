"""PNG whose check sums disagree are rejects, wherever the damage is."""

import random
from collections.abc import Callable

import numpy as np
import pytest

from polyscan.images.damage import png_damage
from polyscan.images.decode import decode

Encode = Callable[..., bytes]


@pytest.fixture
def noise(encode: Encode) -> bytes:
    """A PNG of several kilobytes that hardly compresses."""
    return encode(np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8), "PNG")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.8, 0.95, 0.999])
def test_a_tail_of_zeros_is_damage(share: float, noise: bytes) -> None:
    kept = int(len(noise) * share)
    reason = decode(noise[:kept] + bytes(len(noise) - kept), 10_000)
    assert isinstance(reason, str)
    assert reason.startswith(("corrupt: ", "truncated: "))


@pytest.mark.parametrize("seed", range(40))
def test_a_flipped_bit_anywhere_is_damage(seed: int, noise: bytes) -> None:
    data, drawn = bytearray(noise), random.Random(seed)
    data[drawn.randrange(8, len(data))] ^= 1 << drawn.randrange(8)
    assert isinstance(decode(bytes(data), 10_000), str)


def test_a_missing_end_is_said(noise: bytes) -> None:
    assert decode(noise[:-12], 10_000) == "truncated: its end is missing"


def test_what_is_whole_is_read(noise: bytes, encode: Encode) -> None:
    assert png_damage(noise) == ""
    assert png_damage(noise + b"what a camera wrote behind") == ""
    assert png_damage(encode()) == ""
