"""Weights files, read without running any code in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from polyscan.errors import ModelError


def is_weights_file(weights: str) -> bool:
    """Whether the name is that of a file, not of a library's weights."""
    return weights.endswith((".safetensors", ".pth", ".pt"))


def load_weights_file(module: nn.Module, path: Path, name: str) -> None:
    """Loads a file's weights into a network.

    Args:
        module: the network.
        path: a `.safetensors` file, or a `.pth` or `.pt` one that holds a state dict.
        name: the network's name, for messages.

    Raises:
        ModelError: if the file does not exist, has another format, or is of another architecture.
    """
    if not path.exists():
        raise ModelError(f"no weights file at {path}; name an existing .safetensors or .pth file")
    state = _state_of(path)
    if mismatch := _mismatch(module.state_dict(), state):
        raise ModelError(
            f"{path.name} holds the weights of another architecture than {name}: {mismatch}; "
            "check `network.name` and `network.weights`"
        )
    module.load_state_dict(dict(state), strict=False)


def _mismatch(expected: dict[str, Tensor], state: dict[str, Tensor]) -> str:
    """How a state dict differs from the expected one in names and shapes; "" if it fits."""
    missing, unknown = sorted(set(expected) - set(state)), sorted(set(state) - set(expected))
    shapes = [
        f"{key} {tuple(state[key].shape)} instead of {tuple(expected[key].shape)}"
        for key in sorted(set(expected) & set(state))
        if state[key].shape != expected[key].shape
    ]
    # Old checkpoints lack this counter, and evaluation does not use it.
    missing = [key for key in missing if not key.endswith("num_batches_tracked")]
    if not (missing or unknown or shapes):
        return ""
    return f"{len(missing)} missing {missing[:3]}, {len(unknown)} unknown {unknown[:3]}, wrong shape {shapes[:3]}"


def _state_of(path: Path) -> dict[str, Tensor]:
    content = _content(path)
    for key in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise ModelError(
            f"{path} holds a {type(content).__name__} that is not a state dict (names to tensors); "
            "save the network with torch.save(model.state_dict(), path)"
        )
    return _without_wrapper({str(key): value for key, value in content.items()})


def _content(path: Path) -> Any:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch and safetensors raise many kinds of exceptions for files that they can't read
        raise ModelError(
            f"{path} can't be read as weights ({_first_line(error)}); "
            "allowed: .safetensors, or a .pth that holds a state dict and nothing else (no pickled code is run)"
        ) from error


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


def _without_wrapper(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The names as in the network itself, without the prefix of `DataParallel` or `torch.compile`."""
    for prefix in ("module.", "_orig_mod."):
        if state and all(key.startswith(prefix) for key in state):
            return _without_wrapper({key.removeprefix(prefix): value for key, value in state.items()})
    return state
