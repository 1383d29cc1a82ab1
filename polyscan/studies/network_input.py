"""A network's preprocessing as settings of a job, for another network that must see the same."""

from __future__ import annotations

from typing import Any

from polyscan.vision.preprocessing import Preprocessing


def input_settings(preprocessing: Preprocessing) -> dict[str, Any]:
    """The settings of `[network]` that give this preprocessing, whatever the network's own is."""
    return {
        "input_px": preprocessing.input_px,
        "resize_px": preprocessing.resize_px,
        "channels": preprocessing.channels,
        "mean": preprocessing.mean,
        "std": preprocessing.std,
        "interpolation": preprocessing.interpolation,
        "crop_mode": preprocessing.crop_mode,
    }
