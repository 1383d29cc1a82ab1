"""pydantic's validation errors as sentences, with the key, the value got and what is allowed."""

from __future__ import annotations

import difflib
import re
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

PLAIN = "Value error, input should"  # like pydantic's own sentences, which name neither key nor value
BARE = re.compile(r"[\w\[\], .-]{1,60}", re.ASCII)


def explained(error: ValidationError, content: Mapping[str, Any], model: type[BaseModel]) -> Iterator[str]:
    """One line per fault: the key, the value got and what is allowed.

    Args:
        error: pydantic's error.
        content: the settings that are not a valid job.
        model: the class of jobs.
    """
    listed: set[str] = set()
    for fault in error.errors():
        place = [str(part) for part in fault["loc"]]
        key = ".".join(_key_part(part) for part in place)
        if fault["type"] == "extra_forbidden":
            hint = _hint(place, model)
            yield f"unknown key `{key}`{'' if hint in listed else f'; {hint}'}"
            listed.add(hint)
        elif fault["type"] == "missing":
            yield f"`{key}` is missing; {_description(place, model) or 'the job needs it'}"
        elif fault["type"] == "value_error" and not fault["msg"].startswith(PLAIN):
            yield str(fault["msg"]).removeprefix("Value error, ")
        elif fault["type"] == "model_type":
            got = _short(fault["input"])
            yield f"`{key}` is a group of settings, got {got}; set one of them, as in {_example(place, model)}"
        else:
            text = fault["msg"].removeprefix("Value error, ")
            yield f"`{key}`: {text[0].lower()}{text[1:]}, got {_short(fault.get('input', content))}"


def _key_part(part: str) -> str:
    """A part of a key as in TOML: quoted unless it is a bare key, and cut short if it is long."""
    return part if BARE.fullmatch(part) else _short(part)


def _short(value: object) -> str:
    """A value as Python writes it, cut short if it is long or deep."""
    brief = reprlib.Repr()
    brief.maxlevel, brief.maxstring, brief.maxlong, brief.maxother = 3, 80, 40, 80
    try:
        return brief.repr(value)
    except ValueError:  # Python refuses to write thousands of digits
        return "a number of thousands of digits"


def _hint(place: Sequence[str], model: type[BaseModel]) -> str:
    """A suggestion for an unknown key."""
    group = _group(place[:-1], model)
    known = sorted(group.model_fields) if group else []
    near = difflib.get_close_matches(place[-1], known, n=1)
    return f'did you mean "{near[0]}"?' if near else f"known keys: {', '.join(known)}"


def _example(place: Sequence[str], model: type[BaseModel]) -> str:
    """The key of the first setting of a group."""
    group = _group(place, model)
    return ".".join([*place, *list(group.model_fields)[:1]] if group else place)


def _group(place: Sequence[str], model: type[BaseModel]) -> type[BaseModel] | None:
    for part in place:
        setting = model.model_fields.get(part)
        kinds = [setting.annotation, *get_args(setting.annotation)] if setting else []
        inner = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
        if inner is None:
            return None
        model = inner
    return model


def _description(place: Sequence[str], model: type[BaseModel]) -> str:
    group = _group(place[:-1], model)
    return (group.model_fields[place[-1]].description or "") if group and place[-1] in group.model_fields else ""
