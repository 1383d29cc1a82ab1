"""Hooks on a network's modules, and on the functions that it calls with parameters of its own, for one forward pass."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch.overrides import TorchFunctionMode

from polyscan.vision.readouts.channel_axes import FUNCTIONS
from polyscan.vision.readouts.points import call_name
from polyscan.vision.tracing import LAYER_TYPES

Part = nn.Module | nn.Parameter
Note = Callable[[str, nn.Module | str, Any, Any], None]
"""Called with the name of a call, the module or the function's name, its inputs and its output."""


def parts_of(network: nn.Module) -> dict[str, Part]:
    """The network's modules by name, and those of its parameters that no module of torch owns: kernels of its own."""
    parts: dict[str, Part] = dict(network.named_modules())
    for name, parameter in network.named_parameters():
        owner = type(network.get_submodule(name.rpartition(".")[0]))
        if parameter.ndim > 1 and not issubclass(owner, LAYER_TYPES) and not owner.__module__.startswith("torch.nn"):
            parts.setdefault(name.removesuffix(".weight"), parameter)
    return parts


class _Functions(TorchFunctionMode):
    """Notes each function that computes a layer from one of these parameters."""

    def __init__(self, names: Mapping[int, str], note: Callable[[str, str, Any, Any], None]) -> None:
        super().__init__()
        self.names = names
        self.note = note

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        function = getattr(func, "__name__", "")
        if function in FUNCTIONS:
            weight = (kwargs or {}).get("weight", args[1] if len(args) > 1 else None)
            if id(weight) in self.names:
                self.note(self.names[id(weight)], function, args, output)
        return output


@contextmanager
def hooked(parts: Mapping[str, Part], note: Note) -> Generator[None]:
    """Calls `note` after each call of these modules, and of each function that makes a layer of these parameters."""
    calls: dict[str, int] = {}

    def noted(name: str, part: nn.Module | str, inputs: Any, output: Any) -> None:
        note(call_name(name, calls), part, inputs, output)

    def hook_of(name: str) -> Callable[[nn.Module, Any, Any], None]:
        return lambda module, inputs, output: noted(name, module, inputs, output)

    modules = [(name, part) for name, part in parts.items() if isinstance(part, nn.Module)]
    handles = [module.register_forward_hook(hook_of(name)) for name, module in modules]
    parameters = {id(part): name for name, part in parts.items() if not isinstance(part, nn.Module)}
    try:
        with _Functions(parameters, noted):
            yield
    finally:
        for handle in handles:
            handle.remove()
