"""How an image is moved, turned and scaled at each step of its ascent; each image of a batch in its own way.

Source: Olah, Mordvintsev & Schubert 2017, "Feature Visualization": what survives small changes of view is the unit's,
not the pixels'. There one draw serves the whole batch; here the draws are each image's own, from its seed alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor, nn

SHIFTS, TURNS = 1, 2
"""Streams of an image's seed; the image itself starts from the seed alone."""


class Views:
    """The views of one batch, drawn beforehand.

    Args:
        seeds: each image's.
        steps: how many views each has.
        jitter_px: shifts, uniform in -jitter..jitter along both axes.
        rotate_degrees: turns around the middle, uniform in -rotate..rotate.
        scale: factors of size, log-uniform in 1 / (1 + scale)..1 + scale.
        device: where the images are.
    """

    def __init__(
        self,
        seeds: Sequence[int],
        steps: int,
        *,
        jitter_px: int,
        rotate_degrees: float,
        scale: float,
        device: torch.device,
    ) -> None:
        self._shifts = self._matrices = None
        if jitter_px:
            self._shifts = torch.from_numpy(_drawn(seeds, SHIFTS, steps) * np.float32(jitter_px)).to(device)
        if rotate_degrees or scale:
            drawn = _drawn(seeds, TURNS, steps)
            matrices = _matrices(np.deg2rad(rotate_degrees) * drawn[..., 0], (1 + scale) ** drawn[..., 1])
            self._matrices = torch.from_numpy(matrices).to(device)

    def shifts(self, step: int) -> Float[Tensor, "b 2"] | None:
        """Down and right, in px; None where nothing moves. The spectrum shifts at no cost, as a phase."""
        return None if self._shifts is None else self._shifts[step]

    def turned(self, images: Float[Tensor, "b c y x"], step: int) -> Float[Tensor, "b c y x"]:
        """Each image turned and scaled, all in one resampling; what comes from beyond an edge is mirrored."""
        if self._matrices is None:
            return images
        grid = nn.functional.affine_grid(self._matrices[step], list(images.shape), align_corners=False)
        return nn.functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def _drawn(seeds: Sequence[int], stream: int, steps: int) -> Float32[np.ndarray, "s b 2"]:
    """Uniform in -1..1."""
    each = [np.random.default_rng([seed, stream]).uniform(-1, 1, (steps, 2)) for seed in seeds]
    return np.stack(each, axis=1).astype(np.float32)


def _matrices(
    angles: Float32[np.ndarray, "s b"], factors: Float32[np.ndarray, "s b"]
) -> Float32[np.ndarray, "s b 2 3"]:
    """From places of what is shown to places of the image."""
    cosine, sine, zero = np.cos(angles) / factors, np.sin(angles) / factors, np.zeros_like(angles)
    rows = [np.stack([cosine, -sine, zero], axis=-1), np.stack([sine, cosine, zero], axis=-1)]
    return np.stack(rows, axis=-2).astype(np.float32)
