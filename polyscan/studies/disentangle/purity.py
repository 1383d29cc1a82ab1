"""Whether parts are purer than wholes: both tests' numbers of each, on images that the parts were not found on."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, cast

import pandas as pd

from polyscan.report.unit_map import calibrated_rows
from polyscan.results import Results
from polyscan.run import Run
from polyscan.studies.disentangle.files import Shares, places
from polyscan.studies.disentangle.parts import UnitPart
from polyscan.units import Unit

PURITY_TABLE = "purity.csv"
NUMBERS = ("separation", "p", "second_separation", "second_p")
PREFIXES = ("", "second_")
"""Of the columns of both tests."""
LEVEL = 0.05
Numbers = dict[str, float]


@dataclass(frozen=True)
class Purity:
    """One part beside its whole.

    Args:
        unit: the whole.
        how: how the part was made.
        part: its number.
        n: images that it was found on.
        explained: share of the unit's variance over images that it explains.
        explained_by_all: share that all parts of the unit explain.
        whole_on: the images of the whole's numbers: `fresh`, or `first`, those of the run, for a virtual unit.
        whole_separation, whole_p, whole_second_separation, whole_second_p: of the whole.
        separation, p, second_separation, second_p: of the part, on fresh images.
        verdict, second_verdict: of the part.
    """

    unit: str
    how: str
    part: int
    n: int
    explained: float
    explained_by_all: float
    whole_on: str
    whole_separation: float
    whole_p: float
    whole_second_separation: float
    whole_second_p: float
    separation: float
    p: float
    second_separation: float
    second_p: float
    verdict: str
    second_verdict: str


def purities(parts: Sequence[UnitPart], shares: Shares, base: Run, fresh: Results) -> list[Purity]:
    """Each part beside its whole.

    Args:
        parts: that were found on the base.
        shares: what each explains.
        base: the run that they were found on.
        fresh: the scan of the parts, on other images.
    """
    frame = fresh.map
    rows = {
        Unit(str(row["layer"]), int(row["channel"])): row
        for row in cast("list[dict[str, Any]]", frame.to_dict("records"))
    }
    at = places(parts)
    units = list(dict.fromkeys(part.unit for part in parts))
    virtual = _numbers_of_virtual(base, [unit for unit in units if unit not in rows])
    found: list[Purity] = []
    for part in parts:
        place = at[part.unit, part.number]
        own = rows[place]
        on = "fresh" if part.unit in rows else "first"
        whole = _numbers(rows[part.unit]) if on == "fresh" else virtual[part.unit]
        share, every = shares[part.unit, part.number]
        of_whole = {f"whole_{name}": whole[name] for name in NUMBERS}
        found.append(
            Purity(
                unit=str(part.unit),
                how=part.how,
                part=part.number,
                n=len(part.images),
                explained=share,
                explained_by_all=every,
                whole_on=on,
                **of_whole,
                **_numbers(own),
                verdict=str(own.get("verdict", "")),
                second_verdict=str(own.get("second_verdict", "")),
            )
        )
    return found


def _numbers(row: Mapping[str, Any]) -> Numbers:
    return {name: float(row.get(name, math.nan)) for name in NUMBERS}


def _numbers_of_virtual(base: Run, units: Sequence[Unit]) -> dict[Unit, Numbers]:
    """The numbers of virtual units in the run that they belong to."""
    if not units:
        return {}
    rows = calibrated_rows(base)
    rows = rows[(rows["score"] == "separation") & rows["prefix"].isin(PREFIXES)]
    numbers: dict[Unit, Numbers] = {}
    for unit in units:
        own = rows[(rows["layer"] == unit.layer) & (rows["channel"] == unit.channel)]
        numbers[unit] = dict.fromkeys(NUMBERS, math.nan)
        for prefix, value, p in zip(own["prefix"], own["value"], own["p"], strict=True):
            numbers[unit] |= {f"{prefix}separation": float(value), f"{prefix}p": float(p)}
    return numbers


def write_purity(folder: Path, rows: Sequence[Purity]) -> None:
    """`purity.csv`: one line a part; a missing number is an empty field."""
    names = [field.name for field in fields(Purity)]
    with (folder / PURITY_TABLE).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(names)
        for row in rows:
            writer.writerow([_cell(getattr(row, name)) for name in names])


def _cell(value: str | float) -> str | float:
    return "" if isinstance(value, float) and math.isnan(value) else value


def _small(p: pd.Series) -> str:
    """How many p are small, of those that there are: `4 of 20`."""
    return f"{int((p <= LEVEL).sum())} of {int(p.notna().sum())}"


def sentences(rows: Sequence[Purity]) -> list[str]:
    """What the table says, over the units that fell apart: those with two parts or more."""
    frame = pd.DataFrame([vars(row) for row in rows])
    several = frame[frame.groupby("unit")["part"].transform("size") > 1] if len(frame) else frame
    n_whole = int(frame["unit"].nunique() - several["unit"].nunique()) if len(frame) else 0
    whole = f"{n_whole} units did not fall apart. " if n_whole else ""
    if several.empty:
        return [f"{whole}No unit has two parts, so nothing is compared."]
    wholes = several.drop_duplicates("unit")
    told = [
        f"{whole}{len(several)} parts of {len(wholes)} units, {several['how'].iloc[0]}: together they explain a mean "
        f"{wholes['explained_by_all'].mean():.0%} of a unit's variance over images."
    ]
    for prefix, test in (("", "first"), ("second_", "second")):
        own, of_whole = several[f"{prefix}separation"], wholes[f"whole_{prefix}separation"]
        if own.notna().any() and of_whole.notna().any():
            small, of_small = (
                _small(rows[f"{name}p"]) for rows, name in ((several, prefix), (wholes, f"whole_{prefix}"))
            )
            told.append(
                f"By the {test} test, the mean separation of parts is {own.mean():.2f}, of wholes "
                f"{of_whole.mean():.2f}; p <= {LEVEL:g} in {small} parts and {of_small} wholes."
            )
    return told
