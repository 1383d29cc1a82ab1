"""Weights files, read without running any code in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from polyscan.errors import ModelError


def is_weights_file(weights: str) -> bool:
    """Whether it names a file and no weights of a library."""
    return weights.endswith((".safetensors", ".pth", ".pt"))


def load_weights_file(module: nn.Module, path: Path, name: str) -> None:
    """Puts a file's weights into a network.

    Args:
        module: the network.
        path: a `.safetensors` file, or a `.pth` or `.pt` one that holds a state dict.
        name: the network's, for messages.

    Raises:
        ModelError: if the file is not there, is none of these, or is of another architecture.
    """
    if not path.exists():
        raise ModelError(f"no weights file at {path}; name an existing .safetensors or .pth file")
    state = _state_of(path)
    own = module.state_dict()
    missing, foreign = sorted(set(own) - set(state)), sorted(set(state) - set(own))
    shapes = [
        f"{key} {tuple(state[key].shape)} instead of {tuple(own[key].shape)}"
        for key in sorted(set(own) & set(state))
        if state[key].shape != own[key].shape
    ]
    # Old checkpoints lack this counter, and evaluation does not use it.
    missing = [key for key in missing if not key.endswith("num_batches_tracked")]
    if missing or foreign or shapes:
        raise ModelError(
            f"{path.name} holds the weights of another architecture than {name}: "
            f"{len(missing)} missing {missing[:3]}, {len(foreign)} unknown {foreign[:3]}, wrong shape {shapes[:3]}; "
            "check `network.name` and `network.weights`"
        )
    module.load_state_dict(dict(state), strict=False)


def _state_of(path: Path) -> dict[str, Tensor]:
    try:
        content: Any = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    except Exception as error:  # torch and safetensors raise half a dozen kinds for a file that they can't read
        raise ModelError(
            f"{path} can't be read as weights ({_first_line(error)}); "
            "allowed: .safetensors, or a .pth that holds a state dict and nothing else (no pickled code is run)"
        ) from error
    for key in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise ModelError(
            f"{path} holds a {type(content).__name__} that is no state dict (names to tensors); "
            "save the network with torch.save(model.state_dict(), path)"
        )
    return _without_wrapper({str(key): value for key, value in content.items()})


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


def _without_wrapper(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The names as the network itself has them: `DataParallel` and `torch.compile` put a word before all of them."""
    for prefix in ("module.", "_orig_mod."):
        if state and all(key.startswith(prefix) for key in state):
            return _without_wrapper({key.removeprefix(prefix): value for key, value in state.items()})
    return state
