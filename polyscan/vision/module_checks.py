"""Modules as people give them, made ready to be read: unwrapped, in float32, in eval mode; or refused by kind."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from polyscan.errors import ModelError
from polyscan.vision.own_code import own_errors

log = logging.getLogger(__name__)

WRAPPERS = {
    "OptimizedModule": "_orig_mod",
    "DataParallel": "module",
    "DistributedDataParallel": "module",
    "AveragedModel": "module",
}
"""torch's classes that hold a network, and under which name."""
QUANTIZED = (".nn.quantized", ".nn.intrinsic.quantized", "bitsandbytes", "torchao.")
FLOATS = (torch.float16, torch.bfloat16, torch.float64)


def unwrapped_module(module: nn.Module) -> nn.Module:
    """The network inside of `torch.compile`, `DataParallel` and `AveragedModel`, whose layers have their own names."""
    while (inner := WRAPPERS.get(type(module).__name__)) and type(module).__module__.startswith("torch."):
        module = getattr(module, inner)
    return module


def ready(module: nn.Module, name: str) -> tuple[nn.Module, list[str]]:
    """The network as it can be read, and what was changed in it, in words.

    Its floating-point numbers become float32, so that results do not depend on how it was stored. It goes into eval
    mode with all its parts, and its weights are frozen.

    Raises:
        ModelError: if it is scripted, quantized or lazy, has no data, or is in training mode whatever it is told.
    """
    module = unwrapped_module(module)
    if refusal := next((text for check in REFUSALS for text in check(module)), ""):
        raise ModelError(f"{name} {refusal}")
    notes = list(_in_float32(module))
    with own_errors(f"setting {name} to eval mode"):
        module.eval().requires_grad_(requires_grad=False)
        notes += _out_of_training(module, name)
    with own_errors(f"reading the weights of {name}"):
        module.state_dict()
    return module, notes


def _scripted(module: nn.Module) -> Iterator[str]:
    for place, part in _parts(module):
        if isinstance(part, torch.jit.ScriptModule):
            yield f"is a TorchScript module{place}, whose layers can't be read; give it as it is before torch.jit"


def _quantized(module: nn.Module) -> Iterator[str]:
    for place, part in _parts(module):
        kind = type(part)
        tensors = list(part.parameters(recurse=False))
        if any(word in kind.__module__ for word in QUANTIZED) or any(tensor.is_quantized for tensor in tensors):
            yield f"is quantized{place} ({kind.__name__}), and its layers can't be read; give the network before that"


def _lazy(module: nn.Module) -> Iterator[str]:
    for place, part in _parts(module):
        tensors = (*part.parameters(recurse=False), *part.buffers(recurse=False))
        if any(nn.parameter.is_lazy(tensor) for tensor in tensors):
            yield (
                f"has a layer without weights yet{place} ({type(part).__name__}); call the network once on an input "
                "before your function returns it"
            )


def _without_data(module: nn.Module) -> Iterator[str]:
    for name, tensor in _tensors(module):
        if tensor.is_meta:
            yield f"has weights without data (`{name}` is on the device meta); give it with its weights"


REFUSALS: tuple[Callable[[nn.Module], Iterator[str]], ...] = (_scripted, _lazy, _quantized, _without_data)
"""Each yields what a network is that can't be read."""


def _parts(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for name, part in module.named_modules():
        yield (f" at `{name}`" if name else ""), part


def _tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from module.named_parameters()
    yield from module.named_buffers()


def _in_float32(module: nn.Module) -> Iterator[str]:
    kinds = {str(tensor.dtype).removeprefix("torch.") for _, tensor in _tensors(module) if tensor.dtype in FLOATS}
    if kinds:
        module.float()
        yield f"converted from {' and '.join(sorted(kinds))} to float32"


def _out_of_training(module: nn.Module, name: str) -> Iterator[str]:
    """Puts parts that stay in training mode, whatever `eval` tells them, into eval mode."""
    stubborn = {part_name or type(part).__name__: part for part_name, part in module.named_modules() if part.training}
    for part_name, part in stubborn.items():
        part.training = False
        if part.training:
            raise ModelError(f"{name} stays in training mode at `{part_name}`, so its outputs would be random; mend it")
    if stubborn:
        yield f"put into eval mode, which `eval()` did not do at {', '.join(f'`{one}`' for one in list(stubborn)[:3])}"
