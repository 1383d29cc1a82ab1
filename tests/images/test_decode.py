"""Decoding: right pixels from every mode that photos come in, a reason from everything else, never an exception."""

import struct
import warnings
import zlib
from collections.abc import Callable
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageOps

from polyscan.images.decode import decode
from polyscan.images.decoding import Decoding

MAX_PIXELS = 64_000_000
JPEG_TOLERANCE = 12  # grey levels that quality 95 with halved colour may be off on a smooth pattern
Encode = Callable[..., bytes]
Paint = Callable[..., np.ndarray]


def pixels_of(content: bytes, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    pixels = decode(content, max_pixels)
    assert isinstance(pixels, np.ndarray), pixels
    assert pixels.dtype == np.uint8
    assert pixels.ndim == 3
    assert pixels.shape[2] == 3
    assert pixels.flags.writeable
    assert pixels.flags.c_contiguous
    return pixels


def reason_of(content: bytes, max_pixels: int = MAX_PIXELS) -> str:
    reason = decode(content, max_pixels)
    assert isinstance(reason, str)
    assert "\n" not in reason
    return reason


def difference(a: np.ndarray, b: np.ndarray) -> int:
    assert a.shape == b.shape
    return int(np.abs(a.astype(int) - b.astype(int)).max())


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
def test_lossless_formats_give_the_very_pixels(kind: str, encode: Encode, painted: Paint) -> None:
    np.testing.assert_array_equal(pixels_of(encode(kind=kind)), painted())


def test_jpeg_gives_nearly_the_pixels(encode: Encode, painted: Paint) -> None:
    assert difference(pixels_of(encode()), painted()) <= JPEG_TOLERANCE


def test_webp_lossless(encode: Encode, painted: Paint) -> None:
    np.testing.assert_array_equal(pixels_of(encode(kind="WEBP", lossless=True)), painted())


def test_grey_has_three_equal_channels(encode: Encode) -> None:
    grey = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5
    np.testing.assert_array_equal(pixels_of(encode(grey, "PNG")), np.stack([grey] * 3, axis=-1))


def test_one_bit_is_black_and_white(encode: Encode) -> None:
    is_white = np.arange(48).reshape(6, 8) % 3 == 0
    image = Image.fromarray(np.where(is_white, 255, 0).astype(np.uint8)).convert("1")
    np.testing.assert_array_equal(pixels_of(encode(image, "PNG"))[:, :, 1], np.where(is_white, 255, 0))


def test_palette_is_looked_up(encode: Encode) -> None:
    image = Image.new("P", (4, 2), 1)
    image.putpalette([9, 9, 9, 250, 120, 10, 0, 40, 200])
    image.putpixel((3, 1), 2)
    pixels = pixels_of(encode(image, "PNG"))
    assert pixels[0, 0].tolist() == [250, 120, 10]
    assert pixels[1, 3].tolist() == [0, 40, 200]


def test_palette_transparency_is_white(encode: Encode) -> None:
    image = Image.new("P", (4, 2), 1)
    image.putpalette([9, 9, 9, 250, 120, 10])
    image.putpixel((0, 0), 0)
    pixels = pixels_of(encode(image, "PNG", transparency=0))
    assert pixels[0, 0].tolist() == [255, 255, 255]
    assert pixels[1, 1].tolist() == [250, 120, 10]


def test_alpha_is_laid_on_white(encode: Encode) -> None:
    rgba = np.zeros((2, 3, 4), np.uint8)
    rgba[..., 0] = 200
    rgba[0, :, 3] = [0, 255, 51]  # 51 is one fifth
    pixels = pixels_of(encode(rgba, "PNG"))
    assert pixels[0].tolist() == [[255, 255, 255], [200, 0, 0], [244, 204, 204]]


def test_grey_with_alpha_is_laid_on_white(encode: Encode) -> None:
    image = Image.merge("LA", [Image.new("L", (2, 2), 30), Image.new("L", (2, 2), 0)])
    assert (pixels_of(encode(image, "PNG")) == 255).all()


def test_16_bit_grey_keeps_its_shades(encode: Encode) -> None:
    grey = np.linspace(0, 65535, 60).astype(np.uint16).reshape(6, 10)
    pixels = pixels_of(encode(grey, "PNG"))
    np.testing.assert_array_equal(pixels, np.stack([grey >> 8] * 3, axis=-1))
    assert len(np.unique(pixels)) == 60


def test_16_bit_colour_is_read_by_its_high_bytes() -> None:
    rows = b"".join(b"\0" + struct.pack(">6H", 0, 0x80FF, 0xFFFF, 0x1234, 0xFF00, 0x00FF) for _ in range(2))
    pixels = pixels_of(png(2, 2, rows, depth=16, colour=2))
    assert pixels[1].tolist() == [[0, 0x80, 0xFF], [0x12, 0xFF, 0x00]]


def test_16_bit_grey_with_alpha_is_read() -> None:
    rows = b"".join(b"\0" + struct.pack(">4H", 0x4000, 0xFFFF, 0x9000, 0) for _ in range(2))
    assert pixels_of(png(2, 2, rows, depth=16, colour=4))[0].tolist() == [[0x40] * 3, [255] * 3]


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_numbers_without_a_white_are_spread(dtype: type, encode: Encode) -> None:
    values = np.array([[-2, 0, 1], [2, 4, 8]], dtype)
    expected = np.rint((values.astype(float) + 2) * 25.5).astype(int)
    np.testing.assert_array_equal(pixels_of(encode(values, "TIFF"))[:, :, 0], expected)
    assert (pixels_of(encode(np.full_like(values, 7), "TIFF")) == 0).all()


def test_numbers_that_are_not_finite_are_refused(encode: Encode) -> None:
    assert reason_of(encode(np.array([[1, np.nan]], np.float32), "TIFF")).startswith("corrupt: its values are not")


def test_cmyk_jpeg_is_turned_into_rgb(encode: Encode) -> None:
    image = Image.new("CMYK", (16, 16), (0, 255, 255, 0))  # full magenta and yellow: red
    assert difference(pixels_of(encode(image)), np.full((16, 16, 3), (255, 0, 0))) <= JPEG_TOLERANCE


def test_an_animation_gives_its_first_frame(encode: Encode) -> None:
    frames = [Image.new("RGB", (8, 6), colour) for colour in ("red", "lime", "blue")]
    for kind in ("GIF", "PNG", "WEBP"):
        options = {"lossless": True} if kind == "WEBP" else {}
        content = encode(frames[0], kind, save_all=True, append_images=frames[1:], duration=50, **options)
        with Image.open(BytesIO(content)) as image:
            assert getattr(image, "n_frames", 1) == 3
        np.testing.assert_array_equal(pixels_of(content), np.full((6, 8, 3), (255, 0, 0)))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_exif_orientation_is_applied(kind: str, orientation: int, encode: Encode) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encode(kind=kind, exif=exif)
    with Image.open(BytesIO(content)) as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    np.testing.assert_array_equal(pixels_of(content), expected)
    assert pixels_of(content).shape[:2] == ((24, 36) if orientation < 5 else (36, 24))


def test_orientation_6_puts_the_left_side_on_top(encode: Encode) -> None:
    """Hand-made truth beside Pillow's: 6 means that the camera was turned, its first column is the top row."""
    stored = np.zeros((2, 3, 3), np.uint8)
    stored[1, 0] = 255  # bottom left as stored
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = pixels_of(encode(stored, "PNG", exif=exif))
    assert pixels.shape == (3, 2, 3)
    assert pixels[0, 0].tolist() == [255, 255, 255]
    assert pixels.sum() == 3 * 255


@pytest.mark.parametrize("tag", [0, 9, 77, 65535])
def test_a_senseless_orientation_spoils_no_picture(tag: int, encode: Encode, painted: Paint) -> None:
    exif = Image.Exif()
    exif[0x0112] = tag
    np.testing.assert_array_equal(pixels_of(encode(kind="PNG", exif=exif)), painted())


def test_damaged_exif_spoils_no_picture(encode: Encode, painted: Paint) -> None:
    content = encode(exif=b"Exif\0\0II*\0\xff\xff\xff\x7f garbage")
    assert difference(pixels_of(content), painted()) <= JPEG_TOLERANCE


@pytest.mark.parametrize(
    ("content", "start"),
    [
        (b"", "empty: no bytes"),
        (b"\0", "not an image"),
        (b"\0" * 5000, "not an image"),
        (b"just some notes\n", "not an image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n", "not an image"),
        (b"\xff\xd8\xff", "not an image"),
    ],
)
def test_what_is_no_image_is_refused(content: bytes, start: str) -> None:
    assert reason_of(content).startswith(start)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "GIF"])
@pytest.mark.parametrize("share", [0.9, 0.7])
def test_truncated_files_are_refused(kind: str, share: float, encode: Encode) -> None:
    noise = np.random.default_rng(3).integers(0, 256, (64, 64, 3), dtype=np.uint8)  # nothing to compress away
    content = encode(noise, kind)
    reason = reason_of(content[: int(len(content) * share)])
    assert reason.startswith(("truncated: ", "corrupt: "))
    assert kind != "JPEG" or reason.startswith("truncated: ")


def test_a_file_of_another_name_counts_by_its_bytes(encode: Encode, painted: Paint) -> None:
    """A decoder never sees a name, so PNG bytes called `.jpg` are a picture."""
    np.testing.assert_array_equal(pixels_of(encode(kind="PNG")), painted())


def test_size_is_bounded_by_pixels(encode: Encode, painted: Paint) -> None:
    content = encode(painted(10, 20), "PNG")
    assert pixels_of(content, max_pixels=200).shape == (10, 20, 3)
    assert reason_of(content, max_pixels=199) == "huge: 20x10 is 200 pixels, allowed are 199"


@pytest.mark.parametrize("side", [9_000, 12_000, 30_000])
def test_a_bomb_is_refused_before_its_pixels(side: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """81 Mpx is quiet in Pillow, 144 Mpx warns, 900 Mpx raises; none may be decoded."""

    def explode(*_: object) -> None:
        raise AssertionError("pixels were decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", explode)
    content = png(side, side, b"\0" * 100, depth=1, colour=0)
    assert reason_of(content).startswith("huge: ")


def test_the_bomb_test_would_see_decoding(encode: Encode, monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(*_: object) -> None:
        raise AssertionError("pixels were decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", explode)
    assert reason_of(encode()) == "corrupt: pixels were decoded"


def test_pillow_may_warn_but_nobody_hears(encode: Encode) -> None:
    image = Image.new("P", (4, 2), 1)
    image.putpalette([9, 9, 9, 250, 120, 10])
    content = encode(image, "PNG", transparency=bytes([0, 9]))
    with pytest.warns(UserWarning, match="Transparency"):
        Image.open(BytesIO(content)).convert("RGB")
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        assert isinstance(decode(content, MAX_PIXELS, Decoding(alpha="drop")), np.ndarray)
    assert heard == []


def test_lack_of_memory_is_no_reason(encode: Encode, monkeypatch: pytest.MonkeyPatch) -> None:
    def starve(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", starve)
    with pytest.raises(MemoryError):
        decode(encode(), MAX_PIXELS)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP"])
def test_mutated_files_never_raise_and_never_warn(kind: str, encode: Encode, painted: Paint) -> None:
    """300 JPEGs and 100 of each other format with flipped bytes, cut-outs, repeats, swaps and cut-off ends."""
    random = np.random.default_rng(20240607)
    exif = Image.Exif()
    exif[0x0112] = 6
    content = encode(painted(40, 56), kind, **({"exif": exif} if kind in ("JPEG", "TIFF") else {}))
    n_readable = 0
    n_files = 300 if kind == "JPEG" else 100
    for _ in range(n_files):
        outcome = decode(mutated(content, random), 10_000)
        n_readable += isinstance(outcome, np.ndarray)
        if isinstance(outcome, str):
            assert outcome.startswith(
                ("truncated: ", "corrupt: ", "huge: ", "not an image", "empty: ", "unsupported: ")
            )
            assert "\n" not in outcome
        else:
            assert outcome.shape[0] * outcome.shape[1] <= 10_000
    # Both ends must occur, or the mutations would test one path only; but a PNG's check sums tell any damage.
    assert n_readable < n_files
    assert (n_readable == 0) == (kind == "PNG")


def mutated(content: bytes, random: np.random.Generator) -> bytes:
    """`content` with one to eight kinds of harm done to it."""
    data = bytearray(content)
    for _ in range(int(random.integers(1, 9))):
        start = int(random.integers(0, max(1, len(data))))
        stop = min(len(data), start + int(random.integers(1, 20)))
        harm = int(random.integers(0, 12))
        if harm == 0:
            del data[start:stop]
        elif harm == 1:
            data[start:start] = data[start:stop]
        elif harm == 2:
            data[start:stop] = random.bytes(stop - start)
        elif harm == 3:
            data[start:stop] = b"\xff" * (stop - start)
        elif harm == 4:
            del data[-int(random.integers(1, 200)) :]
        elif start < len(data):
            data[start] ^= 1 << int(random.integers(0, 8))
    return bytes(data)


def png(width: int, height: int, rows: bytes, *, depth: int, colour: int) -> bytes:
    """A PNG made by hand, whose header may say anything."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body
