"""The network's blocks, found by structure, since architectures name them differently."""

from __future__ import annotations

from torch import nn

from polyscan.vision.tracing import LAYER_TYPES


def blocks_of(module: nn.Module) -> list[str]:
    """Names of the network's blocks: composite modules with convolutions, looked for inside plain containers.

    Stages whose containers hold only blocks of one class are entered too (ConvNeXt's stages).
    """
    return _blocks(module, "")


def _blocks(module: nn.Module, prefix: str) -> list[str]:
    names: list[str] = []
    for name, child in module.named_children():
        if isinstance(child, nn.Conv2d) or not _n_convolutions(child):
            continue
        if _is_container(child) or _is_stage(child):
            names += _blocks(child, f"{prefix}{name}.")
        elif any(True for _ in child.children()):
            names.append(f"{prefix}{name}")
    return names


def _is_container(module: nn.Module) -> bool:
    return type(module) in (nn.Sequential, nn.ModuleList, nn.ModuleDict)


def _is_stage(module: nn.Module) -> bool:
    """Whether a module is a row of blocks, or has most of its convolutions in one."""
    if isinstance(module, nn.Sequential):
        return _is_uniform(module)
    rows = [child for child in module.children() if _is_container(child) and _is_uniform(child)]
    return any(2 * _n_convolutions(row) > _n_convolutions(module) for row in rows)


def _n_convolutions(module: nn.Module) -> int:
    return sum(isinstance(part, nn.Conv2d) for part in module.modules())


def _is_uniform(container: nn.Module) -> bool:
    """Whether a container holds only composite modules of one class, two or more."""
    kinds = [type(child) for child in container.children()]
    return len(kinds) > 1 and len(set(kinds)) == 1 and not issubclass(kinds[0], (nn.Sequential, *LAYER_TYPES))
