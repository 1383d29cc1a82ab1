"""Figures of a finished run for papers: the map, the depth trend, one layer, one unit."""

from __future__ import annotations

from pathlib import PurePath

import numpy as np
import pandas as pd

from polyscan.errors import JobError, suggestion
from polyscan.job import Job
from polyscan.maps.atlas import Atlas, MapColumn
from polyscan.maps.figures import ENDINGS, LayerSample, UnitSample, layer_figure, map_figure, trend_figure, unit_figure
from polyscan.maps.numbers import number_text
from polyscan.maps.one_file import one_file
from polyscan.pipeline import STAGES
from polyscan.report.contents import atlas_of
from polyscan.report.gallery import null_speaks_for
from polyscan.report.unit_map import calibrated_rows
from polyscan.results import Results
from polyscan.run import Run
from polyscan.run.reuse import require_finished
from polyscan.storage import Storage
from polyscan.studies.writing import writing_out

NAMED = ("layer", "unit")
HEAD_LINE = ("psi", "separation", "gap", "p", "q", "n_clusters")
PAGE = "html"  # the ending of a unit's page in one file
KINDS = ("map", "depth-trend", *NAMED)


def figure(address: str, kind: str, name: str | None = None, *, out: str, score: str | None = None) -> str:
    """Draws one figure of a finished run, writes it and returns its address.

    Args:
        address: the run's folder.
        kind: one of `KINDS`.
        name: the layer, or the unit as LAYER:CHANNEL; None for kinds that show the whole run.
        out: the file, at any address that fsspec knows; its ending chooses the format.
        score: a column of the map; default: the first column, or all for the depth trend.

    Raises:
        JobError: if the kind, name, score or ending is unknown, or the file can't be written.
        TableError: if there is no run, or it is not finished.
    """
    ending = checked(kind, name, out)
    results = Results(address)
    require_finished(results.run, [stage.name for stage in STAGES])
    drawing = Drawing(results, ending)
    if kind == "map":
        content = map_figure(drawing.atlas, drawing.column(score), ending)
    elif kind == "depth-trend":
        content = drawing.trend(score)
    elif kind == "layer":
        content = drawing.layer(name or "", score)
    else:
        content = drawing.unit(name or "")
    return saved(out, content)


def checked(kind: str, name: str | None, out: str) -> str:
    """The ending of the file; checks all arguments that can be checked without the run.

    Raises:
        JobError: if the kind, the name or the ending is wrong.
    """
    if kind not in KINDS:
        raise JobError(f'unknown figure "{kind}"; there are: {", ".join(KINDS)}, as in `polyscan figure RUN map`')
    if kind in NAMED and not name:
        example = "layer4.1.conv2" if kind == "layer" else "layer4.1.conv2:17"
        raise JobError(f"`figure {kind}` needs the name of a {kind}, as in `polyscan figure RUN {kind} {example}`")
    if kind not in NAMED and name:
        raise JobError(f'`figure {kind}` shows the whole run and takes no name, got "{name}"; leave it out')
    ending = PurePath(out).suffix.lower().removeprefix(".")
    allowed = (*ENDINGS, PAGE) if kind == "unit" else ENDINGS
    if ending not in allowed:
        problem = f'"{out}" has another ending' if out else "`--out` is missing"
        raise JobError(f"`figure {kind}` writes {', '.join(allowed)}; {problem}. Name a file, as in --out {kind}.pdf")
    return ending


def saved(out: str, content: bytes) -> str:
    """Writes the file, creating its folder if needed, and returns its address.

    Raises:
        JobError: if it can't be written.
    """
    folder, slash, file = out.rpartition("/")
    storage = Storage(folder + slash if slash else ".")
    with writing_out(out):
        storage.put(file, content)
    return out


class Drawing:
    """Draws the figures of one run.

    Args:
        results: the results of a finished run.
        ending: the ending of the file, which chooses the format.
    """

    def __init__(self, results: Results, ending: str) -> None:
        self.run: Run = results.run
        self.frame: pd.DataFrame = results.map
        self.ending = ending
        self.job: Job = results.job
        self.calibrated: pd.DataFrame = calibrated_rows(self.run)
        self.atlas: Atlas = atlas_of(self.job, self.run, self.frame, self.calibrated)

    def column(self, score: str | None) -> MapColumn:
        """The column of that name; by default the first column of the map.

        Raises:
            JobError: if the map has no such column.
        """
        known = {column.name: column for column in self.atlas.columns}
        if score is None and known:
            return self.atlas.columns[0]
        if score not in known:
            raise JobError(f"the map has no score `{score}`; {suggestion(score or '', known)}")
        return known[score]

    def trend(self, score: str | None) -> bytes:
        """The depth trend of one column, or of all columns."""
        names = [column.name for column in self.atlas.columns] if score is None else [self.column(score).name]
        try:
            return trend_figure(self.atlas, names, self.ending)
        except ValueError as error:
            raise JobError(f"no depth trend can be drawn: {error}. Are all units dead?") from error

    def layer(self, name: str, score: str | None) -> bytes:
        """The figure of one layer."""
        self.require_layer(name)
        column = self.column(score)
        rows = self.frame[self.frame["layer"] == name]
        live = rows[~rows["is_dead"]]
        sample = LayerSample(
            name,
            column,
            live[column.name].to_numpy(np.float64),
            live["kurtosis"].to_numpy(np.float64),
            live["verdict"].str.replace("_", " ").tolist() if "verdict" in live else (),
            self.null(name, column.name),
            self.controls(name, column.name),
            int(rows["is_dead"].sum()),
        )
        try:
            return layer_figure(self.atlas.title, sample, self.ending)
        except ValueError as error:
            raise JobError(
                f"{error}; `polyscan figure RUN map --score {column.name}` shows which layers have it"
            ) from None

    def unit(self, name: str) -> bytes:
        """The figure of one unit, named LAYER:CHANNEL, or its page."""
        layer, channel = self.require_unit(name)
        if self.ending == PAGE:
            return one_file(self.atlas, layer, channel)
        gallery = self.atlas.gallery
        card = next(card for card in gallery.cards(layer) if card.channel == channel)
        row = self.frame[(self.frame["layer"] == layer) & (self.frame["channel"] == channel)].iloc[0]
        verdict = "dead" if bool(row["is_dead"]) else str(row.get("verdict", "")).replace("_", " ")
        sprite = gallery.sprite(layer, channel) if card.sprite is not None else None
        sample = UnitSample(card, self.head_line(row), verdict, sprite, gallery.null(layer))
        return unit_figure(self.atlas.title, sample, self.ending)

    def head_line(self, row: pd.Series) -> list[tuple[str, str]]:
        """The labels and texts of a unit's main numbers, without those that it does not have."""
        known = {column.name: column for column in self.atlas.columns}
        shown = [known[name] for name in HEAD_LINE if name in known] or list(self.atlas.columns[:5])
        scored = [column for column in shown if np.isfinite(row[column.name])]
        return [(column.label, number_text(float(row[column.name]), column.kind)) for column in scored]

    def require_unit(self, name: str) -> tuple[str, int]:
        """The layer and the channel of a unit.

        Raises:
            JobError: if the run has no such unit.
        """
        layer, colon, number = name.rpartition(":")
        if not colon or not (number.isascii() and number.isdigit()):
            raise JobError(
                f'"{name}" is not the name of a unit; write LAYER:CHANNEL, as in {self.atlas.layers[0].name}:0'
            )
        self.require_layer(layer)
        channels = self.frame["channel"][self.frame["layer"] == layer]
        if int(number) not in set(channels):
            held = f"units {channels.min()} to {channels.max()}" if len(channels) else "no unit"
            raise JobError(f"{self.run.address} has no unit {name}; {layer} has {held}")
        return layer, int(number)

    def null(self, layer: str, score: str) -> np.ndarray:
        """The scores of the null sets that the layer's units are compared with; empty if there are none."""
        if not self.job.calibrate.nulls:
            return np.empty(0)
        main = self.job.calibrate.nulls[0]
        if not null_speaks_for(main, layer, self.run):
            return np.empty(0)
        where = {"layer": layer if main == "layer" else "", "null": main, "evidence": "exemplars", "score": score}
        return self.run.read("nulls", ["value"], where=where)["value"].to_numpy(np.float64)

    def controls(self, layer: str, score: str) -> np.ndarray:
        """The scores of the layer's single-concept controls; `p` is that of the separation."""
        rows = self.calibrated[self.calibrated["is_main"] & (self.calibrated["role"] == "control")]
        rows = rows[rows["parent"] == layer]
        rows = rows[rows["score"] == ("separation" if score == "p" else score)]
        return rows["p" if score == "p" else "value"].to_numpy(np.float64)

    def require_layer(self, name: str) -> None:
        """Checks that the run has a layer of that name.

        Raises:
            JobError: if it has none.
        """
        known = [layer.name for layer in self.atlas.layers]
        if name not in known:
            raise JobError(
                f'{self.run.address} has no layer "{name}"; {suggestion(name, known)}. '
                f"{self.run.address}/maps/index.html shows all {len(known)} layers; the first is {known[0]}"
            )
