"""A run as it is compared: its map, its real layers in forward order, its controls and its manifest."""

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
from polyscan.results.tiers import is_called, is_judged
from polyscan.run import Run
from polyscan.units import REAL, Layer

Values = Float64[np.ndarray, " u"]

EXCESS = {
    "gap_excess": "gap",
    "separation_excess": "separation",
    "p05_excess": "p05_share",
    "p05_over_random": "p05_share",
}
"""Columns that are another column minus the mean of the layer's virtual units, and that column."""
ROLES = {"p05_over_random": "random"}
"""The virtual units of a column of `EXCESS`; the single-concept controls if it is not here."""
SHARES = ("several_share", "p05_share", "q05_share", "dead_share")
LEVEL = 0.05
DERIVED = (
    MapColumn(
        "gap_excess", "gap less controls", "mean gap of the units minus that of the layer's single-concept controls"
    ),
    MapColumn("separation_excess", "separation less controls", "the same for the separation"),
    MapColumn("several_share", "called several", "share of judged units that are called several"),
    MapColumn("p05_share", "p <= .05", "share of units with p of at most .05, among units that have a p"),
    MapColumn("p05_excess", "p <= .05 less controls", "that share minus the same share of the single-concept controls"),
    MapColumn("p05_over_random", "p <= .05 less random directions", "that share minus that of random directions"),
    MapColumn("q05_share", "q < .05", "share of units with q below .05, among units that have a q"),
    MapColumn("dead_share", "dead", "share of all units that are dead"),
)
NEEDED = ("layer", "channel", "is_dead")


@dataclass(frozen=True, eq=False)
class ComparedRun:
    """One run of a comparison.

    Args:
        name: its name on the page; no two runs have the same name.
        address: as the user wrote it.
        place: its place among the runs; 0 for the run that the others are compared with.
        manifest: content of `run.json`.
        layers: its real layers in forward order.
        spaces: by layer, the space in which its evidence is compared: `image`, `own` or `next`.
        frame: its map in unit order, with the shares as numbers.
        controls: numbers of the virtual units that a column of `EXCESS` subtracts, by layer and column; empty if the
            run has no scores.
        columns: the columns that it has numbers in.
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
        """The digest of the network's weights; empty if `run.json` does not record it."""
        return str(self.manifest.get("network", {}).get("digest", ""))

    @property
    def widths(self) -> dict[str, int]:
        """Number of units of each layer, by its name."""
        return {layer.name: layer.n_units for layer in self.layers}


def opened(addresses: Sequence[str]) -> list[ComparedRun]:
    """Reads all runs.

    Raises:
        JobError: if there are fewer than two.
        TableError: if an address holds no run, or its map can't be compared.
    """
    if len(addresses) < 2:
        raise JobError(
            f"`compare` needs two runs or more, got {len(addresses)}; give their folders, as in "
            "polyscan compare runs/a runs/b"
        )
    names = names_of(addresses)
    return [
        _compared_run(name, address, place) for place, (name, address) in enumerate(zip(names, addresses, strict=True))
    ]


def names_of(addresses: Sequence[str]) -> list[str]:
    """The last folder of each address; if two are the same, more of the address or its place is added.

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


def _compared_run(name: str, address: str, place: int) -> ComparedRun:
    results = Results(address)
    run, frame = results.run, results.map
    if "role" in frame:  # directions of one's own are no layer that another run has
        frame = frame[frame["role"] == REAL]
    table = run.layer_table()
    real = table[table["role"] == REAL]
    layers = [str(layer) for layer in real["layer"]]
    _check_map(run, frame, layers)
    frame = _with_shares(_in_unit_order(frame, layers))
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


def _check_map(run: Run, frame: pd.DataFrame, layers: Sequence[str]) -> None:
    """Refuses a map that lacks needed columns or has layers that the run does not have."""
    if missing := [column for column in NEEDED if column not in frame]:
        raise TableError(
            f"{run.address}/map.parquet has no column {', '.join(missing)}; `polyscan show {run.address}` writes it "
            "again"
        )
    if strangers := sorted(set(map(str, frame["layer"])) - set(layers)):
        raise TableError(
            f"{run.address}/map.parquet has layer {strangers[0]!r}, which its table `layers` does not have; "
            f"`polyscan show {run.address}` writes the map again"
        )


def _in_unit_order(frame: pd.DataFrame, layers: Sequence[str]) -> pd.DataFrame:
    """The map sorted by layer, in forward order, and channel."""
    depths = {layer: depth for depth, layer in enumerate(layers)}
    frame = frame.assign(at=frame["layer"].map(depths)).sort_values(["at", "channel"], kind="stable")
    return frame.drop(columns="at").reset_index(drop=True)


def _with_shares(frame: pd.DataFrame) -> pd.DataFrame:
    """The map with the columns of shares: 1 or 0 for each unit, NaN for units that the share leaves out."""
    shares = {"dead_share": frame["is_dead"].astype(np.float64)}
    if "verdict" in frame:
        several, judged = is_called(frame["verdict"]), is_judged(frame["verdict"])
        if judged.any():
            shares["several_share"] = several.astype(np.float64).where(judged)
    if "p" in frame and frame["p"].notna().any():
        shares["p05_share"] = (frame["p"] <= LEVEL).astype(np.float64).where(frame["p"].notna())
    if "q" in frame and frame["q"].notna().any():
        shares["q05_share"] = (frame["q"] < LEVEL).astype(np.float64).where(frame["q"].notna())
    return frame.assign(**shares)


def _controls(run: Run) -> dict[tuple[str, str], Values]:
    """Numbers of each layer's virtual units by layer and column, in the main space and against the first null.

    The tables show which these are, so the job file, which may be of another version, is not read. Empty if the run has
    no scores.
    """
    if not run.parts("scores"):
        return {}
    scores = ["gap", "separation"]
    where = {"role": ["control", *set(ROLES.values())], "score": scores}
    rows = run.read("scores", ["parent", "role", "null", "is_main", "score", "value", "p"], where=where)
    rows = rows[rows["is_main"] & (rows["null"] != "")]
    controls: dict[tuple[str, str], Values] = {}
    for column, of_units in EXCESS.items():
        own = rows[rows["role"] == ROLES.get(column, "control")]
        for layer, numbers in _numbers(own, of_units).groupby(own["parent"]):
            if len(values := np.sort(numbers.dropna().to_numpy(np.float64))):
                controls[str(layer), column] = values
    return controls


def _numbers(rows: pd.DataFrame, column: str) -> pd.Series:
    """What virtual units have in a column of the map; NaN in rows of other scores."""
    if column == "p05_share":
        is_known = (rows["score"] == "separation") & rows["p"].notna()
        return (rows["p"] <= LEVEL).astype(np.float64).where(is_known)
    return rows["value"].where(rows["score"] == column)


def _columns(frame: pd.DataFrame, controls: Mapping[tuple[str, str], Values]) -> Iterator[MapColumn]:
    """The derived columns, then the columns of the front page in its order."""
    with_controls = {column for _, column in controls if EXCESS[column] in frame}
    for column in DERIVED:
        if column.name in frame or column.name in with_controls:
            yield column
    yield from columns_of(frame)


def common_columns(runs: Sequence[ComparedRun]) -> list[MapColumn]:
    """The columns that all runs have numbers in, in the order of the first run.

    Raises:
        TableError: if no score is among them.
    """
    names = set.intersection(*({column.name for column in run.columns} for run in runs))
    common = [column for column in runs[0].columns if column.name in names]
    if all(column.name in (*SHARES, *EXCESS) for column in common):
        held = "; ".join(f"{run.name} has {', '.join(column.name for column in run.columns)}" for run in runs)
        raise TableError(
            f"the runs have no score in common ({held}), and only scores that all runs have can be compared; scan them "
            "with the same [scores]"
        )
    return common
