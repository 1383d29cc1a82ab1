"""Sprites of invented pictures: a few dozen sheets with the noise of photographs, dealt out to all units."""

from __future__ import annotations

import io
from functools import cache

import numpy as np
from PIL import Image

from benchmarks.synthetic.evidence import VISUALIZATIONS, named
from benchmarks.synthetic.network import Place, Plan, Truth, widest_place
from polyscan.maps.sprites import EncodedPicture, Sprite, sprite
from polyscan.tables import Columns

CROPS, CROP_PX, VISUALIZATION_PX = 16, 64, 128
SHEETS = 32


def small_png() -> bytes:
    """What stands for every visualization in its table."""
    return encoded(np.full((8, 8, 3), 128, dtype=np.uint8), "PNG")


def encoded(pixels: np.ndarray, kind: str) -> bytes:
    """A picture of these pixels."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **({"quality": 92} if kind == "JPEG" else {}))
    return stream.getvalue()


def photograph(rng: np.random.Generator, side: int) -> bytes:
    """Noise like that of photographs without much texture: amplitude falls as frequency ^ -1.8."""
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side)))
    frequency[0, 0] = 1 / side
    spectrum = np.fft.fft2(rng.normal(size=(3, side, side))) / frequency**1.8
    grey, *colours = np.fft.ifft2(spectrum).real
    grey, *colours = ((one - one.mean()) / one.std() for one in (grey, *colours))
    planes = [grey, grey + 0.4 * colours[0], grey + 0.4 * colours[1]]
    return encoded(np.clip(128 + 34 * np.stack(planes, axis=-1), 0, 255).astype(np.uint8), "JPEG")


@cache
def sheets(seed: int) -> tuple[Sprite, ...]:
    """The sheets that units have: 16 crops and 6 visualizations each."""
    rng = np.random.default_rng([seed, 7])
    sides = [CROP_PX] * CROPS + [VISUALIZATION_PX] * VISUALIZATIONS
    return tuple(sprite([EncodedPicture(photograph(rng, side), side) for side in sides]) for _ in range(SHEETS))


def shown(plan: Plan, place: Place, truth: Truth) -> np.ndarray:
    """Channels that have a sprite: the first live ones; all live ones of the widest layer, if any has one."""
    live = np.flatnonzero(~truth.is_dead)
    is_all = plan.sprites is None or (plan.sprites > 0 and place.place == widest_place(plan))
    return live if is_all else live[: plan.sprites]


def sprites(plan: Plan, place: Place, truth: Truth) -> Columns:
    """The sheet of each unit that has one."""
    channels, all_sheets = shown(plan, place, truth), sheets(plan.seed)
    dealt = [all_sheets[(channel + place.place) % SHEETS] for channel in channels]
    return {
        **named(place, channels.astype(np.int32)),
        "width": [sheet.width for sheet in dealt],
        "height": [sheet.height for sheet in dealt],
        "image": [sheet.content for sheet in dealt],
    }


def tiles(plan: Plan, place: Place, truth: Truth) -> Columns:
    """Where the first 16 exemplars and the visualizations lie in it."""
    channels = shown(plan, place, truth)
    n, boxes = len(channels), np.array(sheets(plan.seed)[0].boxes, dtype=np.int32)
    evidence = np.array(["exemplars"] * CROPS + ["visualizations"] * VISUALIZATIONS, dtype=object)
    item = np.array([*range(CROPS), *range(VISUALIZATIONS)], dtype=np.int32)
    places = {name: np.tile(boxes[:, at], n) for at, name in enumerate(("left", "top", "width", "height"))}
    rows = named(place, np.repeat(channels, len(boxes)).astype(np.int32))
    return rows | {"evidence": np.tile(evidence, n), "item": np.tile(item, n), **places}
