"""Reads a network that can't be traced, by hooks on its modules that are removed after each pass."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from polyscan.vision.readouts.points import ReadPoint, Sink, as_map, call_name
from polyscan.vision.tracing import LAYER_TYPES

READOUT = "module output (the network can't be traced)"

Note = Callable[[str, nn.Module, Any], None]
"""Called with the name of a call, the module, and its output."""


class _PassEnded(BaseException):  # not an Exception, so that a network's own `except Exception` does not catch it
    """Ends a forward pass after the deepest module that is read."""


@contextmanager
def _hooked(modules: Mapping[str, nn.Module], note: Note) -> Generator[None, None, None]:
    calls: dict[str, int] = {}

    def hook_of(name: str) -> Callable[..., None]:
        return lambda module, _, output: note(call_name(name, calls), module, output)

    handles = [module.register_forward_hook(hook_of(name)) for name, module in modules.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def module_points(module: nn.Module, blocks: Sequence[str], example: Tensor) -> list[ReadPoint]:
    """Read points of a network that can't be traced, in the order in which its modules finish.

    Modules whose output is not a map, tokens or a vector are left out.
    """
    points: list[ReadPoint] = []

    def note(call: str, part: nn.Module, output: Any) -> None:
        if isinstance(output, Tensor) and output.ndim in (2, 3, 4):
            last = isinstance(part, nn.Linear) or output.ndim == 3
            maps = as_map(output, channels_last=last)
            size = (maps.shape[2], maps.shape[3])
            points.append(ReadPoint(call, 0, maps.shape[1], size, None, READOUT, False, call, last))

    chosen = {name: part for name, part in module.named_modules() if isinstance(part, LAYER_TYPES) or name in blocks}
    with _hooked(chosen, note), torch.inference_mode():
        module(example)
    return points


def read_modules(module: nn.Module, points: Sequence[ReadPoint], batch: Tensor, sink: Sink) -> None:
    """One forward pass that ends at the last of these points; `sink` gets their layers' maps."""
    points_of: dict[str, list[tuple[int, ReadPoint]]] = {}
    for index, point in enumerate(points):
        points_of.setdefault(point.node, []).append((index, point))
    unread = set(points_of)

    def note(call: str, _: nn.Module, output: Any) -> None:
        for index, point in points_of.get(call, []):
            sink(index, point.maps(output))
        unread.discard(call)
        if not unread:
            raise _PassEnded

    names = {node.partition("#")[0] for node in points_of}
    modules = {name: part for name, part in module.named_modules() if name in names}
    with contextlib.suppress(_PassEnded), _hooked(modules, note):
        module(batch)
