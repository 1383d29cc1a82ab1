"""Single units as their pages show them: evidence by cluster, where they lie on their null, what is nearest to them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any, cast

import numpy as np
import pandas as pd

from polyscan.job import Job
from polyscan.maps.atlas import ElbowCurve, NullPlace, NullSets, UnitCard
from polyscan.nulls.calibration import LEAST_SETS, Calibration
from polyscan.report.panels import (
    LayerEvidence,
    UnitRows,
    begun_panel,
    exemplar_panel,
    exemplar_plane,
    visualization_panel,
)
from polyscan.run import Run
from polyscan.stats.neighbors import nearest

SHOWN = "gap"
"""The score that is shown on its null: one number, of which everybody sees what it means."""
NULL_LOW, NULL_WIDTH, NULL_BINS = -4.0, 0.25, 56
NEAREST = 5


class RunGallery:
    """Reads a layer's units from a finished run, one layer at a time.

    Args:
        job: says what was asked for.
        run: holds it.
        frame: the map.
        calibrated: the rows of `calibrated_rows` that it was made of.
        by: the column by which units come first where not all pictures are shown; None for unit order.
    """

    def __init__(self, job: Job, run: Run, frame: pd.DataFrame, calibrated: pd.DataFrame, *, by: str | None) -> None:
        self.job = job
        self.run = run
        self.frame = frame
        self.by = by
        rows = calibrated[calibrated["is_main"] & (calibrated["score"] == SHOWN)]
        columns = (rows[name].tolist() for name in ("layer", "channel", "value", "null_mean", "null_sd"))
        self._nulls = {(layer, channel): numbers for layer, channel, *numbers in zip(*columns, strict=True)}
        self._null_sets: dict[str, NullSets | None] = {}
        images = run.read("images", ["image", "path", "label_name"])
        self._images = pd.Index(images["image"])
        words = zip(images["path"].fillna("").tolist(), images["label_name"].fillna("").tolist(), strict=True)
        self._origins = np.array([" · ".join(filter(None, pair)) for pair in words], dtype=object)
        self._sprites: tuple[str, range, dict[int, bytes]] = ("", range(0), {})

    # ---- cards -----------------------------------------------------------------------------------------------------

    def cards(self, layer: str) -> list[UnitCard]:
        """One card for each unit of the layer, by channel."""
        frame = self.frame[self.frame["layer"] == layer].sort_values("channel", kind="stable")
        read = self._evidence(layer)
        sizes = self._sizes(layer, frame)
        near = self._nearest(layer)
        return [self._card(layer, row, read, sizes, near) for row in frame.to_dict("records")]

    def _card(
        self,
        layer: str,
        row: dict[Any, Any],
        read: LayerEvidence,
        sizes: dict[int, tuple[int, int]],
        near: dict[int, list[tuple[str, int, float]]],
    ) -> UnitCard:
        channel = int(row["channel"])
        if row["is_dead"]:
            return UnitCard(layer, channel, missing=("A dead unit: it never says anything, so nothing was scored.",))
        panels = [exemplar_panel(row, read)]
        elbow = None
        if channel in read.visualizations:
            panels.append(visualization_panel(row, read))
            elbow = elbow_of(read.visualizations[channel])
        if channel in read.begun:
            panels.append(begun_panel(channel, read))
        null = self._null_place(layer, channel)
        return UnitCard(
            layer,
            channel,
            panels=panels,
            elbow=elbow,
            plane=exemplar_plane(row, read),
            null=null,
            nearest=near.get(channel, ()),
            sprite=sizes.get(channel),
            missing=list(self._missing(layer, null, elbow, has_pictures=channel in sizes)),
        )

    def _missing(
        self, layer: str, null: NullPlace | None, elbow: ElbowCurve | None, *, has_pictures: bool
    ) -> list[str]:
        """What the unit has not, and why."""
        said: list[str] = []
        if null is None:
            said.append(
                "No null: this run has none, so its scores are not calibrated."
                if not self.job.calibrate.nulls
                else "No null holds for this unit, so it is neither called one nor several."
            )
        if elbow is None:
            if not self.job.visualize.enabled:
                said.append("No visualizations: this job makes none.")
            elif self.job.visualize.units_per_layer:
                n = self.job.visualize.units_per_layer
                said.append(f"No visualizations: the job makes them for a seeded sample of {n} units a layer.")
            else:
                said.append(f"No visualizations: the job does not make them in {layer}.")
        if not has_pictures:
            said.append("No pictures of it are shown: see [picture] and `embed.thumbnail_px` of the job.")
        return said

    # ---- what is read ----------------------------------------------------------------------------------------------

    def _evidence(self, layer: str) -> LayerEvidence:
        clusters = self.run.unit_rows(
            "clusters", layer, ["channel", "evidence", "is_main", "item", "cluster", "cluster_bic", "x", "y"]
        )
        exemplars = self.run.unit_rows("exemplars", layer, ["channel", "rank", "image", "activation"])
        origins = self._origins[self._images.get_indexer(pd.Index(exemplars["image"]))]
        exemplars["origin"] = pd.Series(origins, index=exemplars.index, dtype=object)
        visualizations = self.run.unit_rows(
            "visualizations", layer, ["channel", "index", "activation", "mean_distance", "n_counted", "stop"]
        )
        begun = self.run.unit_rows("data_visualizations", layer, ["channel", "index", "n_exemplars", "activation"])
        return LayerEvidence(
            exemplars=_by_channel(exemplars, "rank"),
            clusters=_by_channel(clusters[clusters["is_main"]], "item"),
            visualizations=_by_channel(visualizations, "index"),
            visualization_clusters=_by_channel(clusters[clusters["evidence"] == "visualizations"], "item"),
            begun=_by_channel(begun, "index"),
            tiles=_by_channel(self.run.unit_rows("tiles", layer), "item"),
            names=_by_channel(self.run.unit_rows("names", layer), "rank"),
        )

    def _sizes(self, layer: str, frame: pd.DataFrame) -> dict[int, tuple[int, int]]:
        """Width and height of the sprites that are shown, by channel."""
        rows = self.run.unit_rows("sprites", layer, ["channel", "width", "height"])
        most = self.job.show.pictures_per_layer
        if most is not None:
            ordered = frame.sort_values(self.by, ascending=False, kind="stable") if self.by else frame
            rows = rows[rows["channel"].isin(ordered["channel"].iloc[:most])]
        return {int(c): (int(w), int(h)) for c, w, h in rows.itertuples(index=False)}

    def _nearest(self, layer: str) -> dict[int, list[tuple[str, int, float]]]:
        """The units of the layer whose exemplars' means lie nearest to each unit's."""
        rows = self.run.unit_rows("centres", layer, ["channel", "embedding"])
        if len(rows) < 2:
            return {}
        centres = np.stack(cast("Sequence[Any]", rows["embedding"].to_list())).astype(np.float32)
        found = nearest(centres, centres, min(NEAREST + 1, len(rows)))
        channels = rows["channel"].to_numpy()
        near: dict[int, list[tuple[str, int, float]]] = {}
        for at, (places, cosines) in enumerate(zip(found.index, found.similarity, strict=True)):
            others = [(int(p), float(c)) for p, c in zip(places, cosines, strict=True) if p != at]
            near[int(channels[at])] = [(layer, int(channels[p]), c) for p, c in others[:NEAREST]]
        return near

    # ---- pictures and nulls ----------------------------------------------------------------------------------------

    def sprite(self, layer: str, channel: int) -> bytes | None:
        """The unit's sprite as it is encoded; None where it has none. Those of its neighbours are kept."""
        held_of, held, images = self._sprites
        if held_of != layer or channel not in held:
            size = self.job.picture.units_per_shard
            held = range(channel // size * size, (channel // size + 1) * size)
            rows = self.run.unit_rows("sprites", layer, ["channel", "image"], channels=held)
            images = {int(c): bytes(image) for c, image in rows.itertuples(index=False)}
            self._sprites = (layer, held, images)
        return images.get(channel)

    def null(self, layer: str) -> NullSets | None:
        """The layer's null sets of the shown score, each against what is expected at its clarity."""
        if layer not in self._null_sets:
            self._null_sets[layer] = self._fitted(layer) if self.job.calibrate.nulls else None
        return self._null_sets[layer]

    @cached_property
    def _null_rows(self) -> dict[str, pd.DataFrame]:
        """Null sets by layer, read once: they lie in hundreds of files, each with sets of few layers."""
        names = ["layer", "null", "evidence", "space", "set", "score", "value"]
        rows = self.run.read("nulls", names, where={"score": [SHOWN, "clarity"]})
        return {str(layer): its for layer, its in rows.groupby("layer")}

    def _fitted(self, layer: str) -> NullSets | None:
        main = self.job.calibrate.nulls[0]
        rows = self._null_rows.get(layer if main == "layer" else "")
        if rows is None or not null_speaks_for(main, layer, self.run):
            return None
        rows = rows[(rows["null"] == main) & (rows["evidence"] == "exemplars")]
        wide = rows.pivot(index="set", columns="score", values="value").dropna()
        if len(wide) < LEAST_SETS or not {SHOWN, "clarity"} <= set(wide):
            return None
        fit = Calibration.fit(wide[SHOWN].to_numpy(np.float64), wide["clarity"].to_numpy(np.float64), tail="upper")
        bins = np.clip(((fit.residuals - NULL_LOW) // NULL_WIDTH).astype(int), 0, NULL_BINS - 1)
        counts = np.bincount(bins, minlength=NULL_BINS)
        return NullSets(SHOWN, NULL_LOW, NULL_WIDTH, counts.tolist())

    def _null_place(self, layer: str, channel: int) -> NullPlace | None:
        value, mean, sd = self._nulls.get((layer, channel), (np.nan, np.nan, np.nan))
        return NullPlace(value, mean, sd) if math.isfinite(value + mean + sd) and sd > 0 else None


def null_speaks_for(null: str, layer: str, run: Run) -> bool:
    """Whether a null says anything of a layer: those drawn from embedded images, of layers that are compared so."""
    spaces = run.layer_table().set_index("layer")["space"]
    return null == "layer" or bool(spaces[layer] == "image")


def elbow_of(rows: UnitRows) -> ElbowCurve:
    """How far apart a unit's visualizations are, as there are more of them."""
    distances = rows["mean_distance"].astype(float).tolist()
    return ElbowCurve(distances, int(rows["n_counted"][0]), str(rows["stop"][0]).replace("_", " "))


def _by_channel(rows: pd.DataFrame, order: str) -> dict[int, UnitRows]:
    """Each unit's rows, in that column's order."""
    rows = rows.sort_values(["channel", order], kind="stable")
    channels, starts = np.unique(rows["channel"].to_numpy(), return_index=True)
    columns = {str(name): rows[name].to_numpy() for name in rows}
    bounds = [*starts.tolist(), len(rows)]
    return {
        channel: {name: column[start:end] for name, column in columns.items()}
        for channel, start, end in zip(channels.tolist(), bounds[:-1], bounds[1:], strict=True)
    }
