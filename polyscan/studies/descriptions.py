"""A run's names as a table of descriptions, in the form in which CLIP-Dissect keeps those of neurons, out and in."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, NamedTuple, cast

import pandas as pd

from polyscan.errors import JobError, nearest
from polyscan.results import open_run

COLUMNS = ("layer", "unit", "description", "similarity")
ALL = -1


class Described(NamedTuple):
    """Descriptions of a file beside a run's names.

    Args:
        rows: layer, unit, description; the run's name of all exemplars, its p, and whether the two are the same words.
        same: share of the units with a name for which they are.
    """

    rows: pd.DataFrame
    same: float


def names_of_units(address: str) -> pd.DataFrame:
    """The best name of each live unit's exemplars: layer, unit, description, similarity and p, in the run's order.

    Units without a name have no row. The similarity is a cosine, or a share where names are counted labels.

    Raises:
        TableError: if there is no such run.
    """
    run = open_run(address).run
    rows = run.read("names", where={"evidence": "exemplars", "cluster": ALL, "rank": 0})
    return rows.rename(columns={"channel": "unit", "name": "description"})[[*COLUMNS, "p"]].reset_index(drop=True)


def write_names(address: str, to: str) -> int:
    """Writes the columns of `COLUMNS` as CSV, as CLIP-Dissect does; returns the number of units.

    Raises:
        JobError: if the file can't be written.
    """
    rows = names_of_units(address)
    try:
        Path(to).write_text(rows[list(COLUMNS)].to_csv(index=False), encoding="utf-8")
    except OSError as error:
        raise JobError(f"{to} can't be written ({error.strerror}); name a file in a folder that exists") from error
    return len(rows)


def described(address: str, file: str) -> Described:
    """Descriptions of units from a CSV file in CLIP-Dissect's form, beside the run's names.

    Args:
        address: of the run.
        file: with the columns layer, unit and description; others are left out.

    Raises:
        JobError: if the file can't be read, lacks a column, or has a unit that the run has not.
        TableError: if there is no such run.
    """
    theirs = _read(file)
    _check_units(address, theirs, file)
    own = names_of_units(address).rename(columns={"description": "name"})
    rows = theirs[list(COLUMNS[:3])].merge(own[["layer", "unit", "name", "p"]], on=["layer", "unit"], how="left")
    words = (rows[column].fillna("").str.strip().str.casefold() for column in ("description", "name"))
    rows["is_same"] = next(words) == next(words)
    return Described(rows, float(rows["is_same"][rows["name"].notna()].mean()))


def _read(file: str) -> pd.DataFrame:
    try:
        content = Path(file).read_text(encoding="utf-8-sig")
        rows = cast("Any", pd.read_csv(io.StringIO(content), dtype={"layer": str, "description": str}))
    except (OSError, ValueError) as error:  # pandas raises kinds of ValueError
        why = getattr(error, "strerror", None) or str(error).partition("\n")[0]
        raise JobError(
            f"{file} can't be read ({why}); name a CSV file with the columns {', '.join(COLUMNS)}"
        ) from error
    missing = [name for name in COLUMNS[:3] if name not in rows]
    if missing:
        raise JobError(
            f"{file} has no column `{missing[0]}`, but {', '.join(map(str, rows))}; the first line must name the "
            f"columns {', '.join(COLUMNS)}"
        )
    return rows


def _check_units(address: str, rows: pd.DataFrame, file: str) -> None:
    sizes = {layer.name: layer.n_units for layer in open_run(address).run.layers() if layer.is_real}
    for line, (layer, unit) in enumerate(zip(rows["layer"], rows["unit"], strict=True), start=2):
        if layer not in sizes:
            raise JobError(
                f"{file}, line {line}: the run has no layer `{layer}`; nearest: {nearest(str(layer), list(sizes))}. "
                "Write layers as the run does"
            )
        if unit not in range(sizes[layer]):
            raise JobError(f"{file}, line {line}: {layer} has units 0 to {sizes[layer] - 1}, not {unit}; count from 0")
