"""The network's blocks: what "block outputs" means in architectures that name their parts differently."""

from __future__ import annotations

from torch import nn

from polyscan.vision.tracing import LAYER_TYPES


def blocks_of(module: nn.Module) -> list[str]:
    """Names of the network's blocks: its composite modules, plain containers opened, as far as they hold convolutions.

    A stage whose container holds nothing but blocks of one class is opened too (ConvNeXt's stages).
    """
    return _blocks(module, "")


def _blocks(module: nn.Module, prefix: str) -> list[str]:
    found: list[str] = []
    for name, child in module.named_children():
        if isinstance(child, nn.Conv2d) or not _n_convolutions(child):
            continue
        if _is_container(child) or _is_stage(child):
            found += _blocks(child, f"{prefix}{name}.")
        elif any(True for _ in child.children()):
            found.append(f"{prefix}{name}")
    return found


def _is_container(module: nn.Module) -> bool:
    return type(module) in (nn.Sequential, nn.ModuleList, nn.ModuleDict)


def _is_stage(module: nn.Module) -> bool:
    """Whether it is a row of blocks, or holds most of its convolutions in one."""
    if isinstance(module, nn.Sequential):
        return _is_uniform(module)
    rows = [child for child in module.children() if _is_container(child) and _is_uniform(child)]
    return any(2 * _n_convolutions(row) > _n_convolutions(module) for row in rows)


def _n_convolutions(module: nn.Module) -> int:
    return sum(isinstance(part, nn.Conv2d) for part in module.modules())


def _is_uniform(container: nn.Module) -> bool:
    """Whether all it holds are composite modules of one class, two or more."""
    kinds = [type(child) for child in container.children()]
    return len(kinds) > 1 and len(set(kinds)) == 1 and not issubclass(kinds[0], (nn.Sequential, *LAYER_TYPES))
