"""What people hold when they open a run: its tables as pandas, its extreme units, and a card for a notebook."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from html import escape
from typing import Any

import pandas as pd

from polyscan import tables
from polyscan.errors import TableError
from polyscan.run.folder import Run
from polyscan.tables import TABLES
from polyscan.units import Unit


@dataclass(frozen=True)
class UnitView:
    """All that a run knows of one unit.

    Args:
        unit: which one.
        row: its row of the map.
        exemplars: its strongest images.
        visualizations: the images found for it.
        clusters: the cluster of each piece of evidence.
        run: that it is of.
    """

    unit: Unit
    row: pd.Series
    exemplars: pd.DataFrame
    visualizations: pd.DataFrame
    clusters: pd.DataFrame
    run: Run = field(repr=False)

    @property
    def crops(self) -> pd.DataFrame:
        """Its exemplars, and in `crop_image` the crop that each is seen by, as it is encoded; None without one."""
        rows = self.run.read("thumbnails", where=("item", self.exemplars["crop"].unique().tolist()))
        images = dict(zip(rows["item"].tolist(), rows["image"], strict=True))
        mine = pd.Series([images.get(crop) for crop in self.exemplars["crop"].tolist()], dtype=object)
        return self.exemplars.assign(crop_image=mine)

    def _repr_html_(self) -> str:
        from polyscan.run import unit_card  # noqa: PLC0415  # draws; a scan's workers need none of it

        layers = self.run.layer_table().set_index("layer")
        space = str(layers.loc[self.unit.layer, "space"])
        groups = unit_card.grouped(self.row, self.crops, self.clusters, space)
        return unit_card.card(str(self.unit), self.row, groups, self.visualizations)


class Results:
    """A finished or growing run, for reading.

    >>> results = open_run("runs/digits")                        # doctest: +SKIP
    >>> results.top(5, by="semanticity")[["layer", "channel"]]   # doctest: +SKIP
    """

    def __init__(self, address: str) -> None:
        self.run = Run(address)
        if not self.run.manifest():
            raise TableError(f"{address} holds no run (there is no run.json); give the folder that --run named")

    @property
    def map(self) -> pd.DataFrame:
        """`map.parquet`: one row per unit.

        Raises:
            TableError: while the run has not come to `show`.
        """
        if not self.run.storage.exists("map.parquet"):
            raise TableError(f"{self.run.address} has no map.parquet yet; `polyscan status` tells how far it is")
        return tables.read_single(self.run.storage, "map.parquet")

    def table(self, name: str) -> pd.DataFrame:
        """One table, all of its rows; `tables()` lists them."""
        return self.run.read(name)

    def tables(self) -> list[str]:
        """Names of the tables that have rows here."""
        return [name for name in TABLES if self.run.parts(name)]

    def top(self, n: int = 10, *, by: str = "semanticity", ascending: bool = False) -> pd.DataFrame:
        """The `n` units with the largest (or smallest) value of a column of the map; units without one are left out.

        Raises:
            TableError: if the map has no such column.
        """
        frame = self.map
        if by not in frame.columns:
            raise TableError(f"the map has no column `{by}`; it has: {', '.join(frame.columns)}")
        ordered = frame.dropna(subset=[by]).sort_values(by, ascending=ascending, kind="stable")
        return ordered.head(n).reset_index(drop=True)

    def unit(self, layer: str, channel: int) -> UnitView:
        """All that the run knows of one unit.

        Raises:
            TableError: if the run has no such unit.
        """
        frame = self.map
        row = frame[(frame["layer"] == layer) & (frame["channel"] == channel)]
        if row.empty:
            raise TableError(
                f"{self.run.address} has no unit {layer}:{channel}; its layers: {list(frame['layer'].unique())}"
            )

        def mine(table: str) -> pd.DataFrame:
            rows = self.run.read(table, where=("layer", layer))
            return rows[rows["channel"] == channel].reset_index(drop=True)

        evidence = (mine(table) for table in ("exemplars", "visualizations", "clusters"))
        return UnitView(Unit(layer, channel), row.iloc[0], *evidence, run=self.run)

    def _repr_html_(self) -> str:
        return str(self._repr_mimebundle_()["text/html"])

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        """The network map as a page of its own in a frame, the same as a picture, and the units with the most of it."""
        from polyscan.run import front_page, notebook  # noqa: PLC0415  # draws; a scan's workers need none of it

        head = f"<b>{escape(self.run.address)}</b>"
        if not self.run.storage.exists("map.parquet"):
            return {"text/html": f"<p>{head}: not finished; <code>polyscan status</code> tells how far it is</p>"}
        frame = self.map
        facts = f"{len(frame):,} units in {frame['layer'].nunique()} layers, {int(frame['is_dead'].sum()):,} dead"
        page = front_page.front_page(self.run.storage)
        if page is None:
            return {"text/html": f"<p>{head}: {facts}; <code>polyscan show</code> draws its map</p>"}
        picture = notebook.map_picture(page, frame)
        html = f"<p>{head}: {facts}</p>{notebook.map_html(page, picture)}{notebook.top_table(frame, page)}"
        return {"text/html": html, "image/png": base64.b64encode(picture).decode("ascii")}


def open_run(address: str) -> Results:
    """Opens a results folder for reading.

    Args:
        address: the folder that `--run` named; any address that fsspec knows.

    Raises:
        TableError: if it holds no run.
    """
    return Results(address)
