"""The user's own code: what `module:callable` names, out of the job's folder first."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from polyscan.errors import ModelError


def own_callable(name: str, folder: str) -> Callable[[], Any]:
    """The function that `module:callable` names.

    Args:
        name: as in `nets:resnet20`.
        folder: where the module is looked for first; "" for the Python path alone.

    Raises:
        ModelError: if there is no such module or function.
    """
    module_name, _, attribute = name.partition(":")
    code = _imported(module_name, name, folder)
    build = getattr(code, attribute, None)
    if not callable(build):
        known = [key for key, value in vars(code).items() if callable(value) and not key.startswith("_")]
        raise ModelError(f'"{name}": the module has no function `{attribute}`; it has: {", ".join(known)}')
    return build


def _imported(module: str, name: str, folder: str) -> ModuleType:
    if folder:
        sys.path[:] = [folder, *(path for path in sys.path if path != folder)]
        _forget_namesake(module, Path(folder))
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ModelError(f'"{name}": {error}; looked in {folder or "the Python path"}') from error


def _forget_namesake(name: str, folder: Path) -> None:
    """Drops a loaded module of that name that another folder's file gave, so that the folder's own is imported."""
    own = (folder / f"{name.replace('.', '/')}.py").resolve()
    loaded = sys.modules.get(name)
    file = getattr(loaded, "__file__", None)
    if file and own.exists() and Path(file).resolve() != own:
        del sys.modules[name]
        importlib.invalidate_caches()
