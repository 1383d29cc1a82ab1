"""A run as it is compared: its map, its real layers in forward order, its controls and what it was made of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float64

from polyscan.errors import JobError, TableError
from polyscan.maps.atlas import MapColumn
from polyscan.report.contents import columns_of
from polyscan.results import Results
from polyscan.run import Run
from polyscan.units import REAL, Layer

Values = Float64[np.ndarray, " u"]

EXCESS = {"gap_excess": "gap", "separation_excess": "separation"}
"""Columns that are a score less the mean of the layer's one-concept controls, and which score."""
SHARES = ("several_share", "q05_share", "dead_share")
LEVEL = 0.05
DERIVED = (
    MapColumn("gap_excess", "gap less controls", "mean gap of the units less that of the layer's one-concept controls"),
    MapColumn("separation_excess", "separation less controls", "the same of the separation"),
    MapColumn("several_share", "called several", "share of judged units (one or several) that are called several"),
    MapColumn("q05_share", "q < .05", "share of units with a q whose q is below .05"),
    MapColumn("dead_share", "dead", "share of all units that never say anything"),
)
NEEDED = ("layer", "channel", "is_dead")


@dataclass(frozen=True, eq=False)
class ComparedRun:
    """One run.

    Args:
        name: what the page calls it; no two runs have the same one.
        address: as it was given.
        place: 0 for the run that the others are compared with.
        manifest: content of `run.json`.
        layers: its real layers in forward order.
        spaces: by layer, where its evidence is compared: `image`, `own` or `next`.
        frame: its map in unit order, with the shares as numbers.
        controls: values of the layer's controls by layer and score; empty where they can't be read.
        columns: what it has numbers of.
    """

    name: str
    address: str
    place: int
    manifest: Mapping[str, Any]
    layers: Sequence[Layer]
    spaces: Mapping[str, str]
    frame: pd.DataFrame
    controls: Mapping[tuple[str, str], Values]
    columns: Sequence[MapColumn]

    @property
    def digest(self) -> str:
        """That of the network's weights; empty where `run.json` does not tell."""
        return str(self.manifest.get("network", {}).get("digest", ""))

    @property
    def widths(self) -> dict[str, int]:
        """Units of each layer, by its name."""
        return {layer.name: layer.n_units for layer in self.layers}


def opened(addresses: Sequence[str]) -> list[ComparedRun]:
    """Reads all runs.

    Raises:
        JobError: if there are fewer than two.
        TableError: if one holds no run, or has no map, layers or columns that can be compared.
    """
    if len(addresses) < 2:
        raise JobError(
            f"`compare` needs two runs or more, got {len(addresses)}; name their folders, as in "
            "polyscan compare runs/a runs/b"
        )
    names = names_of(addresses)
    return [_side(name, address, place) for place, (name, address) in enumerate(zip(names, addresses, strict=True))]


def names_of(addresses: Sequence[str]) -> list[str]:
    """The last folder of each address; where two have the same, more of the address or its place is added.

    >>> names_of(["runs/a/", "runs/b"]), names_of(["x/run", "y/run"]), names_of(["a", "a"])
    (['a', 'b'], ['x/run', 'y/run'], ['a (1)', 'a (2)'])
    """
    parts = [[part for part in address.split("/") if part] or [address] for address in addresses]
    names: list[str] = []
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-length:]) for part in parts]
        if len(set(names)) == len(set(map(tuple, parts))):
            break
    counts = Counter(names)
    return [f"{name} ({place})" if counts[name] > 1 else name for place, name in enumerate(names, start=1)]


def _side(name: str, address: str, place: int) -> ComparedRun:
    results = Results(address)
    frame, run = results.map, results.run
    if missing := [column for column in NEEDED if column not in frame]:
        raise TableError(
            f"{run.address}/map.parquet has no column {', '.join(missing)}; `polyscan show {run.address}` draws it anew"
        )
    table = run.layer_table()
    real = table[table["role"] == REAL]
    order = {str(layer): at for at, layer in enumerate(real["layer"])}
    if strangers := sorted(set(map(str, frame["layer"])) - set(order)):
        raise TableError(
            f"{run.address}/map.parquet has layer {strangers[0]!r}, its table `layers` has not; "
            f"`polyscan show {run.address}` draws the map anew"
        )
    frame = frame.assign(at=frame["layer"].map(order)).sort_values(["at", "channel"], kind="stable")
    frame = _with_shares(frame.drop(columns="at").reset_index(drop=True))
    controls = _controls(run)
    return ComparedRun(
        name,
        address,
        place,
        run.manifest(),
        [Layer(str(row["layer"]), int(row["depth"]), int(row["n_units"])) for _, row in real.iterrows()],
        {str(row["layer"]): str(row["space"]) for _, row in real.iterrows()},
        frame,
        controls,
        list(_columns(frame, controls)),
    )


def _with_shares(frame: pd.DataFrame) -> pd.DataFrame:
    """What is counted as 0 and 1, with no number for a unit that does not count."""
    shares = {"dead_share": frame["is_dead"].astype(np.float64)}
    if "verdict" in frame:
        several = frame["verdict"].str.startswith("several").fillna(False)
        judged = several | (frame["verdict"] == "one")
        if judged.any():
            shares["several_share"] = several.astype(np.float64).where(judged)
    if "q" in frame and frame["q"].notna().any():
        shares["q05_share"] = (frame["q"] < LEVEL).astype(np.float64).where(frame["q"].notna())
    return frame.assign(**shares)


def _controls(run: Run) -> dict[tuple[str, str], Values]:
    """Values of each layer's one-concept controls, in the main space and beside the first null.

    `run.json` tells which these are: a job file of another version need not be read. None where the run has no scores.
    """
    if not run.parts("scores"):
        return {}
    where = {"role": "control", "score": list(EXCESS.values())}
    rows = run.read("scores", ["parent", "null", "is_main", "score", "value"], where=where)
    rows = rows[rows["is_main"] & (rows["null"] != "")]
    controls = {
        (str(layer), str(score)): np.sort(values.dropna().to_numpy(np.float64))
        for (layer, score), values in rows.groupby(["parent", "score"])["value"]
    }
    return {key: values for key, values in controls.items() if len(values)}


def _columns(frame: pd.DataFrame, controls: Mapping[tuple[str, str], Values]) -> Iterator[MapColumn]:
    """What is derived first, then the front page's columns in its order."""
    with_controls = {score for _, score in controls if score in frame}
    for column in DERIVED:
        if column.name in frame or EXCESS.get(column.name) in with_controls:
            yield column
    yield from columns_of(frame)


def common_columns(sides: Sequence[ComparedRun]) -> list[MapColumn]:
    """What all runs have numbers of, in the first one's order.

    Raises:
        TableError: if that is no score.
    """
    names = set.intersection(*({column.name for column in side.columns} for side in sides))
    common = [column for column in sides[0].columns if column.name in names]
    if all(column.name in SHARES for column in common):
        has = "; ".join(f"{side.name} has {', '.join(column.name for column in side.columns)}" for side in sides)
        raise TableError(
            f"the runs have no score in common ({has}); runs are compared by columns that all of them have: scan them "
            "with the same [scores]"
        )
    return common
