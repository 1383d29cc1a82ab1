"""Numbers that a user has of each run, such as accuracy or the step of the training, from a CSV file."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence

from polyscan.errors import JobError
from polyscan.storage import Storage
from polyscan.studies.compare.runs import ComparedRun

HEAD = "run"
EXAMPLE = "the first line is `run,accuracy` or the like, then one line a run"


def metrics_of(address: str, sides: Sequence[ComparedRun]) -> dict[str, list[float]]:
    """Each metric's number for each run, in the runs' order.

    Raises:
        JobError: if there is no such file, or it does not have one number for each run and metric.
    """
    rows = _rows(address)
    names = [word.strip() for word in rows[0]] if rows else []
    if len(names) < 2 or names[0] != HEAD or not all(names) or len(set(names)) < len(names):
        got = ",".join(names) if names else "nothing"
        raise JobError(f"{address} begins with {got!r}; {EXAMPLE}, and every name once")
    found: dict[int, list[float]] = {}
    for number, row in enumerate(rows[1:], start=2):
        where = f"line {number} of {address}"
        words = [word.strip() for word in row]
        if len(words) != len(names):
            raise JobError(f"{where} has {len(words)} fields, the first line {len(names)}; give every run all of them")
        place = _place(words[0], sides, where)
        if place in found:
            raise JobError(f"{where} names the run {sides[place].address} once more; give each run one line")
        found[place] = [_number(word, name, where) for word, name in zip(words[1:], names[1:], strict=True)]
    for side in sides:
        if side.place not in found:
            raise JobError(f"{address} has no line for the run {side.address}; give each of the {len(sides)} runs one")
    return {name: [found[side.place][at] for side in sides] for at, name in enumerate(names[1:])}


def _rows(address: str) -> list[list[str]]:
    """All lines that are not empty."""
    folder, _, name = address.rpartition("/")
    try:
        text = Storage(folder or ("/" if address.startswith("/") else ".")).read(name).decode("utf-8-sig")
    except (FileNotFoundError, IsADirectoryError) as error:
        raise JobError(f"--metric {address}: there is no such file; name a CSV file: {EXAMPLE}") from error
    except UnicodeDecodeError as error:
        raise JobError(
            f"--metric {address} is no text in UTF-8 ({error.reason}); name a CSV file: {EXAMPLE}"
        ) from error
    return [row for row in csv.reader(io.StringIO(text)) if any(word.strip() for word in row)]


def _place(word: str, sides: Sequence[ComparedRun], where: str) -> int:
    """The run that is meant: by its address, else by its folder's name, else by its place from 1 on."""
    by_address = [side.place for side in sides if side.address.rstrip("/") == word.rstrip("/")]
    by_folder = [side.place for side in sides if side.address.rstrip("/").rpartition("/")[2] == word]
    by_name = [side.place for side in sides if side.name == word]
    by_place = [side.place for side in sides if str(side.place + 1) == word]
    places = by_address or by_folder or by_name or by_place
    if not places:
        known = ", ".join(f"{side.address} ({side.place + 1})" for side in sides)
        raise JobError(f"{where} names the run {word!r}, which is not compared; runs and their places: {known}")
    if len(places) > 1:
        raise JobError(
            f"{where} names the run {word!r}, and {len(places)} runs are called so; say which by the place, "
            f"{' or '.join(str(place + 1) for place in places)}"
        )
    return places[0]


def _number(word: str, name: str, where: str) -> float:
    if not word:
        raise JobError(f"{where} has no value for {name}; give each run a number")
    try:
        value = float(word)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise JobError(f"{where} has {word!r} for {name}; allowed are finite numbers, as in 0.93")
    return value


def order_of(metrics: Mapping[str, Sequence[float]]) -> list[str]:
    """Names of the metrics as the page offers them: a column `step` is the second choice where there is another."""
    return sorted(metrics, key=lambda name: name == "step")
