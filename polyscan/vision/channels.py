"""Channels of pictures: what a network of n channels takes, and what people and embedders see of many channels."""

from __future__ import annotations

import io

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from polyscan.errors import ImagesError

COLOURS = 3
JPEG_QUALITY = 85


def for_network(pixels: UInt8[np.ndarray, "y x c"], channels: int) -> UInt8[np.ndarray, "y x n"]:
    """The picture with the channels that a network takes: all of its own, or the grey of its three colours.

    Raises:
        ImagesError: if the picture has another number of channels; the message is the reason of a reject.
    """
    if pixels.shape[2] == channels:
        return pixels
    if (pixels.shape[2], channels) == (COLOURS, 1):
        return grey(pixels)
    raise ImagesError(
        f"unsupported: it has {pixels.shape[2]} channels, the network takes {channels}; allowed are images of "
        f"{channels} channels{' or 3' if channels == 1 else ''}. Set `network.channels`, or leave the image out"
    )


def shown(pixels: UInt8[np.ndarray, "y x c"]) -> UInt8[np.ndarray, "y x d"]:
    """What people and embedders see: the first three of more channels, the first of two, else all."""
    n_channels = pixels.shape[2]
    if n_channels in (1, COLOURS):
        return pixels
    return pixels[:, :, : COLOURS if n_channels > COLOURS else 1]


def for_embedder(pixels: UInt8[np.ndarray, "y x c"], channels: int) -> UInt8[np.ndarray, "y x n"]:
    """A crop or a visualization with the channels that an embedder takes.

    Raises:
        ImagesError: if the embedder takes neither one channel, three, nor as many as there are.
    """
    if pixels.shape[2] == channels:
        return pixels
    seen = shown(pixels)
    if channels == 1:
        return grey(seen) if seen.shape[2] == COLOURS else seen
    if channels == COLOURS:
        return seen if seen.shape[2] == COLOURS else np.repeat(seen, COLOURS, axis=2)
    raise ImagesError(
        f"the embedder takes {channels} channels, the image to embed has {pixels.shape[2]}; allowed are 1, 3 or the "
        "number of the image's channels. Choose another embedder"
    )


def grey(pixels: UInt8[np.ndarray, "y x 3"]) -> UInt8[np.ndarray, "y x 1"]:
    """The luma of three colours (ITU-R BT.601), as Pillow and so torchvision compute it."""
    return np.asarray(Image.fromarray(pixels).convert("L"))[:, :, None]


def picture_of(pixels: UInt8[np.ndarray, "y x c"]) -> Image.Image:
    """What people see, as a Pillow picture in grey or colour, to be stored."""
    seen = shown(pixels)
    return Image.fromarray(np.ascontiguousarray(seen if seen.shape[2] == COLOURS else seen[:, :, 0]))


def jpeg(crop: UInt8[np.ndarray, "y x c"], side: int) -> bytes:
    """The crop as a JPEG of at most `side` px; a smaller one is enlarged by a whole factor, so pixels stay visible."""
    picture = picture_of(crop)
    longest = max(picture.size)
    if longest > side:
        scale = side / longest
        picture = picture.resize(
            (max(1, round(picture.width * scale)), max(1, round(picture.height * scale))), Image.Resampling.BILINEAR
        )
    elif (step := side // longest) > 1:
        picture = picture.resize((picture.width * step, picture.height * step), Image.Resampling.NEAREST)
    sink = io.BytesIO()
    picture.save(sink, format="JPEG", quality=JPEG_QUALITY)
    return sink.getvalue()
