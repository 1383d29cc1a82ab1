"""The geometry of a field along rows and columns: the same for every position, or a span of inputs for each."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import cast

DYADIC = 2.0**20
"""Products with a stride of so many parts of a pixel are exact."""
ROUNDING = 1e-6
"""Px by which a field is widened if its stride is not such a fraction, so that rounding cuts no pixel off."""

Span = tuple[float, float]
"""The first and the last input that a position depends on; (inf, -inf) for one that depends on none, as in padding."""


def hull(spans: Sequence[Span]) -> Span:
    """The shortest span that contains all of these."""
    return min((first for first, _ in spans), default=math.inf), max((last for _, last in spans), default=-math.inf)


@dataclass(frozen=True)
class Axis:
    """Geometry along one axis, in px of the input.

    Args:
        stride: distance in the input between neighbouring positions.
        low: first input of position 0.
        high: last input of position 0.
        varies: whether positions differ in what they see, so that these numbers hold for this size of the input alone.
    """

    stride: float = 1.0
    low: float = 0.0
    high: float = 0.0
    varies: bool = False

    @property
    def field(self) -> float:
        """Size of the field."""
        return self.high - self.low + 1

    def window(self, kernel: int, stride: int, padding: int, dilation: int, n: int = 0) -> Axis:
        """The axis after a sliding window, such as a convolution or pooling, whatever its number n of positions."""
        reach = (kernel - 1) * dilation - padding
        return Axis(self.stride * stride, self.low - padding * self.stride, self.high + reach * self.stride)

    def spans(self, size: int) -> Spans:
        """The span of each of the first `size` positions."""
        starts = (position * self.stride for position in range(size))
        return Spans(self.stride, tuple((start + self.low, start + self.high) for start in starts))


@dataclass(frozen=True)
class Spans:
    """Geometry along one axis where it differs from position to position.

    Args:
        stride: mean distance in the input between neighbouring positions, in px.
        each: the span of each position, in px of the input.
    """

    stride: float
    each: tuple[Span, ...]

    def window(self, kernel: int, stride: int, padding: int, dilation: int, n: int = 0) -> Spans:
        """The spans of the n positions after a sliding window."""
        starts = (position * stride - padding for position in range(n))
        return self.gathered([range(s, s + (kernel - 1) * dilation + 1, dilation) for s in starts], stride)

    def gathered(self, taps: Iterable[Iterable[int]], step: float) -> Spans:
        """The spans of positions that depend on several of these.

        Args:
            taps: for each new position, the positions that it depends on; those outside are padding.
            step: distance between neighbouring new positions, in these positions.
        """
        return Spans(self.stride * step, tuple(self._hull(reached) for reached in taps))

    def _hull(self, taps: Iterable[int]) -> Span:
        return hull([self.each[tap] for tap in taps if 0 <= tap < len(self.each)])

    def spans(self, size: int) -> Spans:
        """These spans; `size` is their number."""
        assert size == len(self.each)
        return self

    def over(self, stride: float) -> Axis:
        """The tightest geometry with this stride that covers every position's span."""
        margin = 0.0 if (stride * DYADIC).is_integer() else ROUNDING
        starts = [position * stride for position in range(len(self.each))]
        low, high = hull(
            [(first - start, last - start) for start, (first, last) in zip(starts, self.each, strict=True)]
        )
        if low > high:
            return Axis(stride, varies=True)
        return Axis(stride, low - margin, high + margin, varies=True)


Geometry = Axis | Spans
Geometries = tuple[Geometry, Geometry]  # rows, columns
Axes = tuple[Axis, Axis]
Field = Axes | None
POINT: Field = (Axis(), Axis())


def uniform(field: Geometries | None) -> Field:
    """The field as one geometry for all positions."""
    if field is None:
        return None
    rows, columns = (axis if isinstance(axis, Axis) else axis.over(axis.stride) for axis in field)
    return rows, columns


def merged(fields: Sequence[Geometries | None], size: tuple[int, ...] = ()) -> Geometries | None:
    """Field of a node with several inputs: the hull of their fields.

    Args:
        fields: the fields of the inputs.
        size: rows and columns of the inputs; () if not known or not equal, so that only fields with equal strides that
            are the same for all positions can be merged.

    Returns:
        The hull; None if it is not known or one of the inputs sees the whole image.
    """
    known = [axes for axes in fields if axes is not None]
    if len(known) < len(fields):
        return None
    if len(known) == 1:
        return known[0]
    joined = [_joined(axes, size[dim] if size else 0) for dim, axes in enumerate(zip(*known, strict=True))]
    return None if None in joined else cast("Geometries", tuple(joined))


def _joined(axes: Sequence[Geometry], size: int) -> Geometry | None:
    """The hull of geometries along one axis."""
    plain = [axis for axis in axes if isinstance(axis, Axis)]
    if len(plain) == len(axes) and len({axis.stride for axis in plain}) == 1:
        return Axis(plain[0].stride, min(a.low for a in plain), max(a.high for a in plain))
    if not size:
        return None
    hulls = tuple(map(hull, zip(*(axis.spans(size).each for axis in axes), strict=True)))
    candidates = [Spans(axis.stride, hulls) for axis in axes]
    return min(candidates, key=lambda spans: spans.over(spans.stride).field)
