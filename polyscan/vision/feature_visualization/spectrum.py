"""Images as Fourier spectra with 1/f scaling and decorrelated colours, a whole batch in one tensor.

Source: Olah, Mordvintsev & Schubert 2017, "Feature Visualization" (lucid). Departure: jitter is a phase, exact and
circular, instead of a padded crop, so that each image of the batch has its own for the cost of one multiplication.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Complex, Float
from torch import Tensor

from polyscan.vision.framing import Size

# The colour correlations of natural images, which lucid took from ImageNet; columns scaled to norm at most 1.
COLOURS = ((0.26, 0.09, 0.02), (0.27, 0.00, -0.05), (0.27, -0.09, 0.03))
START_SD = 0.01
DARKEST = 0.02


class SpectrumShape:
    """Spectra of images of one size and number of channels; colours are decorrelated if there are three.

    Args:
        size: height and width of the image in px.
        channels: number of channels.
        device: where the images are computed.
    """

    def __init__(self, size: Size, channels: int, device: torch.device) -> None:
        self.size = size
        self.channels = channels
        self.device = device
        rows = torch.fft.fftfreq(size[0], device=device)[:, None]
        columns = torch.fft.rfftfreq(size[1], device=device)[None, :]
        self._rows, self._columns = rows, columns
        radius = (rows.square() + columns.square()).sqrt()
        self._scale = 1 / (4 * radius.clamp(min=1 / max(size)))  # [y, f]; 4 as in lucid
        colours = torch.tensor(COLOURS, device=device)
        self._colours = colours / colours.norm(dim=0).max()

    def start(self, seeds: Sequence[int]) -> Float[Tensor, "b c y f 2"]:
        """Random spectra, each drawn from its seed on the CPU, so that they are the same on every device."""
        shape = (self.channels, self.size[0], self.size[1] // 2 + 1, 2)
        draws = [np.random.default_rng(seed).standard_normal(shape, dtype=np.float32) for seed in seeds]
        return torch.from_numpy(np.stack(draws) * np.float32(START_SD)).to(self.device)

    def of(self, images: Float[Tensor, "b c y x"]) -> Float[Tensor, "b c y f 2"]:
        """Spectra of images with values in 0..1, which are first clamped, as the logit of 0 and 1 is infinite."""
        image = images.to(self.device).clamp(DARKEST, 1 - DARKEST).logit()
        if self.channels == len(COLOURS):
            image = torch.nn.functional.conv2d(image, self._colours.inverse()[:, :, None, None])
        return torch.view_as_real(torch.fft.rfft2(image, norm="ortho") / self._scale).contiguous()

    def images(
        self, spectra: Float[Tensor, "b c y f 2"], shifts: Float[Tensor, "b 2"] | None = None
    ) -> Float[Tensor, "b c y x"]:
        """Images with values in 0..1, each moved down and right by its own shift in px."""
        spectrum = torch.view_as_complex(spectra) * self._scale
        if shifts is not None:
            spectrum = spectrum * self._phases(shifts)
        # Axis by axis: `irfft2` takes twice as long.
        image = torch.fft.irfft(torch.fft.ifft(spectrum, dim=2, norm="ortho"), n=self.size[1], dim=3, norm="ortho")
        if self.channels == len(COLOURS):
            # A matrix product; a convolution of three channels takes ten times as long.
            image = (self._colours @ image.flatten(2)).view_as(image)
        return image.sigmoid()

    def _phases(self, shifts: Float[Tensor, "b 2"]) -> Complex[Tensor, "b 1 y f"]:
        turns = shifts[:, 0, None, None] * self._rows + shifts[:, 1, None, None] * self._columns
        return torch.polar(torch.ones_like(turns), -2 * torch.pi * turns)[:, None]
