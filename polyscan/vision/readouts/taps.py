"""What stands in a graph behind a read point and hands on what passes there."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from polyscan.vision.readouts.points import PeakSink, ReadPoint, Sink
from polyscan.vision.readouts.units import Channels, Downward, Peaks

PIECE = 2**22
"""Bytes of a batch's maps that go through norm, peaks and ReLU before the next: what caches hold."""
_EACH_ITS_OWN = (Channels, Downward)
"""Readouts whose peaks cost the same in pieces; products of matrices choose their own."""


class Tap(nn.Module):
    """Stands in the graph behind a read point; what an in-place ReLU does later can't spoil what it has seen."""

    def __init__(self) -> None:
        super().__init__()
        self.points: list[tuple[int, ReadPoint]] = []
        self.sink: Sink | None = None
        self.peak_sink: PeakSink | None = None

    def forward(self, value: Tensor) -> Tensor:
        """Hands on its layer's maps, once for each of its points; they pass as they are."""
        if self.sink is not None:
            for index, point in self.points:
                self.sink(index, point.maps(value))
        return value


class NormTap(Tap):
    """A batch norm, the tap behind it, and the ReLU behind that.

    Where only peaks are wanted, a few images at a time go through all three while they are in the CPU's cache; one
    after the other each of the three fetches all maps from memory. The numbers are the same to the last bit.

    Args:
        tap: what it stands for.
        norm: the batch norm; nobody else takes what it takes.
        relu: a ReLU or ReLU6 that may overwrite what the norm gave, if one alone follows.
    """

    def __init__(self, tap: Tap, norm: nn.BatchNorm2d, relu: nn.ReLU | nn.ReLU6 | None) -> None:
        super().__init__()
        self.points = tap.points
        self.norm = norm
        self.relu = None if relu is None else type(relu)(inplace=True)

    def forward(self, value: Tensor) -> Tensor:
        """What the norm, or the ReLU behind it, gives."""
        if self.peak_sink is not None and self._takes_pieces(value):
            return self._in_pieces(value, self.peak_sink)
        maps = super().forward(self.norm(value))
        return maps if self.relu is None else self.relu(maps)

    def _takes_pieces(self, value: Tensor) -> bool:
        return (
            value.device.type == "cpu"
            and value.dtype == torch.float32
            and not torch.is_grad_enabled()
            and not self.norm.training
            and value.nbytes > PIECE
            and all(isinstance(point.units, _EACH_ITS_OWN) for _, point in self.points)
        )

    def _in_pieces(self, value: Tensor, peak_sink: PeakSink) -> Tensor:
        found = [
            [point.units.peaks(point.maps(piece)) for _, point in self.points] for piece in self._normed_pieces(value)
        ]
        for (index, _), parts in zip(self.points, zip(*found, strict=True), strict=True):
            peak_sink(index, Peaks.stacked(parts))
        return value

    def _normed_pieces(self, value: Tensor) -> Iterator[Tensor]:
        """A few images after the other, normed in their own place, which halves what is written; then their ReLU."""
        norm, nothing = self.norm, value.new_empty(0)
        scale_and_means = (norm.weight, norm.bias, norm.running_mean, norm.running_var)
        for piece in value.split(max(1, PIECE * len(value) // value.nbytes)):
            torch.native_batch_norm(  # what `norm` calls, with a place for what it gives
                piece, *scale_and_means, False, 0.0, norm.eps, out=(piece, nothing, nothing)
            )
            yield piece
            if self.relu is not None:
                self.relu(piece)
