"""Random shifts, rotations and scalings of each image of a batch at each step of its ascent.

Source: Olah, Mordvintsev & Schubert 2017, "Feature Visualization": patterns that survive small changes of view come
from the unit, not from single pixels. There the whole batch shares a draw; here each image has its own, from its seed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor, nn

SHIFTS, TURNS = 1, 2
"""Random streams of an image's seed; the starting image uses the seed alone."""


class Views:
    """The views of one batch, drawn beforehand.

    Args:
        seeds: seed of each image.
        steps: number of views of each image.
        jitter_px: shifts, uniform in -jitter..jitter along both axes.
        rotate_degrees: rotations around the middle, uniform in -rotate..rotate.
        scale: factors of size, log-uniform in 1 / (1 + scale)..1 + scale.
        aspect: height of the images divided by their width.
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
        aspect: float = 1.0,
        device: torch.device,
    ) -> None:
        self._shifts = self._matrices = None
        if jitter_px:
            self._shifts = torch.from_numpy(_uniforms(seeds, SHIFTS, steps) * np.float32(jitter_px)).to(device)
        if rotate_degrees or scale:
            uniforms = _uniforms(seeds, TURNS, steps)
            turns, factors = np.deg2rad(rotate_degrees) * uniforms[..., 0], (1 + scale) ** uniforms[..., 1]
            matrices = _matrices(turns, factors, np.float32(aspect))
            self._matrices = torch.from_numpy(matrices).to(device)

    def shifts(self, step: int) -> Float[Tensor, "b 2"] | None:
        """Shifts down and right in px; None without jitter. In the spectrum a shift is a phase, at no cost."""
        return None if self._shifts is None else self._shifts[step]

    def turned(self, images: Float[Tensor, "b c y x"], step: int) -> Float[Tensor, "b c y x"]:
        """Each image rotated and scaled, in one resampling; pixels from outside the image are mirrored."""
        if self._matrices is None:
            return images
        grid = nn.functional.affine_grid(self._matrices[step], list(images.shape), align_corners=False)
        return nn.functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def _uniforms(seeds: Sequence[int], stream: int, steps: int) -> Float32[np.ndarray, "s b 2"]:
    """Numbers uniform in -1..1."""
    draws = [np.random.default_rng([seed, stream]).uniform(-1, 1, (steps, 2)) for seed in seeds]
    return np.stack(draws, axis=1).astype(np.float32)


def _matrices(
    angles: Float32[np.ndarray, "s b"], factors: Float32[np.ndarray, "s b"], aspect: np.float32
) -> Float32[np.ndarray, "s b 2 3"]:
    """Affine maps from positions in the view to positions in the image, both of which go from -1 to 1 on each axis."""
    cosine, sine, zero = np.cos(angles) / factors, np.sin(angles) / factors, np.zeros_like(angles)
    rows = [np.stack([cosine, -sine * aspect, zero], axis=-1), np.stack([sine / aspect, cosine, zero], axis=-1)]
    return np.stack(rows, axis=-2).astype(np.float32)
