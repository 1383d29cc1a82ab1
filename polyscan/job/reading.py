"""Job files read: TOML to settings, and what is wrong with it said in words.

Paths inside a job file are relative to that file; paths given on the command line to the working directory.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from polyscan.errors import JobError
from polyscan.job.settings import Job

PATHS = ("network.weights", "images.source", "images.root", "embed.vocabulary")


def load(path: Path, overrides: Mapping[str, Any] | None = None) -> Job:
    """Reads a job file.

    Args:
        path: the TOML file.
        overrides: dotted keys to values, as `--set` gives them; paths among them are relative to the working folder.

    Raises:
        JobError: if the file is missing, no TOML, or says anything that is not a job.
    """
    try:
        content, folder = path.read_bytes(), path.resolve().parent
    except (OSError, ValueError) as error:  # the latter of a path that no file can have
        why = getattr(error, "strerror", None) or error
        raise JobError(f"no job file at {path} ({why}); give an existing .toml file") from error
    return parse(content, str(path), overrides, folder=folder)


def parse(
    text: str | bytes, origin: str, overrides: Mapping[str, Any] | None = None, *, folder: Path | None = None
) -> Job:
    """A job from the text of a TOML file.

    Args:
        text: the file's content, as text or in UTF-8.
        origin: what error messages call it.
        overrides: as for `load`.
        folder: where the job's own paths and code begin, unless the text says it.

    Raises:
        JobError: if it is no TOML, or says anything that is not a job.
    """
    content = _toml(text, origin)
    content.setdefault("folder", str(folder or Path.cwd()))
    if isinstance(content["folder"], str):  # else `build` says what is wrong with it
        _anchor(content, Path(content["folder"]))
    for key, value in (overrides or {}).items():
        _put(content, key, value)
    _anchor(content, Path.cwd(), only=set(overrides or {}))
    return build(content, origin)


def fill(overrides: Mapping[str, Any]) -> Job:
    """A job without a file: defaults, and what the command says. A torchvision network gets its default weights.

    Raises:
        JobError: if network or images are missing, or anything is no setting.
    """
    content: dict[str, Any] = {"folder": str(Path.cwd())}
    for key, value in overrides.items():
        _put(content, key, value)
    _anchor(content, Path.cwd())
    network = content.get("network")
    if isinstance(network, dict) and str(network.get("name", "")).startswith("torchvision:"):
        cast("dict[str, Any]", network).setdefault("weights", "DEFAULT")
    return build(content, "the command")


def build(content: Mapping[str, Any], origin: str) -> Job:
    """A job from plain dictionaries.

    Args:
        content: as a TOML file gives it.
        origin: what the error message calls it.

    Raises:
        JobError: naming every wrong key with its value, what is allowed, and the file to fix.
    """
    try:
        return Job(**content)
    except JobError as error:
        raise JobError(f"{error}\nFix {origin}.") from error


def settings_of(job: Job, groups: Sequence[str]) -> dict[str, Any]:
    """The job's settings of these groups, as plain values; what a stage's fingerprint is made from."""
    dump = job.model_dump(mode="json")
    # With their defaults filled in, so that a new score or another default is another fingerprint as well.
    dump["scores"] = {name: asdict(cast("Any", score)) for name, score in job.score_functions().items()}
    return {group: dump[group] for group in groups}


def _toml(text: str | bytes, origin: str) -> dict[str, Any]:
    """What a TOML file says; its own error for everything that tomllib raises."""
    try:
        # An editor on Windows may put a mark of three bytes before the text.
        return tomllib.loads(text if isinstance(text, str) else text.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise JobError(f"{origin} is no TOML: byte {error.start} is no UTF-8 ({error.reason})") from error
    except tomllib.TOMLDecodeError as error:
        raise JobError(f"{origin} is no TOML: {error}") from error
    except RecursionError as error:
        raise JobError(f"{origin} is no job: it is nested deeper than can be read") from error
    except ValueError as error:  # a number of thousands of digits
        raise JobError(f"{origin} is no TOML: {_first_sentence(error)}") from error


def _first_sentence(error: ValueError) -> str:
    return str(error).partition(";")[0]


def _put(content: dict[str, Any], key: str, value: Any) -> None:
    *groups, name = key.split(".")
    for group in groups:
        inner = content.setdefault(group, {})
        if not isinstance(inner, dict):
            raise JobError(f"--set {key}: `{group}` is no group of settings")
        content = inner
    content[name] = value


def _anchor(content: dict[str, Any], base: Path, only: set[str] | None = None) -> None:
    """Makes relative paths absolute where such a file or folder exists below `base`."""
    for key in PATHS:
        group, name = key.split(".")
        value = content.get(group, {}).get(name) if isinstance(content.get(group), dict) else None
        if (only is not None and key not in only) or not isinstance(value, str) or not value:
            continue
        looks_like_file = value.endswith((".safetensors", ".pth", ".pt", ".parquet", ".txt")) or value.startswith(
            (".", "~")
        )
        try:
            target = base / Path(value).expanduser()
            if "://" not in value and (looks_like_file or target.exists()):
                content[group][name] = str(target.resolve())
        except (OSError, RuntimeError, ValueError):
            continue  # no path that this machine can have (`~nobody`, too long a name): whoever opens it says so
