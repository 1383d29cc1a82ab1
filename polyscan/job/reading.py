"""Reads job files: TOML to settings, and plain error messages.

Paths inside a job file are relative to that file; paths given on the command line to the working directory.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from polyscan.errors import JobError
from polyscan.job.settings import Job
from polyscan.storage import from_printable

DIRECTIONS = "directions"
"""The group whose keys are layers, dots included, and whose values are files."""
PATHS = (
    *("network.weights", "images.source", "images.root"),
    *("embed.classes", "embed.vocabulary", "name.classes", "name.vocabulary"),
)
CODE = ("network.name", "embed.model", "name.model")
TABLES = ("embed", "name")
"""Groups whose files may be tables of vectors."""
FILE_ENDINGS = (
    *(".safetensors", ".pth", ".pt", ".ckpt", ".bin", ".th", ".tar", ".pkl", ".pickle", ".pyth", ".chkpt"),
    *(".parquet", ".txt", ".json"),
)
"""Endings of values that are files even if there is no such file; those of weights come first."""


def load(path: Path, overrides: Mapping[str, Any] | None = None) -> Job:
    """Reads a job file.

    Args:
        path: the TOML file.
        overrides: values by dotted key, as `--set` gives them; their paths are relative to the working folder.

    Raises:
        JobError: if the file is missing, is not TOML, or is not a valid job.
    """
    try:
        content, folder = path.read_bytes(), path.resolve().parent
    except (OSError, ValueError) as error:  # ValueError: a path that no file can have
        why = getattr(error, "strerror", None) or error
        raise JobError(f"no job file at {path} ({why}); give an existing .toml file") from error
    return parse(content, str(path), overrides, folder=folder)


def parse(
    text: str | bytes, origin: str, overrides: Mapping[str, Any] | None = None, *, folder: Path | None = None
) -> Job:
    """A job from the text of a TOML file.

    Args:
        text: the file's content, as text or in UTF-8.
        origin: what error messages call the text.
        overrides: as for `load`.
        folder: the folder that the job's paths and code are relative to, unless the text sets it.

    Raises:
        JobError: if the text is not TOML, or is not a valid job.
    """
    content = _toml(text, origin)
    content.setdefault("folder", str(folder or Path.cwd()))
    if isinstance(content.get(DIRECTIONS), dict):
        content[DIRECTIONS] = dict(_dotted(content[DIRECTIONS]))
    if isinstance(content["folder"], str):  # otherwise `build` reports the error
        content["folder"] = str(_on_disk(Path(content["folder"])))
        _anchor(content, Path(content["folder"]))
    for key, value in (overrides or {}).items():
        _put(content, key, value)
    _anchor(content, Path.cwd(), only=set(overrides or {}))
    if str(Path.cwd()) != content["folder"]:
        _anchor_code(content, only=set(overrides or {}))
    return build(content, f"the command, or {origin}" if overrides else origin)


def fill(overrides: Mapping[str, Any]) -> Job:
    """A job without a file: defaults and the command's overrides.

    Raises:
        JobError: if network or images are missing, or an override is not a valid setting.
    """
    content: dict[str, Any] = {"folder": str(Path.cwd())}
    for key, value in overrides.items():
        _put(content, key, value)
    _anchor(content, Path.cwd())
    return build(content, "the command")


def build(content: Mapping[str, Any], origin: str) -> Job:
    """A job from plain dictionaries.

    Args:
        content: settings, as a TOML file gives them.
        origin: what error messages call the source of the settings.

    Raises:
        JobError: naming every wrong key with its value, what is allowed, and the file to fix.
    """
    try:
        return Job(**content)
    except JobError as error:
        raise JobError(f"{error}\nFix {origin}.") from error


def settings_of(job: Job, groups: Sequence[str]) -> dict[str, Any]:
    """The job's settings of some groups as plain values, from which a stage's fingerprint is made."""
    dump = job.model_dump(mode="json")
    # With defaults filled in, so that a new score or another default changes the fingerprint, too.
    dump["scores"] = {name: asdict(cast("Any", score)) for name, score in job.score_functions().items()}
    return {group: dump[group] for group in groups}


def _toml(text: str | bytes, origin: str) -> dict[str, Any]:
    """The content of a TOML file; a JobError for everything that tomllib raises."""
    try:
        # Editors on Windows may put a byte order mark before the text.
        return tomllib.loads(text if isinstance(text, str) else text.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise JobError(f"{origin} is not TOML: byte {error.start} is not UTF-8 ({error.reason})") from error
    except tomllib.TOMLDecodeError as error:
        raise JobError(f"{origin} is not TOML: {error}") from error
    except RecursionError as error:
        raise JobError(f"{origin} is not a job: it is nested deeper than can be read") from error
    except ValueError as error:  # a number of thousands of digits
        raise JobError(f"{origin} is not TOML: {_first_sentence(error)}") from error


def _first_sentence(error: ValueError) -> str:
    return str(error).partition(";")[0]


def _dotted(group: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """A group's values by the whole of their keys, because TOML takes the dots in a layer's name for groups."""
    for key, value in group.items():
        if isinstance(value, dict):
            yield from _dotted(cast("dict[str, Any]", value), f"{path}{key}.")
        else:
            yield f"{path}{key}", value


def _put(content: dict[str, Any], key: str, value: Any) -> None:
    group, _, layer = key.partition(".")
    *groups, name = [group, layer] if group == DIRECTIONS and layer else key.split(".")
    for group in groups:
        inner = content.setdefault(group, {})
        if not isinstance(inner, dict):
            raise JobError(f"--set {key}: `{group}` is not a group of settings")
        content = inner
    content[name] = value


def _anchor_code(content: dict[str, Any], only: set[str]) -> None:
    """Makes paths to the user's own code absolute that the command line gives relative to the working folder."""
    for key in only.intersection(CODE):
        group, name = key.split(".")
        value = content[group][name]
        path, colon, attribute = value.rpartition(":") if isinstance(value, str) else ("", "", "")
        if path.endswith(".py") and Path(path).is_file():
            content[group][name] = f"{Path(path).resolve()}{colon}{attribute}"


def _anchor(content: dict[str, Any], base: Path, only: set[str] | None = None) -> None:
    """Makes relative paths absolute if such a file or folder exists below `base`, or they look like a file."""
    of_layers = cast("dict[str, Any]", content[DIRECTIONS]) if isinstance(content.get(DIRECTIONS), dict) else {}
    for key in (*PATHS, *(f"{DIRECTIONS}.{layer}" for layer in of_layers)):
        group, _, name = key.partition(".")
        value = content.get(group, {}).get(name) if isinstance(content.get(group), dict) else None
        if (only is not None and key not in only) or not isinstance(value, str) or not value:
            continue
        if group == DIRECTIONS or (group in TABLES and ".safetensors" in value):  # FILE#KEY, or FILE#KEY|FILE#KEY
            files = (part.partition("#") for part in value.split("|"))
            content[group][name] = "|".join(f"{_anchored(path, base)}{mark}{key}" for path, mark, key in files)
        else:
            content[group][name] = _anchored(value, base)


def _anchored(value: str, base: Path) -> str:
    """The path made absolute, if it looks like a file or is one below `base`."""
    looks_like_file = value.lower().endswith(FILE_ENDINGS) or value.startswith((".", "~"))
    try:
        target = _on_disk(base / Path(value).expanduser())
        return str(target.resolve()) if "://" not in value and (looks_like_file or target.exists()) else value
    except (OSError, RuntimeError, ValueError):
        return value  # a path that this machine cannot have (`~nobody`, too long a name); opening it reports the error


def _on_disk(path: Path) -> Path:
    """The path as it is on this disk, where the bytes of it that are not UTF-8 may be escaped, as in `job.toml`."""
    exact = Path(from_printable(str(path)))
    try:
        return exact if exact != path and exact.exists() and not path.exists() else path
    except (OSError, ValueError):  # a path that this machine cannot have
        return path
