"""The user's own code: what `module:name` names, looked for in the job's folder first.

Law: whatever goes wrong in it is told in a sentence, with the file and the line where it was raised.
"""

from __future__ import annotations

import copy
import functools
import inspect
import traceback
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

import polyscan
from polyscan.errors import ModelError, PolyscanError, nearest, suggestion
from polyscan.vision.own_sources import LIBRARIES, own_module, own_place

OURS = Path(polyscan.__file__).parent
NOT_THEIRS = ("site-packages", "dist-packages", "importlib", "<frozen")
MESSAGE_LENGTH = 200


def own_result(
    name: str, folder: str, options: Mapping[str, Any] | None = None, *, kinds: tuple[type, ...] = (nn.Module,)
) -> Any:
    """What the user's own code gives: the result of a function or class, or a copy of an object.

    Args:
        name: as in `nets:resnet20` or `nets.py:resnet20`.
        folder: where the module is looked for first; "" for the Python path alone.
        options: arguments of the function by name; None where the job has no setting for them.
        kinds: classes of objects that are taken as they are.

    Raises:
        ModelError: if there is no such module or name, it can't be called with these options, or it raises.
    """
    found = _named(name, folder)
    if isinstance(found, kinds):
        if options:
            raise ModelError(f'"{name}" is a {type(found).__name__}, which takes no `network.options`; leave them out')
        with own_errors(f'copying "{name}"'):
            return copy.deepcopy(found)
    _check_arguments(found, name, options)
    with own_errors(f'"{name}"'):
        return found(**(options or {}))


def own_parameters(name: str, folder: str) -> list[str]:
    """The names of the arguments that the user's function takes; [] if they can't be known."""
    try:
        return list(inspect.signature(_named(name, folder)).parameters)
    except (TypeError, ValueError):
        return []


@contextmanager
def own_errors(doing: str) -> Generator[None]:
    """Turns whatever the user's code raises, or an attempt to end the process, into a `ModelError`."""
    try:
        yield
    except PolyscanError:
        raise
    except (Exception, SystemExit) as error:
        raise ModelError(f"{doing} failed with {told(error)}") from error


def told(error: BaseException) -> str:
    """The kind and the message of an error in one line, and where in the user's own code it was raised."""
    lines = str(error).strip().splitlines()
    text = f": {lines[0][:MESSAGE_LENGTH]}" if lines else ""
    return f"{type(error).__name__}{text}{_raised_at(error)}"


def _raised_at(error: BaseException) -> str:
    if isinstance(error, SyntaxError) and error.filename:
        return "" if "line" in str(error) else f" ({Path(error.filename).name}, line {error.lineno})"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_theirs(frame.filename)]
    return f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""


def _is_theirs(file: str) -> bool:
    return not file.startswith("<") and OURS not in Path(file).parents and not any(part in file for part in NOT_THEIRS)


def _named(name: str, folder: str) -> Any:
    place, attribute = own_place(name)
    code = _imported(place, name, folder)
    try:
        with own_errors(f'looking up "{name}"'):
            found = functools.reduce(getattr, attribute.split("."), code) if attribute else None
    except ModelError as error:
        if not isinstance(error.__cause__, AttributeError):
            raise
        found = None
    if found is None:
        raise ModelError(f'"{name}": {_file_of(code)} has no function `{attribute}`; {_offer(code, attribute)}')
    if not callable(found):
        raise ModelError(
            f'"{name}": `{attribute}` is of type {type(found).__name__}, neither a function nor a torch.nn.Module; '
            f"{_offer(code, attribute)}"
        )
    return found


def _file_of(code: ModuleType) -> str:
    return Path(getattr(code, "__file__", None) or code.__name__).name


def _offer(code: ModuleType, attribute: str) -> str:
    """What the module has of its own that could be meant."""
    own = [
        name
        for name, value in vars(code).items()
        if not name.startswith("_")
        and callable(value)
        and (isinstance(value, nn.Module) or getattr(value, "__module__", "") == code.__name__)
    ]
    return suggestion(attribute, own) if own else "it has no functions"


def _imported(place: str, name: str, folder: str) -> ModuleType:
    with own_errors(f'"{name}": importing {place}'):
        try:
            return own_module(place, folder)
        except ModuleNotFoundError as error:
            if error.name and (place == error.name or place.startswith(f"{error.name}.")):
                raise ModelError(_not_found(place, name, folder)) from error
            raise ModelError(
                f'"{name}": {place} imports `{error.name}`, which is not installed here{_raised_at(error)}'
            ) from error


def _not_found(place: str, name: str, folder: str) -> str:
    if near := [library for library in LIBRARIES if library in nearest(place, LIBRARIES).split(", ")]:
        return f'unknown library in "{name}"; did you mean {near[0]}:{name.partition(":")[2]}?'
    here = sorted(path.stem for path in Path(folder or ".").glob("*.py"))
    there = f"; {suggestion(place, here)}" if here else ""
    return f'"{name}": no module named `{place}`; looked in {folder or "the Python path"}{there}'


def _check_arguments(found: Callable[..., Any], name: str, options: Mapping[str, Any] | None) -> None:
    """Refuses options that the function does not take, and a function that needs more arguments."""
    try:
        parameters = inspect.signature(found).parameters
    except (TypeError, ValueError):
        return  # a class of an extension, which tells nothing about its arguments
    kinds = inspect.Parameter
    known = [key for key, one in parameters.items() if one.kind in (kinds.POSITIONAL_OR_KEYWORD, kinds.KEYWORD_ONLY)]
    takes_any = any(one.kind is kinds.VAR_KEYWORD for one in parameters.values())
    for option in options or {}:
        if option not in known and not takes_any:
            has = suggestion(option, known) if known else "it takes no arguments"
            raise ModelError(f'"{name}" has no argument `{option}`, which `network.options` sets; {has}')
    if missing := [key for key in required_arguments(found) if key not in (options or {})]:
        raise ModelError(f'"{name}" needs {_quoted(missing)}, without a default; {_way_out(missing[0], options)}')


def required_arguments(function: Callable[..., Any]) -> list[str]:
    """The names of the arguments of a function that have no default.

    >>> required_arguments(lambda x, y=1, *more: x)
    ['x']
    """
    kinds = inspect.Parameter
    loose = (kinds.VAR_KEYWORD, kinds.VAR_POSITIONAL)
    parameters = inspect.signature(function).parameters
    return [key for key, one in parameters.items() if one.default is kinds.empty and one.kind not in loose]


def _quoted(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _way_out(missing: str, options: Mapping[str, Any] | None) -> str:
    if options is None:
        return "give it a default, or name a function without arguments"
    return f"set it in the job, as in network.options = {{{missing} = ...}}, or name a function without arguments"
