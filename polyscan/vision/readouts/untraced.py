"""Reading a network that can't be traced: hooks on its modules, taken off again after each pass."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from polyscan.vision.readouts.points import ReadPoint, Sink, as_map, call_name
from polyscan.vision.tracing import LAYER_TYPES

WORDS = "module output (the network can't be traced)"

Note = Callable[[str, nn.Module, Any], None]
"""Is told a call's name, the module, and what it gave."""


class _PassEnded(BaseException):  # not an error, and nothing that a network's own `except Exception` should catch
    """Ends a forward pass behind the deepest read module."""


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
    """Read points of a network that can't be traced, in the order in which its modules are done.

    A module that gives something else than a map, tokens or a vector is left out.
    """
    points: list[ReadPoint] = []

    def note(call: str, part: nn.Module, output: Any) -> None:
        if isinstance(output, Tensor) and output.ndim in (2, 3, 4):
            last = isinstance(part, nn.Linear) or output.ndim == 3
            maps = as_map(output, channels_last=last)
            size = (maps.shape[2], maps.shape[3])
            points.append(ReadPoint(call, 0, maps.shape[1], size, None, WORDS, False, call, last))

    chosen = {name: part for name, part in module.named_modules() if isinstance(part, LAYER_TYPES) or name in blocks}
    with _hooked(chosen, note), torch.inference_mode():
        module(example)
    return points


def read_modules(module: nn.Module, points: Sequence[ReadPoint], batch: Tensor, sink: Sink) -> None:
    """One forward pass that ends at the last of these points; `sink` is handed their layers' maps."""
    wanted: dict[str, list[tuple[int, ReadPoint]]] = {}
    for index, point in enumerate(points):
        wanted.setdefault(point.node, []).append((index, point))
    left = set(wanted)

    def note(call: str, _: nn.Module, output: Any) -> None:
        for index, point in wanted.get(call, []):
            sink(index, point.maps(output))
        left.discard(call)
        if not left:
            raise _PassEnded

    names = {node.partition("#")[0] for node in wanted}
    try:
        with _hooked({name: part for name, part in module.named_modules() if name in names}, note):
            module(batch)
    except _PassEnded:
        pass
