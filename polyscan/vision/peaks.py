"""A running tally of one layer: each unit's strongest images with the places of their peaks, and power sums.

Memory is bounded by units x k whatever the number of images. Law: under the order "activation down, image id up"
the result is that of sorting all images, whatever the batches, as long as the ids ascend.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int32, Int64
from torch import Tensor

from polyscan.errors import ModelError
from polyscan.stats.moments import Moments
from polyscan.vision.readouts.units import Peaks


@dataclass(frozen=True)
class LayerTally:
    """What was tallied: `k_` rows a unit, strongest first, and the moments of its peaks.

    An activation of -inf is no row: the unit ranks fewer than `k_` images.
    """

    activation: Float32[np.ndarray, "u k_"]
    image: Int64[np.ndarray, "u k_"]
    y: Int32[np.ndarray, "u k_"]
    x: Int32[np.ndarray, "u k_"]
    moments: Moments


class PeakTally:
    """Tallies the peaks of one layer's units over space, one position per image.

    Args:
        n_units: units of the layer.
        k: strongest images kept per unit.
        layer: its name, for messages.
        device: where the maps come from.
        reads: given a batch's ids, which of its images each unit ranks; all if None. Moments are of all images.
    """

    def __init__(
        self,
        n_units: int,
        *,
        k: int,
        layer: str,
        device: torch.device,
        reads: Callable[[Int64[np.ndarray, " b"]], Bool[np.ndarray, "u b"]] | None = None,
    ) -> None:
        self.k = k
        self.layer = layer
        self.reads = reads
        self._value = torch.empty(n_units, 0, device=device)
        self._image = torch.empty(n_units, 0, dtype=torch.int64, device=device)
        self._place = torch.empty(n_units, 0, dtype=torch.int64, device=device)
        self._width = 1
        self._n = 0
        self._powers = torch.zeros(4, n_units, dtype=torch.float64, device=device)
        self._low = torch.full((n_units,), torch.inf, dtype=torch.float64, device=device)
        self._high = torch.full((n_units,), -torch.inf, dtype=torch.float64, device=device)
        self._n_at_max = torch.zeros(n_units, dtype=torch.int64, device=device)
        self._n_nonpositive = torch.zeros(n_units, dtype=torch.int64, device=device)

    def add(self, found: Peaks, images: Int64[Tensor, " b"]) -> None:
        """Counts one batch; its image ids are larger than all before.

        Raises:
            ModelError: if a peak is not finite.
        """
        self._width = found.width
        peaks, places = found.value.T, found.place.T  # [u, b]
        if not bool(torch.isfinite(peaks).all()):
            bad = int((~torch.isfinite(peaks)).any(dim=1).nonzero()[0])
            raise ModelError(
                f"unit {self.layer}:{bad} gives values that are not finite; check the weights and the input"
            )
        self._add_moments(peaks.double())
        if self.reads is not None:
            is_read = torch.from_numpy(self.reads(images.cpu().numpy())).to(peaks.device)
            peaks = torch.where(is_read, peaks, torch.full_like(peaks, -torch.inf))
        self._add_candidates(peaks, places, images)

    def _add_moments(self, peaks: Float[Tensor, "u b"]) -> None:
        power = torch.ones_like(peaks)
        for row in range(4):
            power = power * peaks
            self._powers[row] += power.sum(dim=1)
        top = peaks.amax(dim=1)
        at_top = (peaks == torch.maximum(top, self._high)[:, None]).sum(dim=1)
        self._n_at_max = torch.where(top > self._high, at_top, self._n_at_max + at_top)
        self._high = torch.maximum(self._high, top)
        self._low = torch.minimum(self._low, peaks.amin(dim=1))
        self._n_nonpositive += (peaks <= 0).sum(dim=1)
        self._n += peaks.shape[1]

    def _add_candidates(self, peaks: Tensor, places: Tensor, images: Tensor) -> None:
        self._value = torch.cat([self._value, peaks], dim=1)
        self._image = torch.cat([self._image, images.expand_as(places)], dim=1)
        self._place = torch.cat([self._place, places], dim=1)
        if self._value.shape[1] >= 2 * self.k:
            self._keep_best()

    def _keep_best(self) -> None:
        # Columns stand in ascending id within equal values, so a stable sort breaks ties by id.
        value, order = self._value.sort(dim=1, descending=True, stable=True)
        order = order[:, : self.k]
        self._value = value[:, : self.k].contiguous()
        self._image, self._place = self._image.gather(1, order), self._place.gather(1, order)

    def result(self) -> LayerTally:
        """The tally so far; `k_` is k, or the number of images where there were fewer."""
        self._keep_best()
        kept = min(self.k, self._n)
        image, place = self._image[:, :kept].cpu().numpy(), self._place[:, :kept].cpu().numpy()
        return LayerTally(
            activation=self._value[:, :kept].cpu().numpy(),
            image=image,
            y=(place // self._width).astype(np.int32),
            x=(place % self._width).astype(np.int32),
            moments=self._moments(),
        )

    def _moments(self) -> Moments:
        s1, s2, s3, s4 = self._powers.cpu().numpy()
        return Moments(
            n=np.full(len(s1), self._n, dtype=np.int64),
            s1=s1,
            s2=s2,
            s3=s3,
            s4=s4,
            min=self._low.cpu().numpy(),
            max=self._high.cpu().numpy(),
            n_at_max=self._n_at_max.cpu().numpy(),
            n_nonpositive=self._n_nonpositive.cpu().numpy(),
        )
