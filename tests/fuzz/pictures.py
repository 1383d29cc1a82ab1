"""Image files made to hurt: the same file for the same seed, on every machine with the same Pillow.

Most are small pictures of every kind with harm done to them (`mutant`); the others are bombs, each built by hand for
one weakness that a format has (`BOMBS`).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from functools import cache
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image, features

Random = np.random.Generator
BAD_NUMBERS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF, 60_000, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF)
ORIENTATION = 0x0112


# ---- sound files of every kind ---------------------------------------------------------------------------------------


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def as_npy(array: np.ndarray) -> bytes:
    stream = BytesIO()
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue()


def painted(height: int = 40, width: int = 56) -> np.ndarray:
    """A smooth pattern with some noise, so that every coder has something to do."""
    y, x = np.mgrid[:height, :width]
    noise = np.random.default_rng(5).integers(0, 30, (height, width))
    return np.stack([3 * x + noise, 200 - 3 * y, x + y + noise], axis=-1).clip(0, 255).astype(np.uint8)


def _undated(avif: bytes) -> bytes:
    """Without the times that a moving AVIF says it was made at: a seed names a file for good."""
    data = bytearray(avif)
    for box in (b"mvhd", b"tkhd", b"mdhd"):
        at = data.find(box)
        while at >= 0:
            data[at + 8 : at + 24] = bytes(16)
            at = data.find(box, at + 24)
    return bytes(data)


@cache
def sound_files() -> dict[str, bytes]:
    """A small picture of every kind that is read, and of some that are not (ICO), by name."""
    rgb = Image.fromarray(painted())
    grey, rgba = rgb.convert("L"), rgb.convert("RGBA")
    rgba.putalpha(grey)
    palette = rgb.quantize(40)
    deep = Image.fromarray((painted()[:, :, 0].astype(np.uint16) << 8) + 77)
    real = Image.fromarray(painted()[:, :, 0].astype(np.float32) / 7)
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    profile = b"acsp" + bytes(range(256)) * 4
    pages = [rgb.rotate(90), rgb.rotate(180)]
    movie: dict[str, Any] = {"save_all": True, "append_images": pages, "duration": 40}
    files = {
        "jpeg": saved(rgb, "JPEG"),
        "jpeg progressive": saved(rgb, "JPEG", progressive=True, quality=95),
        "jpeg exif": saved(rgb, "JPEG", exif=exif, icc_profile=profile),
        "jpeg cmyk": saved(rgb.convert("CMYK"), "JPEG"),
        "jpeg grey": saved(grey, "JPEG", restart_marker_blocks=2),
        "mpo": saved(rgb, "MPO", **movie),
        "png": saved(rgb, "PNG"),
        "png palette": saved(palette, "PNG", transparency=3),
        "png alpha": saved(rgba, "PNG", exif=exif, icc_profile=profile),
        "png 16": saved(deep, "PNG"),
        "png 1": saved(rgb.convert("1"), "PNG"),
        "png moving": saved(rgb, "PNG", **movie),
        "gif": saved(palette, "GIF", transparency=2),
        "gif moving": saved(rgb, "GIF", loop=0, **movie),
        "webp": saved(rgb, "WEBP"),
        "webp lossless": saved(rgba, "WEBP", lossless=True, exif=exif.tobytes(), icc_profile=profile),
        "webp moving": saved(rgb, "WEBP", **movie),
        "bmp": saved(rgb, "BMP"),
        "bmp palette": saved(palette, "BMP"),
        "dib": saved(rgb, "DIB"),
        "ico": saved(rgba, "ICO", sizes=[(16, 16), (32, 32)]),
        "ppm": saved(rgb, "PPM"),
        "pgm plain": b"P2\n# a comment\n8 6\n255\n" + b" ".join(b"%d" % (5 * n) for n in range(48)) + b"\n",
        "tiff": saved(rgb, "TIFF", exif=exif),
        "tiff float": saved(real, "TIFF"),
        "tiff 16": saved(deep, "TIFF"),
        "tiff pages": saved(rgb, "TIFF", save_all=True, append_images=[rgb.rotate(7)]),  # others bear marks of a coder
    }
    bands = np.concatenate([painted()] * 3, axis=2)[:, :, :8]
    for name, array in {
        "npy": bands,
        "npy channels first": np.moveaxis(bands, 2, 0).copy(),
        "npy 16": bands[:, :, 0].astype(np.uint16) << 8,
        "npy float": (bands / 255).astype(np.float32),
    }.items():
        files[name] = as_npy(array)
    layers: Any = [Image.fromarray(bands[:, :, band].copy()) for band in range(1, 5)]
    files["tiff bands"] = saved(grey, "TIFF", save_all=True, append_images=layers)
    for name in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"):
        files[f"tiff {name}"] = saved(rgb, "TIFF", compression=name)
    files["tiff group4"] = saved(rgb.convert("1"), "TIFF", compression="group4")
    if features.check("jpg_2000"):
        files["jpeg2000"] = saved(rgb, "JPEG2000")
        files["jpeg2000 alpha"] = saved(rgba, "JPEG2000", irreversible=True, tile_size=(16, 16))
    if features.check("avif"):
        files["avif"] = saved(rgb, "AVIF", speed=10)
        files["avif moving"] = _undated(saved(rgb, "AVIF", speed=10, **movie))
    return files


# ---- harm ------------------------------------------------------------------------------------------------------------


def flip_bits(data: bytearray, random: Random) -> None:
    for _ in range(int(random.integers(1, 12))):
        data[_place(data, random)] ^= 1 << int(random.integers(0, 8))


def cut_off(data: bytearray, random: Random) -> None:
    del data[_place(data, random) + 1 :]


def cut_out(data: bytearray, random: Random) -> None:
    start = _place(data, random)
    del data[start : start + int(random.integers(1, 40))]


def repeat(data: bytearray, random: Random) -> None:
    start = _place(data, random)
    data[start:start] = data[start : start + int(random.integers(1, 60))] * int(random.integers(1, 30))


def noise(data: bytearray, random: Random) -> None:
    start, length = _place(data, random), int(random.integers(1, 30))
    data[start : start + length] = random.bytes(length)


def bad_number(data: bytearray, random: Random) -> None:
    """A length, a count or a size that lies: 2 or 4 bytes, of either order; mostly in the header."""
    value = int(random.choice(BAD_NUMBERS))
    start = int(random.integers(0, min(len(data), 64))) if random.random() < 0.6 else _place(data, random)
    width = 4 if value > 0xFFFF or random.random() < 0.5 else 2
    data[start : start + width] = value.to_bytes(width, "big" if random.random() < 0.5 else "little")


def splice(data: bytearray, random: Random) -> None:
    """A piece of another file, of whatever kind."""
    files = list(sound_files().values())
    other = files[int(random.integers(0, len(files)))]
    start, stop = sorted(int(place) for place in random.integers(0, len(other), 2))
    here = _place(data, random)
    data[here : here + int(random.integers(0, 200))] = other[start:stop]


def bad_size(data: bytearray, random: Random) -> None:
    """Another height and width where the format keeps them."""
    at = int(random.integers(0, 4))
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        data[16:24] = struct.pack(">II", *_sides(random))
    elif data[:3] == b"GIF":
        data[6:10] = struct.pack("<HH", *(side & 0xFFFF for side in _sides(random)))
    elif data[:2] == b"BM":
        data[18:26] = struct.pack("<II", *_sides(random))
    elif data[12:16] == b"VP8X":
        data[24:30] = b"".join(struct.pack("<I", side)[:3] for side in _sides(random))
    elif data[:2] == b"\xff\xd8":
        frame = max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2"))
        if frame >= 0:
            data[frame + 5 : frame + 9] = struct.pack(">HH", *(side & 0xFFFF for side in _sides(random)))
    elif data[:6] == b"\x93NUMPY":
        bad_shape(data, random)
    elif data[:4] in (b"II*\0", b"MM\0*"):
        order = "<" if data[0] == ord("I") else ">"
        entry = data.find(struct.pack(f"{order}H", 256 + at))  # the tags of width, length, depth and compression
        if entry >= 0:
            data[entry + 8 : entry + 12] = struct.pack(f"{order}I", _sides(random)[0])
    else:
        bad_number(data, random)


def bad_shape(data: bytearray, random: Random) -> None:
    """Another shape in the header of an array, in as many bytes."""
    start, stop = data.find(b"("), data.find(b")") + 1
    shape = ", ".join(str(side) for side in (*_sides(random), int(random.integers(0, 40))))
    data[start:stop] = f"({shape})".encode().ljust(stop - start)[: stop - start]


def bad_exif(data: bytearray, random: Random) -> None:
    start = max(data.find(b"Exif\0\0"), data.find(b"eXIf"))
    if start < 0:
        return flip_bits(data, random)
    for _ in range(6):
        data[min(len(data) - 1, start + int(random.integers(4, 60)))] = int(random.integers(0, 256))
    return None


HARMS: tuple[Callable[[bytearray, Random], None], ...] = (
    *(flip_bits, flip_bits, cut_off, cut_out, repeat, noise),
    *(bad_number, bad_number, splice, bad_size, bad_exif),
)


def _place(data: bytearray, random: Random) -> int:
    return int(random.integers(0, max(1, len(data))))


def _sides(random: Random) -> tuple[int, int]:
    sizes = (0, 1, 17, 300, 7_900, 60_000, 0x7FFF_FFFF)
    return sizes[int(random.integers(0, len(sizes)))], sizes[int(random.integers(0, len(sizes)))]


def mutant(seed: int, index: int) -> tuple[str, bytes]:
    """What it was made of, and the file: one to three kinds of harm; every other PNG with its checksums made good."""
    random = np.random.default_rng([seed, index])
    names = list(sound_files())
    name = names[index % len(names)]
    data = bytearray(sound_files()[name])
    for _ in range(int(random.integers(1, 4))):
        if data:
            HARMS[int(random.integers(0, len(HARMS)))](data, random)
    if name.startswith("png") and random.random() < 0.5:
        return name, mended(bytes(data))
    return name, bytes(data)


def mended(png: bytes) -> bytes:
    """A PNG with right checksums, so that harm gets past them."""
    data, at = bytearray(png), 8
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        stop = at + 8 + length
        if stop + 4 > len(data):
            break
        data[stop : stop + 4] = zlib.crc32(data[at + 4 : stop]).to_bytes(4, "big")
        at = stop + 4
    return bytes(data)


# ---- bombs -----------------------------------------------------------------------------------------------------------


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(width: int, height: int, rows: bytes, *, depth: int = 8, colour: int = 2, extra: bytes = b"") -> bytes:
    """A PNG made by hand: `extra` are chunks between header and pixels; `rows` are packed as they are."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = (chunk(b"IHDR", header), extra, chunk(b"IDAT", rows), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def zeros(n: int) -> bytes:
    """`n` zeros, packed to about a thousandth."""
    packer = zlib.compressobj(9)
    block = bytes(1 << 20)
    parts = [packer.compress(block) for _ in range(n >> 20)]
    return b"".join([*parts, packer.compress(bytes(n & 0xFFFFF)), packer.flush()])


def text_bomb(kind: bytes, n: int = 1) -> bytes:
    """Text or a profile that unpacks to 300 MB, `n` times."""
    packed = zeros(300 << 20)
    heads = {b"zTXt": b"k\0\0", b"iCCP": b"k\0\0", b"iTXt": b"k\0\1\0\0\0"}
    return png(8, 8, zlib.compress(bytes(8 * 25)), extra=chunk(kind, heads[kind] + packed) * n)


def full_png(side: int, *, depth: int, colour: int) -> bytes:
    """A sound PNG of so many pixels, all of them zero: a few hundred kB."""
    channels = {0: 1, 2: 3, 4: 2, 6: 4}[colour]
    return png(side, side, zeros(side * (1 + side * channels * depth // 8)), depth=depth, colour=colour)


def scan_bomb(side: int, n_scans: int) -> bytes:
    """A progressive grey JPEG with so many scans, each of which visits every block and changes none.

    A scan is some hundred bytes long, as one code ends 32,767 blocks (ITU T.81, section G.1.2.2).
    """
    n_blocks = ((side + 7) // 8) ** 2
    head = b"\xff\xd8" + b"\xff\xdb\0\x43\0" + b"\1" * 64
    head += b"\xff\xc2" + struct.pack(">HBHHB", 11, 8, side, side, 1) + b"\1\x11\0"
    # One code of one bit, 0: no difference in DC; for AC the end of 2^14 + (14 further bits) blocks.
    head += b"\xff\xc4" + struct.pack(">HB", 20, 0x00) + b"\1" + bytes(15) + b"\0"
    head += b"\xff\xc4" + struct.pack(">HB", 20, 0x10) + b"\1" + bytes(15) + b"\xe0"
    first = b"\xff\xda\0\x08\1\1\0\0\0\0" + bytes(n_blocks // 8 + 1)
    bits = ("0" + "1" * 14) * -(-n_blocks // 32_767)  # the last run may go on behind the last block
    bits += "1" * (-len(bits) % 8)
    body = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")
    again = b"\xff\xda\0\x08\1\1\0\1\x3f\0" + body
    return head + first + again * n_scans + b"\xff\xd9"


def tiff(tags: dict[int, tuple[int, ...] | int], body: bytes = b"\0" * 64) -> bytes:
    """A TIFF of one page made by hand: long tags, the data behind the header."""
    entries = b""
    for tag, value in sorted(tags.items()):
        values = value if isinstance(value, tuple) else (value,)
        kind, code = (4, "I") if len(values) == 1 else (3, "H")
        if len(values) == 1:
            packed = struct.pack("<I", values[0])
        else:
            packed = struct.pack(f"<{len(values)}{code}", *values).ljust(4, b"\0")[:4]
        entries += struct.pack("<HHI", tag, kind, len(values)) + packed
    where = 8 + len(body)
    return b"II*\0" + struct.pack("<I", where) + body + struct.pack("<H", len(tags)) + entries + bytes(4)


def tile_bomb(side: int) -> bytes:
    """A TIFF of 16 x 16 whose one packed tile says that it is huge."""
    body = zlib.compress(bytes(1000))
    tags: dict[int, tuple[int, ...] | int] = {256: 16, 257: 16, 258: 8, 259: 8, 262: 1, 277: 1}
    return tiff(tags | {322: side, 323: side, 324: 8, 325: len(body)}, body)


def strip_bomb(side: int) -> bytes:
    """A sound packed TIFF of zeros."""
    body = zeros(side * side * 3)
    tags: dict[int, tuple[int, ...] | int] = {256: side, 257: side, 258: 8, 259: 8, 262: 2, 277: 3, 278: side}
    return tiff(tags | {273: 8, 279: len(body)}, body)


def float_bomb(side: int) -> bytes:
    """A packed TIFF of 32-bit zeros, as numbers with a point."""
    body = zeros(side * side * 4)
    tags: dict[int, tuple[int, ...] | int] = {256: side, 257: side, 258: 32, 259: 8, 262: 1, 277: 1, 278: side}
    return tiff(tags | {273: 8, 279: len(body), 339: 3}, body)


def webp_canvas(width: int, height: int) -> bytes:
    """A small WebP whose extended header says that it is huge."""
    data = bytearray(sound_files()["webp lossless"])
    data[24:30] = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    return bytes(data)


def flat_webp(side: int) -> bytes:
    return saved(Image.new("RGB", (side, side), (9, 9, 9)), "WEBP", lossless=True, method=0, quality=0)


def gif_frames(n: int) -> bytes:
    """A GIF that goes on and on: one frame, repeated, and no end."""
    data = sound_files()["gif"]
    start = data.index(b"\x21\xf9")
    return data[:start] + data[start:-1] * n


def gif_comment(n: int) -> bytes:
    """A GIF whose comment has so many bytes, in blocks of one."""
    data = sound_files()["gif"]
    start = data.index(b"\x21\xf9")
    return data[:start] + b"\x21\xfe" + b"\1x" * n + b"\0" + data[start:]


def lzw_gif(side: int) -> bytes:
    """A GIF of one colour and so many pixels."""
    return saved(Image.new("P", (side, side), 0), "GIF")


def rle_bmp(side: int) -> bytes:
    """A BMP each of whose rows is one pixel and the end of the line."""
    body = b"\1\0\0\0" * side + b"\0\1"
    info = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 8, 1, len(body), 0, 0, 1, 0) + bytes(4)
    return b"BM" + struct.pack("<IHHI", 14 + len(info) + len(body), 0, 0, 14 + len(info)) + info + body


def tiles_of_one_pixel() -> bytes:
    """A JPEG 2000 that says it has 65,000 tiles."""
    data = bytearray(sound_files()["jpeg2000 alpha"])
    size = data.index(b"\xff\x51")
    data[size + 6 : size + 14] = struct.pack(">II", 5_100, 5_100)
    data[size + 22 : size + 30] = struct.pack(">II", 20, 20)
    box = data.index(b"ihdr")
    data[box + 4 : box + 12] = struct.pack(">II", 5_100, 5_100)
    return bytes(data)


def large_jpeg2000(side: int) -> bytes:
    return saved(Image.new("RGBA", (side, side)), "JPEG2000")


def avif_in_disguise(side: int) -> bytes:
    """An AVIF whose header says 16 x 16 and whose frame is large."""
    data = saved(Image.new("L", (side, side), 7), "AVIF", speed=10, subsampling="4:0:0")
    return data.replace(b"ispe\0\0\0\0" + struct.pack(">II", side, side), b"ispe\0\0\0\0" + struct.pack(">II", 16, 16))


def npy_header(shape: object, dtype: str = "|u1") -> bytes:
    """The header of an array, without its values."""
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x02\x00" + struct.pack("<I", len(text)) + text


def plain_ppm(side: int) -> bytes:
    """A PPM in letters that says it is large and ends at once."""
    return b"P3\n%d %d\n255\n" % (side, side) + b"0 0 0\n" * 40


def ifd_loop() -> bytes:
    """A TIFF whose next page is its first one."""
    data = bytearray(tiff({256: 8, 257: 8, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 279: 64}))
    data[-4:] = data[4:8]
    return bytes(data)


def tag_bomb() -> bytes:
    """A TIFF of 60,000 tags that all say they hold a gigabyte."""
    entries = b"".join(struct.pack("<HHII", 1000 + n, 1, 0x3FFF_FFFF, 8) for n in range(60_000))
    return b"II*\0" + struct.pack("<IH", 8, 60_000) + entries + bytes(4)


HEAVY = "just allowed"
"""What bombs are called that are large pictures in truth, and so take seconds."""
FULL = 7_900  # pixels a side: 62 million, just allowed
BOMBS: dict[str, Callable[[], bytes]] = {
    "png 60,000 x 60,000": lambda: png(60_000, 60_000, zlib.compress(b"\0" * 100)),
    "png just allowed, no pixels": lambda: png(FULL, FULL, zlib.compress(b"\0" * 100)),
    "png rgb just allowed": lambda: full_png(FULL, depth=8, colour=2),
    "png rgba just allowed": lambda: full_png(FULL, depth=8, colour=6),
    "png rgba 16 bit just allowed": lambda: full_png(FULL, depth=16, colour=6),
    "png grey 16 bit just allowed": lambda: full_png(FULL, depth=16, colour=0),
    "png zTXt": lambda: text_bomb(b"zTXt"),
    "png iTXt": lambda: text_bomb(b"iTXt", 4),
    "png iCCP": lambda: text_bomb(b"iCCP"),
    "jpeg of many scans": lambda: scan_bomb(FULL, 3_000),
    "jpeg of many scans, a million pixels": lambda: scan_bomb(1_000, 60_000),
    "tiff tile": lambda: tile_bomb(60_000),
    "tiff tile just allowed": lambda: tile_bomb(7_900),
    "tiff strip just allowed": lambda: strip_bomb(FULL),
    "tiff float just allowed": lambda: float_bomb(FULL),
    "tiff loop": ifd_loop,
    "tiff tags": tag_bomb,
    "webp canvas": lambda: webp_canvas(60_000, 60_000),
    "webp canvas of Pillow's most": lambda: webp_canvas(18_000, 18_000),
    "webp just allowed": lambda: flat_webp(FULL),
    "gif without end": lambda: gif_frames(20_000),
    "gif comment": lambda: gif_comment(1_000_000),
    "gif just allowed": lambda: lzw_gif(FULL),
    "bmp of ends of lines": lambda: rle_bmp(FULL),
    "bmp of ends of lines just allowed": lambda: rle_bmp(3_900),
    "npy that says it is huge": lambda: npy_header((60_000, 60_000, 3)),
    "npy of a deep header": lambda: npy_header("(" * 4_000),
    "npy of a long header": lambda: npy_header("(40, 56" + " " * 4_000_000 + ")"),
    "npy of objects": lambda: npy_header((40, 40), "|O") + b"cos\nsystem\n(S'true'\ntR.",
    "npy just allowed": lambda: npy_header((FULL, FULL, 3)) + bytes(FULL * FULL * 3),
    "ppm plain": lambda: plain_ppm(FULL),
    **({"jpeg2000 tiles": tiles_of_one_pixel} if features.check("jpg_2000") else {}),
    **({"jpeg2000 just allowed": lambda: large_jpeg2000(5_600)} if features.check("jpg_2000") else {}),
    **({"avif in disguise": lambda: avif_in_disguise(4_096)} if features.check("avif") else {}),
}
