"""Taps: modules in a graph after a read point, which send the maps that pass there to a sink."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from polyscan.vision.readouts.points import PeakSink, ReadPoint, Sink
from polyscan.vision.readouts.units import Channels, Downward, Peaks

PIECE = 2**22
"""Bytes of a batch's maps that go through norm, peaks and ReLU together: as much as fits in a cache."""
_IN_PIECES = (Channels, Downward)
"""Readouts whose peaks cost the same in pieces; those with matrix products divide the maps themselves."""


class Tap(nn.Module):
    """Comes directly after a read point in the graph, so it sees the maps before any in-place ReLU changes them."""

    def __init__(self) -> None:
        super().__init__()
        self.points: list[tuple[int, ReadPoint]] = []
        self.sink: Sink | None = None
        self.peak_sink: PeakSink | None = None

    def forward(self, value: Tensor) -> Tensor:
        """Sends the layer's maps to the sink, once for each of its points; returns its input unchanged."""
        if self.sink is not None:
            for index, point in self.points:
                self.sink(index, point.maps(value))
        return value


class NormTap(Tap):
    """A batch norm, the tap after it, and the ReLU after that.

    If only peaks are needed, a few images at a time go through all three while they are in the CPU's cache; separately,
    each of the three would read all maps from memory. The numbers are the same to the last bit.

    Args:
        tap: the tap to replace.
        norm: the batch norm; no other node may use its input.
        relu: a ReLU or ReLU6 that may overwrite the norm's output, if it is the only other node that uses it.
    """

    def __init__(self, tap: Tap, norm: nn.BatchNorm2d, relu: nn.ReLU | nn.ReLU6 | None) -> None:
        super().__init__()
        self.points = tap.points
        self.norm = norm
        self.relu = None if relu is None else type(relu)(inplace=True)

    def forward(self, value: Tensor) -> Tensor:
        """The output of the norm, or of the ReLU after it."""
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
            and all(isinstance(point.units, _IN_PIECES) and point.layout.is_plain(value) for _, point in self.points)
        )

    def _in_pieces(self, value: Tensor, peak_sink: PeakSink) -> Tensor:
        peaks = [
            [point.units.peaks(point.maps(piece)) for _, point in self.points] for piece in self._normed_pieces(value)
        ]
        for (index, _), parts in zip(self.points, zip(*peaks, strict=True), strict=True):
            peak_sink(index, Peaks.stacked(parts))
        return value

    def _normed_pieces(self, value: Tensor) -> Iterator[Tensor]:
        """A few images at a time, normed in place, which halves the bytes written; the ReLU follows after the yield."""
        norm, nothing = self.norm, value.new_empty(0)
        scale_and_means = (norm.weight, norm.bias, norm.running_mean, norm.running_var)
        for piece in value.split(max(1, PIECE * len(value) // value.nbytes)):
            torch.native_batch_norm(  # as `norm` calls it, but with a place for the output
                piece, *scale_and_means, False, 0.0, norm.eps, out=(piece, nothing, nothing)
            )
            yield piece
            if self.relu is not None:
                self.relu(piece)
