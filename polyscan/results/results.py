"""An opened run: its tables as pandas, its extreme units, and a card for a notebook."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from html import escape
from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Bool

from polyscan import job as jobs
from polyscan import tables
from polyscan.errors import JobError, TableError
from polyscan.job import Job
from polyscan.results.at_least import AtLeast, at_least
from polyscan.results.causes import causes_of
from polyscan.results.tiers import is_called, is_judged
from polyscan.run import Run
from polyscan.tables import TABLES
from polyscan.units import Unit

if TYPE_CHECKING:
    from polyscan.studies.find import Finder

RANKED_BY = "separation"
"""The default column for ranking units: the statistic of the test "one thing or several", which the map shows first."""


Test = Literal["first", "second"]
PREFIXES: Mapping[str, str] = {"first": "", "second": "second_"}
"""The prefix of the columns of each test."""


@dataclass(frozen=True)
class UnitView:
    """All that a run holds about one unit.

    Args:
        unit: its layer and channel.
        row: its row of the map.
        exemplars: its strongest images.
        visualizations: images that were generated for it.
        clusters: the cluster of each exemplar and visualization.
        run: the unit's run.
    """

    unit: Unit
    row: pd.Series
    exemplars: pd.DataFrame
    visualizations: pd.DataFrame
    clusters: pd.DataFrame
    run: Run = field(repr=False)

    @property
    def crops(self) -> pd.DataFrame:
        """Its exemplars, with the crop of each as an encoded image in `crop_image`; None if there is no crop."""
        rows = self.run.read("thumbnails", where={"item": self.exemplars["crop"].unique().tolist()})
        images = dict(zip(rows["item"].tolist(), rows["image"], strict=True))
        crop_images = pd.Series([images.get(crop) for crop in self.exemplars["crop"].tolist()], dtype=object)
        return self.exemplars.assign(crop_image=crop_images)

    def _repr_html_(self) -> str:
        from polyscan.results import unit_card  # noqa: PLC0415  # drawing is rarely needed and slow to import

        groups = unit_card.grouped(self.row, self.crops, self.clusters)
        return unit_card.card(str(self.unit), self.row, groups, self.visualizations)


class Results:
    """A finished or unfinished run, for reading.

    Args:
        address: the folder that `--run` named; any address that fsspec knows.

    Raises:
        TableError: if it holds no run.

    >>> results = open_run("runs/digits")                # doctest: +SKIP
    >>> results.top(5)[["layer", "channel"]]             # doctest: +SKIP
    >>> results.unit("conv2:3").exemplars                # doctest: +SKIP
    """

    def __init__(self, address: str) -> None:
        self.run = Run(address)
        if not self.run.manifest():
            if self.run.storage.is_file():
                raise TableError(f"{address} is a file and holds no run; give the folder that --run named")
            raise TableError(f"{address} holds no run (there is no run.json); give the folder that --run named")

    def __repr__(self) -> str:
        """A summary in one line."""
        network = self.run.manifest().get("network", {}).get("name", "unknown network")
        about = f"Results({self.run.address!r}): {network}"
        if not self.is_finished:
            return f"{about}, not finished; `polyscan status {self.run.address}` shows its progress"
        frame = self.map
        facts = f"{about}, {len(frame):,} units in {frame['layer'].nunique()} layers"
        dead = f"{int(frame['is_dead'].sum()):,} dead"
        if "verdict" not in frame:
            return f"{facts}, {dead}, no null"
        called = f"{int(is_called(frame['verdict']).sum()):,} called several"
        if "second_verdict" in frame:
            called += f", {int(is_called(frame['second_verdict']).sum()):,} by the second test"
        return f"{facts}, {called}, {dead}"

    @property
    def is_finished(self) -> bool:
        """Whether the run has its map."""
        return self.run.storage.exists("map.parquet")

    @property
    def job(self) -> Job:
        """The job that the run was made with, defaults filled in."""
        return stored_job(self.run)

    @property
    def map(self) -> pd.DataFrame:
        """`map.parquet`: one row per unit.

        Raises:
            TableError: if the run is not finished.
        """
        if not self.is_finished:
            raise TableError(f"{self.run.address} has no map.parquet yet; `polyscan status` shows its progress")
        return tables.read_single(self.run.storage, "map.parquet")

    def table(self, name: str) -> pd.DataFrame:
        """All rows of one table; `tables()` lists the tables."""
        return self.run.read(name)

    @property
    def causes(self) -> pd.DataFrame:
        """Clusters whose patches were swapped: the table `causes` without pictures, with `q` and `is_causal`.

        Raises:
            TableError: if the run has no swaps.
        """
        if not self.run.parts("causes"):
            raise TableError(f"{self.run.address} has no patch swaps; scan it with --set swap.enabled=true")
        return causes_of(self.run, self.job.show.fdr)

    def tables(self) -> list[str]:
        """Names of the tables that this run has."""
        return [name for name in TABLES if self.run.parts(name)]

    def top(self, n: int = 10, *, by: str | None = None, ascending: bool = False) -> pd.DataFrame:
        """The `n` units with the largest (or smallest) value of a column of the map; units without one are left out.

        Args:
            n: number of units.
            by: the column; default: `separation`, or `semanticity` in a run without a null, which has no separation.
            ascending: whether the smallest come first.

        Raises:
            TableError: if the map has no such column.
        """
        frame = self.map
        by = by or (RANKED_BY if RANKED_BY in frame else "semanticity")
        if by not in frame.columns:
            raise TableError(f"the map has no column `{by}`; it has: {', '.join(frame.columns)}")
        ordered = frame.dropna(subset=[by]).sort_values(by, ascending=ascending, kind="stable")
        return ordered.head(n).reset_index(drop=True)

    def at_least(self, where: pd.Series | Iterable[str] | None = None, *, test: Test = "first") -> AtLeast:
        """At least how many units of a set answer to several things, at 95 %.

        It holds for all sets at once, so the set may be chosen after looking at the run, by p too; but for one test,
        not for the larger of both bounds. Units that the test cannot judge do not count.

        Args:
            where: True for the rows of `map` that are in the set; or names of units, as in "conv2:3"; default: all.
            test: `first`, of the exemplars, or `second`, of what a unit's main meaning leaves unexplained.

        Raises:
            TableError: if the run has no exact p of this test, `where` has other rows than the map, or names a unit
                that the run does not have.
            ValueError: if there is no such test.
        """
        if test not in PREFIXES:
            raise ValueError(f"`test` must be one of {', '.join(PREFIXES)}, got {test!r}")
        frame, prefix = self.map, PREFIXES[test]
        if f"{prefix}p_exact" not in frame:
            why = "it has no second test" if prefix and "p_exact" in frame else "it has no null"
            raise TableError(f"{self.run.address} has no exact p of the {test} test: {why}, or too few null sets")
        in_set = _chosen(frame, where, self.run.address)
        judged = is_judged(frame[f"{prefix}verdict"])
        columns = {f"{prefix}{name}": name for name in ("p_exact", "n_exact")}
        units = frame.loc[judged, ["layer", *columns]].rename(columns=columns)
        return at_least(units, in_set[judged.to_numpy(bool)])

    def unit(self, layer: str, channel: int | None = None) -> UnitView:
        """All that the run holds about one unit.

        Args:
            layer: its layer; or layer and channel, as in "conv2:3", without `channel`.
            channel: its index in the layer.

        Raises:
            TableError: if the run has no such unit, or the text is not the name of a unit.
        """
        unit = _unit(layer, channel)
        frame = self.map
        row = frame[(frame["layer"] == unit.layer) & (frame["channel"] == unit.channel)]
        if row.empty:
            raise TableError(f"{self.run.address} has no unit {unit}; its layers: {list(frame['layer'].unique())}")

        def rows_of(table: str) -> pd.DataFrame:
            where = {"layer": unit.layer, "channel": unit.channel}
            return self.run.read(table, where=where)

        evidence = (rows_of(table) for table in ("exemplars", "visualizations", "clusters"))
        return UnitView(unit, row.iloc[0], *evidence, run=self.run)

    def find(
        self, text: str = "", *, image: str = "", like: str = "", top: int = 20, clusters: bool = False
    ) -> pd.DataFrame:
        """The units that answer to a text, an image or the same as another unit; what it loads is kept for the next.

        Args:
            text: words, as "round fruit".
            image: an image file.
            like: a unit, as "conv2:3".
            top: number of units.
            clusters: whether every cluster has a row of its own, rather than each unit once, by its best cluster.

        Raises:
            PolyscanError: as `polyscan.find`, which also says what the columns are.
        """
        return self._finder(text, image=image, like=like, top=top, clusters=clusters)

    @cached_property
    def _finder(self) -> Finder:
        # By name: it opens the model that named the run, which this room neither knows nor loads.
        return import_module("polyscan.studies.find").Finder(self)

    def _repr_html_(self) -> str:
        return str(self._repr_mimebundle_()["text/html"])

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        """The network map as a page in a frame and as a picture, and a table of top units."""
        from polyscan.results import front_page, notebook  # noqa: PLC0415  # drawing is rarely needed, slow to import

        head = f"<b>{escape(self.run.address)}</b>"
        if not self.is_finished:
            return {"text/html": f"<p>{head}: not finished; <code>polyscan status</code> shows its progress</p>"}
        frame = self.map
        facts = f"{len(frame):,} units in {frame['layer'].nunique()} layers, {int(frame['is_dead'].sum()):,} dead"
        page = front_page.front_page(self.run.storage)
        if page is None:
            return {"text/html": f"<p>{head}: {facts}; <code>polyscan show</code> draws its map</p>"}
        picture = notebook.map_picture(page, frame)
        html = f"<p>{head}: {facts}</p>{notebook.map_html(page, picture)}{notebook.top_table(frame, page)}"
        return {"text/html": html, "image/png": base64.b64encode(picture).decode("ascii")}


def _chosen(frame: pd.DataFrame, where: pd.Series | Iterable[str] | None, address: str) -> Bool[np.ndarray, " u"]:
    """Which rows of a map are in a set."""
    if where is None:
        return np.ones(len(frame), dtype=bool)
    if isinstance(where, pd.Series) and where.dtype == bool:
        if not where.index.equals(frame.index):
            raise TableError(f"`where` must have one value for each of the map's {len(frame)} rows, got {len(where)}")
        return where.to_numpy(bool)
    names = frame["layer"] + ":" + frame["channel"].astype(str)
    wanted = {str(name) for name in where}
    if unknown := sorted(wanted - set(names)):
        raise TableError(f"{address} has no unit {unknown[0]}; its layers: {list(frame['layer'].unique())}")
    return names.isin(wanted).to_numpy(bool)


def _unit(layer: str, channel: int | None) -> Unit:
    if channel is not None:
        return Unit(layer, channel)
    try:
        return Unit.parse(layer)
    except ValueError as error:
        raise TableError(str(error)) from error


def open_run(address: str) -> Results:
    """Opens a results folder for reading.

    Args:
        address: the folder that `--run` named; any address that fsspec knows.

    Raises:
        TableError: if it holds no run.
    """
    return Results(address)


def stored_job(run: Run, overrides: Mapping[str, Any] | None = None) -> Job:
    """The job that a run was made with, defaults filled in, with some settings changed.

    Args:
        run: a run with a job file.
        overrides: dotted keys to values, as `--set` gives them.

    Raises:
        JobError: if the job file is damaged or was written by another version, or an override is not a setting.
    """
    try:
        return jobs.parse(run.storage.read("job.toml"), f"{run.address}/job.toml", overrides)
    except JobError as error:
        made_by, installed = run.manifest().get("versions", {}).get("polyscan"), version("polyscan")
        if made_by is None or made_by == installed:
            raise
        raise JobError(
            f"{run.address} was made by polyscan {made_by}, this is {installed}, which can't read its job file "
            f"({str(error).partition(chr(10))[0]}). Use polyscan {made_by}, or scan again into a new folder."
        ) from error
