"""Choices that decoding leaves open: what each gives, and which ones give what torchvision's ImageFolder gives."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets.folder import default_loader

from polyscan.images import ImageOptions, open_images
from polyscan.images.decode import decode
from polyscan.images.decoding import Decoding

Encode = Callable[..., bytes]
MAX_PIXELS = 1_000_000
AS_TORCHVISION = Decoding(exif="ignore", alpha="drop", value_range=(0, 255))


def pixels_of(content: bytes, **how: object) -> np.ndarray:
    pixels = decode(content, MAX_PIXELS, Decoding(**how))
    assert isinstance(pixels, np.ndarray), pixels
    assert pixels.flags.writeable
    return pixels


def rgba() -> np.ndarray:
    """A red picture, more transparent from left to right."""
    pixels = np.zeros((3, 4, 4), np.uint8)
    pixels[..., 0] = 200
    pixels[..., 3] = [255, 170, 51, 0]
    return pixels


def turned(encode: Encode, kind: str) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encode(kind=kind, exif=exif)


def palette(encode: Encode) -> bytes:
    image = Image.new("P", (4, 2), 1)
    image.putpalette([9, 90, 9, 250, 120, 10])
    image.putpixel((0, 0), 0)
    return encode(image, "PNG", transparency=0)


def deep_png(colour: int, channels: int) -> bytes:
    """A PNG of 3 x 2 px and 16 bits."""
    values = np.linspace(0, 65535, 6 * channels).astype(">u2").reshape(2, -1)
    rows = b"".join(b"\0" + row.tobytes() for row in values)

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", 3, 2, 16, colour, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


GREY16 = np.array([[0, 100, 255], [256, 4096, 65535]], np.uint16)
INT32 = np.array([[-7, 0, 100], [255, 256, 70_000]], np.int32)
SAME = {
    "jpeg turned": lambda encode: turned(encode, "JPEG"),
    "png turned": lambda encode: turned(encode, "PNG"),
    "tiff turned": lambda encode: turned(encode, "TIFF"),
    "png alpha": lambda encode: encode(rgba(), "PNG"),
    "webp alpha": lambda encode: encode(rgba(), "WEBP", lossless=True),
    "png palette": palette,
    "png grey": lambda encode: encode(GREY16.astype(np.uint8), "PNG"),
    "png 16-bit grey": lambda encode: encode(GREY16, "PNG"),
    "tiff 16-bit grey": lambda encode: encode(GREY16, "TIFF"),
    "tiff 32-bit": lambda encode: encode(INT32, "TIFF"),
    "jpeg cmyk": lambda encode: encode(Image.new("CMYK", (16, 16), (0, 255, 99, 20))),
}


@pytest.mark.parametrize("name", SAME)
def test_torchvisions_choices_give_torchvisions_pixels(name: str, encode: Encode, tmp_path: Path) -> None:
    content = SAME[name](encode)
    (tmp_path / "picture").write_bytes(content)
    theirs = np.asarray(default_loader(str(tmp_path / "picture")))
    ours = decode(content, MAX_PIXELS, AS_TORCHVISION)
    assert isinstance(ours, np.ndarray), ours
    np.testing.assert_array_equal(ours, theirs)


DIFFERS = {
    "jpeg turned": True,
    "png turned": True,
    "tiff turned": False,  # Pillow turns TIFF by itself
    "png alpha": True,
    "webp alpha": True,
    "png palette": True,
    "png grey": False,
    "png 16-bit grey": True,
    "tiff 16-bit grey": True,
    "tiff 32-bit": True,
    "jpeg cmyk": False,
}


@pytest.mark.parametrize("name", SAME)
def test_the_defaults_differ_from_torchvision_where_the_docs_say_so(name: str, encode: Encode, tmp_path: Path) -> None:
    content = SAME[name](encode)
    (tmp_path / "picture").write_bytes(content)
    theirs, ours = np.asarray(default_loader(str(tmp_path / "picture"))), pixels_of(content)
    assert (ours.shape != theirs.shape or not np.array_equal(ours, theirs)) == DIFFERS[name]


def test_16_bit_colours_are_those_of_torchvision(tmp_path: Path) -> None:
    (tmp_path / "picture").write_bytes(deep_png(2, 3))
    theirs = np.asarray(default_loader(str(tmp_path / "picture")))
    np.testing.assert_array_equal(pixels_of(deep_png(2, 3)), theirs)


def test_alpha_on_black_dropped_and_kept(encode: Encode) -> None:
    content = encode(rgba(), "PNG")
    assert pixels_of(content, alpha="black")[0, :, 0].tolist() == [200, 133, 40, 0]
    assert pixels_of(content, alpha="drop")[0, :, 0].tolist() == [200] * 4
    np.testing.assert_array_equal(pixels_of(content, alpha="keep"), rgba())
    opaque = encode(rgba()[:, :, :3], "PNG")
    for alpha in ("white", "black", "drop", "keep"):
        np.testing.assert_array_equal(pixels_of(opaque, alpha=alpha), rgba()[:, :, :3])


def test_kept_alpha_is_turned_with_the_picture(encode: Encode) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    content = encode(rgba(), "PNG", exif=exif)
    np.testing.assert_array_equal(pixels_of(content, alpha="keep"), np.rot90(rgba(), -1))
    np.testing.assert_array_equal(pixels_of(content, alpha="keep", exif="ignore"), rgba())


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_values_between_two_numbers(kind: str, encode: Encode) -> None:
    found = pixels_of(encode(GREY16, kind), value_range=(100, 4096))[:, :, 0]
    expected = np.rint((GREY16.astype(float) - 100) * 255 / 3996).clip(0, 255)
    np.testing.assert_array_equal(found, expected)


def test_each_image_from_its_own_least_to_its_largest_value(encode: Encode) -> None:
    found = pixels_of(encode(GREY16 // 16 + 50, "PNG"), value_range="image")
    assert (found.min(), found.max()) == (0, 255)
    np.testing.assert_array_equal(found[..., 0], found[..., 2])


def test_bytes_are_never_stretched(encode: Encode) -> None:
    grey = np.array([[10, 20]], np.uint8)
    for value_range in ("format", "image", (0.0, 1.0)):
        assert pixels_of(encode(grey, "PNG"), value_range=value_range)[0, :, 0].tolist() == [10, 20]


@pytest.mark.parametrize(("colour", "channels"), [(2, 3), (4, 2), (6, 4)])
def test_colours_of_16_bits_are_refused_where_a_range_is_set(colour: int, channels: int) -> None:
    """Only their high bytes are read, so a range could not be kept."""
    reason = decode(deep_png(colour, channels), MAX_PIXELS, Decoding(value_range=(0, 4095)))
    assert isinstance(reason, str)
    assert reason.startswith("unsupported: colours of 16 bits")
    assert "images.value_range" in reason


def test_a_choice_changes_the_digest_and_a_default_does_not(tmp_path: Path, encode: Encode) -> None:
    (tmp_path / "a.png").write_bytes(encode(kind="PNG"))
    plain = open_images(str(tmp_path), options=ImageOptions()).digest
    choices = {
        "exif": "ignore",
        "alpha": "drop",
        "value_range": (0.0, 9.0),
        "npy_axes": "cyx",
        "tiff_pages": "channels",
    }
    digests = {
        open_images(str(tmp_path), options=ImageOptions(**{name: value})).digest for name, value in choices.items()
    }
    assert len(digests | {plain}) == 1 + len(choices)
    assert Decoding().changes == {}


def test_a_folder_is_read_as_its_options_say(tmp_path: Path, encode: Encode) -> None:
    (tmp_path / "a.png").write_bytes(encode(rgba(), "PNG"))
    (picture,) = open_images(str(tmp_path), options=ImageOptions(alpha="keep")).read([0])
    np.testing.assert_array_equal(picture.pixels, rgba())


# ---- TIFF of many channels -------------------------------------------------------------------------------------------


def pages(arrays: list[np.ndarray]) -> bytes:
    first, *more = [Image.fromarray(array) for array in arrays]
    stream = BytesIO()
    first.save(stream, "TIFF", save_all=True, append_images=more)
    return stream.getvalue()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_pages_as_channels(dtype: type) -> None:
    random = np.random.default_rng(0)
    arrays = [(random.random((5, 7)) * 250).astype(dtype) * (257 if dtype is np.uint16 else 1) for _ in range(6)]
    found = pixels_of(pages(arrays), tiff_pages="channels")
    values = np.stack(arrays, axis=2)
    low, high = (values.min(), values.max()) if dtype is np.float32 else (0, np.iinfo(dtype).max)
    assert found.shape == (5, 7, 6)
    assert np.abs(found - (values.astype(float) - low) * 255 / (high - low)).max() <= 1
    assert np.array_equal(pixels_of(pages(arrays))[..., 1], pixels_of(pages(arrays[:1]))[..., 1]), (
        "the first by default"
    )


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ([np.zeros((4, 4), np.uint8), np.zeros((4, 5), np.uint8)], "page 2 has another size or type"),
        ([np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.uint16)], "page 2 has another size or type"),
        ([np.zeros((4, 4, 3), np.uint8)] * 2, "page 1 is of mode RGB"),
        ([np.zeros((4, 4), np.uint8)] * 33, "33 pages as channels; allowed are 1 to 32"),
    ],
)
def test_pages_that_are_no_channels_are_refused(arrays: list[np.ndarray], says: str) -> None:
    reason = decode(pages(arrays), MAX_PIXELS, Decoding(tiff_pages="channels"))
    assert isinstance(reason, str)
    assert reason.startswith("unsupported: ")
    assert says in reason


def test_a_page_larger_than_allowed_is_refused() -> None:
    content = pages([np.zeros((4, 4), np.uint8), np.zeros((40, 40), np.uint8)])
    assert str(decode(content, 1_000, Decoding(tiff_pages="channels"))).startswith("huge: 40x40 is 1600 pixels")


def test_all_pages_together_hold_no_more_pixels_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused before any is decoded."""
    content = pages([np.zeros((10, 20), np.uint8)] * 6)
    assert pixels_of(content, tiff_pages="channels").shape == (10, 20, 6)
    assert isinstance(decode(content, 1_200, Decoding(tiff_pages="channels")), np.ndarray)
    assert isinstance(decode(content, 1_199), np.ndarray), "the first page alone"
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", None)
    reason = decode(content, 1_199, Decoding(tiff_pages="channels"))
    assert reason == "huge: 6 pages of 20x10 are 1200 pixels, allowed are 1199"


def samples_tiff(channels: int, *, photometric: int, planar: int = 1) -> bytes:
    """A TIFF of 4 x 4 px with so many channels per pixel, as other programs write it."""
    body = bytes(16 * channels)
    bits = struct.pack(f"<{channels}H", *[8] * channels)
    extra = struct.pack(f"<{channels}H", *[0] * channels)
    at_bits, at_extra = 8 + len(body), 8 + len(body) + len(bits)
    n_extra = channels - (3 if photometric == 2 else 1)
    entries = [
        (256, 4, 1, 4), (257, 4, 1, 4), (258, 3, channels, at_bits if channels > 2 else 8 | 8 << 16), (259, 3, 1, 1),
        (262, 3, 1, photometric), (273, 4, 1, 8), (277, 3, 1, channels), (278, 4, 1, 4), (279, 4, 1, len(body)),
        (284, 3, 1, planar), (338, 3, n_extra, at_extra if n_extra > 2 else 0),
    ]  # fmt: skip
    where = at_extra + len(extra)
    table = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return (
        b"II*\0" + struct.pack("<I", where) + body + bits + extra + struct.pack("<H", len(entries)) + table + bytes(4)
    )


@pytest.mark.parametrize("photometric", [1, 2])
@pytest.mark.parametrize("channels", [5, 6, 8, 13])
def test_channels_within_a_pixel_that_pillow_drops_or_refuses_are_a_reason(channels: int, photometric: int) -> None:
    reason = decode(samples_tiff(channels, photometric=photometric), MAX_PIXELS)
    assert isinstance(reason, str)
    assert reason.startswith(f"unsupported: a TIFF of {channels} channels per pixel; ")
    assert ".npy" in reason
    assert "`images.tiff_pages`" in reason


def test_a_fourth_channel_that_is_not_alpha_cannot_be_kept() -> None:
    """Pillow drops it: with a word where it is wanted, without one where only colours are."""
    content = samples_tiff(4, photometric=2)
    assert pixels_of(content).shape == (4, 4, 3)
    reason = decode(content, MAX_PIXELS, Decoding(alpha="keep"))
    assert str(reason).startswith("unsupported: a TIFF of 4 channels per pixel; ")
