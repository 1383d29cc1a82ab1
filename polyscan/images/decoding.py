"""Choices that decoding leaves open, where viewers and libraries differ; see `[images]` of a job."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Decoding:
    """How the bytes of an image become pixels.

    Args:
        exif: "turn": upright, as the EXIF orientation says; "ignore": as stored (but Pillow turns TIFF in any case).
        alpha: "white", "black": the page behind transparent pictures; "drop": the colours as stored; "keep": alpha is a
            fourth channel.
        value_range: what becomes black and white of values of more than 8 bits: two numbers; "image": each image's own
            least and largest value; "format": 0..65535 by the high byte where there are 16 bits, 0..1 for `.npy`
            arrays of floats, the image's own for TIFF of 32 bits or floats.
        npy_axes: order of the axes of `.npy` arrays, "yxc" or "cyx"; "auto": the axis of at most 32 entries is the
            channels.
        tiff_pages: "first": of several pages the first is the image; "channels": each page is a channel.
    """

    exif: str = "turn"
    alpha: str = "white"
    value_range: str | tuple[float, float] = "format"
    npy_axes: str = "auto"
    tiff_pages: str = "first"

    @property
    def changes(self) -> dict[str, object]:
        """The choices that are not the default, for digests: those of earlier runs stay as they were."""
        defaults = asdict(Decoding())
        return {name: value for name, value in asdict(self).items() if value != defaults[name]}
