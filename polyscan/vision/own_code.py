"""The user's own code: functions named `module:callable`, looked for in the job's folder first."""

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
        _unload_other(module, Path(folder))
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ModelError(f'"{name}": {error}; looked in {folder or "the Python path"}') from error


def _unload_other(name: str, folder: Path) -> None:
    """Unloads a module of that name that came from another folder, so that this folder's module is imported."""
    source = (folder / f"{name.replace('.', '/')}.py").resolve()
    loaded_from = getattr(sys.modules.get(name), "__file__", None)
    if loaded_from and source.exists() and Path(loaded_from).resolve() != source:
        del sys.modules[name]
        importlib.invalidate_caches()
