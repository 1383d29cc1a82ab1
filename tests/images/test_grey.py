"""Grey of more than 8 bits: what is white, what is transparent, and which way round."""

import struct
from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from polyscan.images.decode import decode
from polyscan.images.decoding import Decoding

Encode = Callable[..., bytes]
SHADES = np.array([[0, 100, 255, 256], [2048, 3000, 4000, 4095]], np.uint16)
FULL = np.array([[0, 255, 256, 4096], [30000, 40000, 65280, 65535]], np.uint16)


def grey(content: bytes, **how: Any) -> np.ndarray:
    found = decode(content, 1_000, Decoding(**how))
    assert isinstance(found, np.ndarray), found
    return found[:, :, 0]


def pgm(values: np.ndarray, most: int, *, plain: bool = False) -> bytes:
    height, width = values.shape
    header = b"P%d\n%d %d\n%d\n" % (2 if plain else 5, width, height, most)
    return header + (" ".join(map(str, values.ravel())).encode() if plain else values.astype(">u2").tobytes())


def tiff(values: np.ndarray, *, white_zero: bool, body: bytes | None = None, bits: int = 0) -> bytes:
    """A TIFF of one grey channel, as programs write it that count from white."""
    data, kind = body or values.tobytes(), {"u": 1, "i": 2, "f": 3}[values.dtype.kind]
    entries = [
        (256, values.shape[1]), (257, values.shape[0]), (258, bits or values.dtype.itemsize * 8), (259, 1),
        (262, 0 if white_zero else 1), (273, 8), (277, 1), (278, values.shape[0]), (279, len(data)), (339, kind),
    ]  # fmt: skip
    table = b"".join(struct.pack("<HHII", tag, 4 if tag in (273, 279) else 3, 1, value) for tag, value in entries)
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + struct.pack("<H", len(entries)) + table + bytes(4)


def packed_12_bits(values: np.ndarray) -> bytes:
    pairs = values.reshape(-1, 2).astype(int)
    return b"".join(bytes([a >> 4, (a & 15) << 4 | b >> 8, b & 255]) for a, b in pairs)


@pytest.mark.parametrize("plain", [False, True])
def test_a_pgm_of_16_bits_is_read_like_a_png(plain: bool, encode: Encode) -> None:
    for values in (FULL, SHADES):  # the second is dark: it is not stretched
        found = grey(pgm(values, 65535, plain=plain))
        np.testing.assert_array_equal(found, grey(encode(values, "PNG")))
        np.testing.assert_array_equal(found, values >> 8)


@pytest.mark.parametrize("most", [4095, 1023, 40000])
def test_the_largest_value_of_a_pgm_is_white(most: int) -> None:
    values = np.linspace(0, most, 8).round().astype(np.uint16).reshape(2, 4)
    found = grey(pgm(values, most))
    assert np.abs(found - values * (255 / most)).max() <= 1
    assert found.max() == 255


@pytest.mark.parametrize("most", [4095, 40000, 65535])
def test_a_range_is_of_the_values_that_stand_in_the_file(most: int) -> None:
    found = grey(pgm(SHADES, most), value_range=(100, 4000))
    np.testing.assert_array_equal(found, np.rint((SHADES.astype(float) - 100) * 255 / 3900).clip(0, 255))


def test_a_range_for_colours_of_16_bits_is_refused_in_ppm_too() -> None:
    content = b"P6\n2 1\n65535\n" + bytes(12)
    assert grey(content).max() == 0
    assert str(decode(content, 9, Decoding(value_range=(0, 9)))).startswith("unsupported: colours of 16 bits")
    assert grey(b"P6\n2 1\n255\n" + bytes(6), value_range=(0, 9)).max() == 0


@pytest.mark.parametrize("values", [FULL.astype(np.uint8), FULL, (FULL / 65535).astype(np.float32)])
@pytest.mark.parametrize("value_range", ["format", "image"])
def test_a_tiff_in_which_0_is_white_is_turned_round(values: np.ndarray, value_range: str) -> None:
    as_usual = grey(tiff(values, white_zero=False), value_range=value_range)
    np.testing.assert_array_equal(grey(tiff(values, white_zero=True), value_range=value_range), 255 - as_usual)


def test_a_range_that_begins_with_black_is_refused_where_0_is_white() -> None:
    reason = decode(tiff(FULL, white_zero=True), 1_000, Decoding(value_range=(0, 4095)))
    assert str(reason).startswith("unsupported: a TIFF in which 0 is white")
    assert grey(tiff(FULL, white_zero=False), value_range=(0, 4095)).max() == 255


def test_a_page_in_which_0_is_white_is_no_channel() -> None:
    stream = BytesIO()
    pages = [Image.fromarray(FULL)] * 2
    pages[0].save(stream, "TIFF", save_all=True, append_images=pages[1:])
    content = stream.getvalue()
    turned = content.replace(struct.pack("<HHIHH", 262, 3, 1, 1, 0), struct.pack("<HHIHH", 262, 3, 1, 0, 0))
    assert turned != content
    reason = decode(turned, 1_000, Decoding(tiff_pages="channels"))
    assert str(reason).startswith("unsupported: in page 1, 0 is white")


def test_a_tiff_of_12_bits_uses_them_all() -> None:
    content = tiff(SHADES, white_zero=False, body=packed_12_bits(SHADES), bits=12)
    np.testing.assert_array_equal(grey(content), SHADES >> 4)
    np.testing.assert_array_equal(grey(content, value_range=(0, 4095)), np.rint(SHADES * (255 / 4095)))


@pytest.mark.parametrize("exif", ["turn", "ignore"])
def test_the_transparent_grey_of_a_png_of_16_bits(exif: str, encode: Encode) -> None:
    content = encode(FULL, "PNG", transparency=4096)
    is_clear = FULL == 4096
    for page, shade in (("white", 255), ("black", 0)):
        np.testing.assert_array_equal(grey(content, alpha=page, exif=exif), np.where(is_clear, shade, FULL >> 8))
    np.testing.assert_array_equal(grey(content, alpha="drop", exif=exif), FULL >> 8)
    kept = decode(content, 1_000, Decoding(alpha="keep", exif=exif))
    assert isinstance(kept, np.ndarray)
    np.testing.assert_array_equal(kept[:, :, 3], np.where(is_clear, 0, 255))
    np.testing.assert_array_equal(kept[:, :, 1], FULL >> 8)
