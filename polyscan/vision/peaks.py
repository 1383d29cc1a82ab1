"""A running tally of units: each one's strongest images with the positions of their peaks, and power sums.

Memory is bounded by units x k for any number of images. Law: the result is the same as from sorting all images by
descending activation, then by ascending image id, for any batches, as long as the ids ascend.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int32, Int64, Shaped
from torch import Tensor

from polyscan.errors import ModelError
from polyscan.stats.moments import Moments
from polyscan.vision.readouts.units import Peaks

_SIGN = -(2**31)  # the sign bit of an int32


@dataclass(frozen=True)
class TallyResult:
    """The result of a tally: `k_` rows per unit, strongest first, and the moments of its peaks.

    An activation of -inf marks an empty row: the unit ranks fewer than `k_` images.
    """

    activation: Float32[np.ndarray, "u k_"]
    image: Int64[np.ndarray, "u k_"]
    y: Int32[np.ndarray, "u k_"]
    x: Int32[np.ndarray, "u k_"]
    moments: Moments


class PeakTally:
    """Tallies the peaks of units over space, one position per image; fastest with the units of all layers at once.

    Args:
        n_units: number of units.
        k: number of strongest images kept per unit.
        name: gives the name of a unit from its number, for messages.
        device: the device of the maps.
        reads: gives, from a batch's ids, which of its images each unit ranks; all if None. Moments are of all images.
    """

    def __init__(
        self,
        n_units: int,
        *,
        k: int,
        name: Callable[[int], str],
        device: torch.device,
        reads: Callable[[Int64[np.ndarray, " b"]], Bool[np.ndarray, "u b"]] | None = None,
    ) -> None:
        self.name = name
        self.reads = reads
        self._best = Strongest(n_units, k, device)
        self._sums = _Sums(n_units, device)
        self._width: int | Int64[Tensor, " u"] = 1

    def add(self, peaks: Peaks, images: Int64[Tensor, " b"]) -> None:
        """Counts one batch; its image ids must be larger than all earlier ones.

        Raises:
            ModelError: if a peak is not finite.
        """
        self._sums.add(peaks.value)
        self._check_finite()
        value = peaks.value
        if self.reads is not None:
            is_read = torch.from_numpy(self.reads(images.cpu().numpy())).to(value.device)
            value = torch.where(is_read.T, value, -torch.inf)
        self._best.add(value, images, peaks.place)
        self._width = peaks.width

    def _check_finite(self) -> None:
        # In float64 a sum of finite float32 numbers stays finite, so one number per unit shows whether all peaks are.
        is_bad = ~torch.isfinite(self._sums.powers[0])
        if bool(is_bad.any()):
            raise ModelError(
                f"unit {self.name(int(is_bad.nonzero()[0]))} gives values that are not finite; "
                "check the weights and the input"
            )

    def result(self) -> TallyResult:
        """The tally so far; `k_` is k, or the number of images if there were fewer."""
        value, image, place = self._best.result()
        width = self._width if isinstance(self._width, int) else self._width.cpu().numpy()[:, None]
        return TallyResult(
            activation=value,
            image=image,
            y=(place // width).astype(np.int32),
            x=(place % width).astype(np.int32),
            moments=self._sums.result(),
        )


class LayerPeakTally(PeakTally):
    """The tally of one layer's units; `layer` is its name, for messages."""

    def __init__(
        self,
        n_units: int,
        *,
        k: int,
        layer: str,
        device: torch.device,
        reads: Callable[[Int64[np.ndarray, " b"]], Bool[np.ndarray, "u b"]] | None = None,
    ) -> None:
        super().__init__(n_units, k=k, name=lambda unit: f"{layer}:{unit}", device=device, reads=reads)


class Strongest:
    """The k largest values of each unit with their images and further columns, and the batches added since then.

    Args:
        n_units: number of units.
        k: number of values kept per unit.
        device: of the values.
        others: types of the further columns; by default the place of the peak.
    """

    def __init__(
        self, n_units: int, k: int, device: torch.device, others: Sequence[torch.dtype] = (torch.int64,)
    ) -> None:
        self.k = k
        self.value = torch.empty(n_units, 0, device=device)
        self.image = torch.empty(n_units, 0, dtype=torch.int64, device=device)
        self.others = [torch.empty(n_units, 0, dtype=dtype, device=device) for dtype in others]
        self.waiting: list[tuple[Tensor, Tensor, tuple[Tensor, ...]]] = []

    def __len__(self) -> int:
        """Number of images in memory for each unit."""
        return self.value.shape[1] + sum(len(images) for _, images, _ in self.waiting)

    def add(self, value: Float32[Tensor, "b u"], images: Int64[Tensor, " b"], *others: Shaped[Tensor, "b u"]) -> None:
        """Adds a batch."""
        self.waiting.append((value, images, others))
        if len(self) >= 2 * self.k:
            self.find()

    def find(self) -> None:
        """Keeps the k largest of all values in memory, and drops the others."""
        n_units = len(self.value)
        values = torch.cat([self.value, *(value.T for value, _, _ in self.waiting)], dim=1)
        images = torch.cat([self.image, *(image.expand(n_units, -1) for _, image, _ in self.waiting)], dim=1)
        others = [
            torch.cat([kept, *(columns[place].T for _, _, columns in self.waiting)], dim=1)
            for place, kept in enumerate(self.others)
        ]
        best = largest(values, self.k)  # columns are in order of ascending id, so ties go to the smaller id
        self.value, self.image, *self.others = (tensor.gather(1, best) for tensor in (values, images, *others))
        self.waiting = []

    def result(self) -> list[Shaped[np.ndarray, "u k_"]]:
        """Values, images and further columns."""
        self.find()
        return [tensor.cpu().numpy() for tensor in (self.value, self.image, *self.others)]


class _Sums:
    """Power sums of each unit's peaks, their extremes, and how many equal the maximum or are not above 0."""

    def __init__(self, n_units: int, device: torch.device) -> None:
        self.n = 0
        self.powers = torch.zeros(4, n_units, dtype=torch.float64, device=device)
        self.low = torch.full((n_units,), torch.inf, device=device)
        self.high = torch.full((n_units,), -torch.inf, device=device)
        self.n_at_max = torch.zeros(n_units, dtype=torch.int64, device=device)
        self.n_nonpositive = torch.zeros(n_units, dtype=torch.int64, device=device)

    def add(self, peaks: Float32[Tensor, "b u"]) -> None:
        """Adds a batch."""
        wide = power = peaks.double()
        for row in range(4):
            self.powers[row] += power.sum(dim=0)
            power = power * wide
        top = peaks.amax(dim=0)
        at_top = (peaks == torch.maximum(top, self.high)).sum(dim=0)
        self.n_at_max = torch.where(top > self.high, at_top, self.n_at_max + at_top)
        self.high = torch.maximum(self.high, top)
        self.low = torch.minimum(self.low, peaks.amin(dim=0))
        self.n_nonpositive += (peaks <= 0).sum(dim=0)
        self.n += len(peaks)

    def result(self) -> Moments:
        """The moments of all peaks so far."""
        s1, s2, s3, s4 = self.powers.cpu().numpy()
        return Moments(
            n=np.full(len(s1), self.n, dtype=np.int64),
            s1=s1,
            s2=s2,
            s3=s3,
            s4=s4,
            min=self.low.double().cpu().numpy(),
            max=self.high.double().cpu().numpy(),
            n_at_max=self.n_at_max.cpu().numpy(),
            n_nonpositive=self.n_nonpositive.cpu().numpy(),
        )


def largest(value: Float32[Tensor, "u n"], k: int) -> Int64[Tensor, "u k_"]:
    """Columns of each row's k largest values, largest first; equal values in order of their columns.

    Value and column are packed into one integer that increases as the value decreases. Sorting distinct integers takes
    a fraction of the time of a stable sort of floats, most of all in numpy, which uses vector units.
    """
    bits = (value + 0.0).view(torch.int32)  # -0 becomes 0, which it equals
    # As integers, bits of positive floats increase with the value: all are inverted. Those of negative floats decrease:
    # only the sign bit is cleared.
    keys = (bits ^ ((bits >> 31).bitwise_not_() | _SIGN)).long()
    keys <<= 32
    keys |= torch.arange(value.shape[1], device=value.device)
    keys = torch.from_numpy(np.sort(keys.numpy(), axis=1)) if keys.device.type == "cpu" else keys.sort(dim=1).values
    return keys[:, :k] & 0xFFFFFFFF
