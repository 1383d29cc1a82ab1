"""Numbers of each run from a CSV file of the user, such as accuracy or training step."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence

from polyscan.errors import JobError
from polyscan.storage import Storage
from polyscan.studies.compare.runs import ComparedRun

HEAD = "run"
EXAMPLE = "the first line is `run,accuracy` or the like, followed by one line per run"


def metrics_of(address: str, runs: Sequence[ComparedRun]) -> dict[str, list[float]]:
    """The number of each run for each metric, in the order of the runs.

    Raises:
        JobError: if there is no such file, or it does not have one number for each run and metric.
    """
    rows = _rows(address)
    names = [field.strip() for field in rows[0]] if rows else []
    if len(names) < 2 or names[0] != HEAD or not all(names) or len(set(names)) < len(names):
        first_line = ",".join(names) if names else "nothing"
        raise JobError(f"{address} begins with {first_line!r}; {EXAMPLE}, and every name once")
    numbers: dict[int, list[float]] = {}
    for line, row in enumerate(rows[1:], start=2):
        where = f"line {line} of {address}"
        place, values = _parsed(row, names, runs, where)
        if place in numbers:
            raise JobError(f"{where} names the run {runs[place].address} again; give each run one line")
        numbers[place] = values
    for run in runs:
        if run.place not in numbers:
            raise JobError(f"{address} has no line for the run {run.address}; give each of the {len(runs)} runs one")
    return {name: [numbers[run.place][at] for run in runs] for at, name in enumerate(names[1:])}


def _parsed(row: list[str], names: list[str], runs: Sequence[ComparedRun], where: str) -> tuple[int, list[float]]:
    """The place of the run that a line is about, and its numbers."""
    fields = [field.strip() for field in row]
    if len(fields) != len(names):
        raise JobError(f"{where} has {len(fields)} fields, the first line {len(names)}; give every run all of them")
    place = _place(fields[0], runs, where)
    return place, [_number(field, name, where) for field, name in zip(fields[1:], names[1:], strict=True)]


def _rows(address: str) -> list[list[str]]:
    """All lines that are not empty."""
    folder, _, name = address.rpartition("/")
    try:
        text = Storage(folder or ("/" if address.startswith("/") else ".")).read(name).decode("utf-8-sig")
    except (FileNotFoundError, IsADirectoryError) as error:
        raise JobError(f"--metric {address}: there is no such file; name a CSV file: {EXAMPLE}") from error
    except UnicodeDecodeError as error:
        raise JobError(f"--metric {address} is not UTF-8 text ({error.reason}); name a CSV file: {EXAMPLE}") from error
    return [row for row in csv.reader(io.StringIO(text)) if any(field.strip() for field in row)]


def _place(key: str, runs: Sequence[ComparedRun], where: str) -> int:
    """The place of the run that `key` names: its address, else its folder's name, its name or its place from 1 on."""
    by_address = [run.place for run in runs if run.address.rstrip("/") == key.rstrip("/")]
    by_folder = [run.place for run in runs if run.address.rstrip("/").rpartition("/")[2] == key]
    by_name = [run.place for run in runs if run.name == key]
    by_place = [run.place for run in runs if str(run.place + 1) == key]
    places = by_address or by_folder or by_name or by_place
    if not places:
        known = ", ".join(f"{run.address} ({run.place + 1})" for run in runs)
        raise JobError(f"{where} names the run {key!r}, which is not compared; runs and their places: {known}")
    if len(places) > 1:
        raise JobError(
            f"{where} names the run {key!r}, but {len(places)} runs have this name; give the place instead: "
            f"{' or '.join(str(place + 1) for place in places)}"
        )
    return places[0]


def _number(field: str, name: str, where: str) -> float:
    if not field:
        raise JobError(f"{where} has no value for {name}; give each run a number")
    try:
        value = float(field)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise JobError(f"{where} has {field!r} for {name}; allowed are finite numbers, as in 0.93")
    return value


def order_of(metrics: Mapping[str, Sequence[float]]) -> list[str]:
    """Names of the metrics as the page offers them: `step` last, so that another metric is shown first."""
    return sorted(metrics, key=lambda name: name == "step")
