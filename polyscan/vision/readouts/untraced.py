"""Reads a network that can't be traced, by hooks on its modules that are removed after each pass."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from polyscan.units import CALL_MARK
from polyscan.vision.readouts.channel_axes import axis_of, layer_axis
from polyscan.vision.readouts.hooks import Part, hooked, parts_of
from polyscan.vision.readouts.points import PlacedLayer, ReadPoint, Sink
from polyscan.vision.readouts.ready import NORMS, is_own_norm
from polyscan.vision.tracing import LAYER_TYPES, version_of

READOUT = "module output (the network can't be traced)"


class _PassEnded(BaseException):  # not an Exception, so that a network's own `except Exception` does not catch it
    """Ends a forward pass after the deepest module that is read."""


@dataclass(frozen=True)
class _Given:
    """A layer's output, kept so that no other tensor gets its address, and how often it had been written to."""

    layer: str
    value: Tensor
    version: int
    channels: int

    def is_unchanged(self) -> bool:
        return version_of(self.value) == self.version

    def axis_in(self, view: Any, channels: int) -> int | None:
        """The axis of the channels in the output itself or in a view of all of it; None if it is no such view."""
        if not isinstance(view, Tensor) or view.data_ptr() != self.value.data_ptr() or not self.is_unchanged():
            return None
        before = sorted(zip(self.value.stride(), self.value.shape, strict=True))
        if before != sorted(zip(view.stride(), view.shape, strict=True)):
            return None
        like = (self.value.stride(channels), self.value.shape[channels])
        return list(zip(view.stride(), view.shape, strict=True)).index(like)


class _Outputs:
    """Collects the places of a network in the order in which its modules finish.

    A norm whose input is the very memory that a layer gave, with nothing written to it in between, is where that layer
    is read; and so is a norm after that norm.
    """

    def __init__(self) -> None:
        self.candidates: dict[str, PlacedLayer] = {}
        self._given: list[_Given] = []

    def note(self, call: str, part: nn.Module | str, inputs: Any, output: Any) -> None:
        """Notes a finished call."""
        if not isinstance(output, Tensor):
            return
        if _is_layer(part):
            self._put(PlacedLayer(call, call, layer_axis(part, tuple(output.shape)), READOUT), output)
        elif norm := _norm_name(part):
            self._follow(call, inputs, norm, output)
        else:
            self._put(PlacedLayer(call, call, self._axis_after(call, output), READOUT), None)

    def _axis_after(self, call: str, output: Tensor) -> int:
        """The axis of the channels in a module's output: that of as many as the last layer inside it gives."""
        inside = [given for given in self._given if given.layer.startswith(f"{call.partition(CALL_MARK)[0]}.")]
        n_channels = inside[-1].value.shape[inside[-1].channels] if inside else None
        return axis_of(n_channels, tuple(output.shape), usual=2 if output.ndim == 3 else 1)

    def _put(self, candidate: PlacedLayer, output: Tensor | None) -> None:
        self.candidates[candidate.layer] = candidate
        if output is not None:
            self._given.append(_Given(candidate.layer, output, version_of(output), candidate.channels))

    def _follow(self, call: str, inputs: Any, norm: str, output: Tensor) -> None:
        """Moves the place of the layer whose output is a norm's input to after the norm."""
        tensors = [value for value in inputs if isinstance(value, Tensor)] if isinstance(inputs, tuple) else []
        source = tensors[0] if len(tensors) == 1 else None  # a sum of two maps is no norm of one
        for given in reversed(self._given):
            before = self.candidates[given.layer]
            axis = given.axis_in(source, before.channels)
            if axis is not None and isinstance(source, Tensor) and source.shape == output.shape:
                readout = f"after {norm} {call}, {READOUT}"
                self._put(replace(before, node=call, channels=axis, readout=readout), output)
                return


def _is_layer(part: Part | str) -> bool:
    """Whether a part is a layer's module, or the kernel or the function of a layer without a module."""
    return isinstance(part, (*LAYER_TYPES, nn.Parameter, str))


def _norm_name(part: Part | str) -> str:
    """The name of a norm, a norm of one's own included; "" if a part is none."""
    if not isinstance(part, nn.Module):
        return ""
    known = next((name for kind, (name, _) in NORMS.items() if isinstance(part, kind)), "")
    own = type(part).__name__
    return known or (own if is_own_norm(own) and not any(isinstance(p, LAYER_TYPES) for p in part.modules()) else "")


def module_candidates(module: nn.Module, names: Sequence[str], images: Tensor) -> list[PlacedLayer]:
    """The places of a network that can't be traced: its layers, and the modules of these names."""
    parts = parts_of(module).items()
    wanted = {name: part for name, part in parts if name in names or _is_layer(part) or _norm_name(part)}
    outputs = _Outputs()
    with hooked(wanted, outputs.note):
        module(images)
    return list(outputs.candidates.values())


def see_modules(module: nn.Module, calls: Collection[str], images: Tensor, see: Callable[[str, Tensor], None]) -> None:
    """One forward pass; `see` gets the output of each of these calls, which later modules may overwrite."""

    def note(call: str, _: Any, __: Any, output: Any) -> None:
        if call in calls and isinstance(output, Tensor):
            see(call, output)

    with hooked(_called(module, calls), note):
        module(images)


def _called(module: nn.Module, calls: Collection[str]) -> dict[str, Part]:
    """The parts of these calls, by name."""
    names = {call.partition(CALL_MARK)[0] for call in calls}
    return {name: part for name, part in parts_of(module).items() if name in names}


def read_modules(module: nn.Module, points: Sequence[ReadPoint], batch: Tensor, sink: Sink) -> None:
    """One forward pass that ends at the last of these points; `sink` gets their layers' maps."""
    points_of: dict[str, list[tuple[int, ReadPoint]]] = {}
    for index, point in enumerate(points):
        points_of.setdefault(point.node, []).append((index, point))
    unread = set(points_of)

    def note(call: str, _: Any, inputs: Any, output: Any) -> None:
        for index, point in points_of.get(call, []):
            sink(index, point.maps(inputs[0] if point.reads_input else output))
        unread.discard(call)
        if not unread:
            raise _PassEnded

    modules = _called(module, points_of)
    with contextlib.suppress(_PassEnded), hooked(modules, note):
        module(batch)
