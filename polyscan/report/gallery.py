"""Single units as their pages show them: evidence by cluster, score against the null, and nearest units."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, cast

import numpy as np
import pandas as pd

from polyscan.job import Job
from polyscan.maps.atlas import ElbowCurve, NullPlace, NullSets, UnitCard
from polyscan.nulls.calibration import LEAST_SETS, Calibration
from polyscan.report.panels import LayerEvidence, UnitRows, exemplar_plane, panels_of
from polyscan.results.causes import causes_of
from polyscan.run import Run
from polyscan.stats.neighbors import nearest
from polyscan.units import DIRECTION, parent_and_role

SHOWN = "gap"
"""The score that is shown against its null, because it is easy to interpret."""
NULL_LOW, NULL_WIDTH, NULL_BINS = -4.0, 0.25, 56
NEAREST = 5


class RunGallery:
    """Reads a layer's units from a finished run, one layer at a time.

    Args:
        job: the run's.
        run: a finished run.
        frame: the map.
        calibrated: the rows of `calibrated_rows` that the map was made of.
        by: the column that orders units if not all pictures are shown, largest first; None for unit order.
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
        pairs = zip(images["path"].fillna("").tolist(), images["label_name"].fillna("").tolist(), strict=True)
        self._origins = np.array([" · ".join(filter(None, pair)) for pair in pairs], dtype=object)
        self._causes = causes_of(run, job.show.fdr)
        self._sprites: tuple[str, range, dict[int, bytes]] = ("", range(0), {})

    # ---- cards -----------------------------------------------------------------------------------------------------

    def cards(self, layer: str) -> list[UnitCard]:
        """One card for each unit of the layer, by channel."""
        frame = self.frame[self.frame["layer"] == layer].sort_values("channel", kind="stable")
        evidence = self._evidence(layer)
        sizes = self._sizes(layer, frame)
        near = self._nearest(layer)
        return [self._card(layer, row, evidence, sizes, near) for row in frame.to_dict("records")]

    def _card(
        self,
        layer: str,
        row: dict[Any, Any],
        evidence: LayerEvidence,
        sizes: dict[int, tuple[int, int]],
        near: dict[int, list[tuple[str, int, float]]],
    ) -> UnitCard:
        channel = int(row["channel"])
        facts = list(_facts(row))
        if row["is_dead"]:
            return UnitCard(
                layer, channel, facts, missing=("A dead unit: it does not respond, so nothing was scored.",)
            )
        visualizations = evidence.visualizations.get(channel)
        null = self._null_place(layer, channel)
        return UnitCard(
            layer,
            channel,
            facts,
            panels=panels_of(row, evidence),
            elbow=None if visualizations is None else elbow_of(visualizations),
            plane=exemplar_plane(row, evidence),
            null=null,
            nearest=near.get(channel, ()),
            sprite=sizes.get(channel),
            missing=list(self._missing(layer, null, visualizations, has_pictures=channel in sizes)),
        )

    def _missing(
        self, layer: str, null: NullPlace | None, visualizations: UnitRows | None, *, has_pictures: bool
    ) -> Iterator[str]:
        """What the unit lacks, and why; unit pages place each sentence by the word null, visualizations or pictures."""
        if null is None:
            yield (
                "No null is valid for this unit, so it is not judged."
                if self.job.calibrate.nulls
                else "No null: this run has no null, so scores are not calibrated."
            )
        if visualizations is None:
            yield f"No visualizations: {self._why_not_visualized(layer)}."
        if not has_pictures:
            yield (
                "No pictures of this unit are shown: see [picture], `embed.thumbnail_px` and `show.pictures_per_layer` "
                "in the job."
            )

    def _why_not_visualized(self, layer: str) -> str:
        if not self.job.visualize.enabled:
            return "the job does not make any"
        if n := self.job.visualize.units_per_layer:
            return f"the job visualizes only a seeded sample of {n} units per layer"
        return f"the job does not visualize {layer}"

    # ---- what is read ----------------------------------------------------------------------------------------------

    def _evidence(self, layer: str) -> LayerEvidence:
        names = ["channel", "evidence", "is_main", "item", "cluster", "cluster_bic", "x", "y"]
        clusters = self.run.unit_rows("clusters", layer, names)
        of_visualizations = ["channel", "index", "activation", "mean_distance", "n_counted", "stop"]
        visualizations = self.run.unit_rows("visualizations", layer, of_visualizations)
        begun = self.run.unit_rows("data_visualizations", layer, ["channel", "index", "n_exemplars", "activation"])
        return LayerEvidence(
            exemplars=_by_channel(self._exemplars(layer), "rank"),
            clusters=_by_channel(clusters[clusters["is_main"]], "item"),
            visualizations=_by_channel(visualizations, "index"),
            visualization_clusters=_by_channel(clusters[clusters["evidence"] == "visualizations"], "item"),
            second=_by_channel(self._exemplars(layer, "second_exemplars"), "rank"),
            begun=_by_channel(begun, "index"),
            tiles=_by_channel(self.run.unit_rows("tiles", layer), "item"),
            names=_by_channel(self.run.unit_rows("names", layer), "rank"),
            causes=_by_channel(self._causes[self._causes["layer"] == layer], "channel"),
            swaps=_by_channel(self.run.unit_rows("swaps", layer), "channel"),
        )

    def _exemplars(self, layer: str, table: str = "exemplars") -> pd.DataFrame:
        """Exemplars of the layer's units, each with the path and label of its image."""
        exemplars = self.run.unit_rows(table, layer, ["channel", "rank", "image", "activation"])
        origins = self._origins[self._images.get_indexer(pd.Index(exemplars["image"]))]
        exemplars["origin"] = pd.Series(origins, index=exemplars.index, dtype=object)
        return exemplars

    def _sizes(self, layer: str, frame: pd.DataFrame) -> dict[int, tuple[int, int]]:
        """Width and height of the sprites that are shown, by channel."""
        rows = self.run.unit_rows("sprites", layer, ["channel", "width", "height"])
        most = self.job.show.pictures_per_layer
        if most is not None:
            ordered = frame.sort_values(self.by, ascending=False, kind="stable") if self.by else frame
            rows = rows[rows["channel"].isin(ordered["channel"].iloc[:most])]
        return {int(c): (int(w), int(h)) for c, w, h in rows.itertuples(index=False)}

    def _nearest(self, layer: str) -> dict[int, list[tuple[str, int, float]]]:
        """For each unit, the units of the layer whose mean exemplars are nearest to its own."""
        rows = self.run.unit_rows("centres", layer, ["channel", "embedding"])
        if len(rows) < 2:
            return {}
        centres = np.stack(cast("Sequence[Any]", rows["embedding"].to_list())).astype(np.float32)
        neighbors = nearest(centres, centres, min(NEAREST + 1, len(rows)))
        channels = rows["channel"].to_numpy()
        near: dict[int, list[tuple[str, int, float]]] = {}
        for at, (indices, cosines) in enumerate(zip(neighbors.index, neighbors.similarity, strict=True)):
            others = [(int(p), float(c)) for p, c in zip(indices, cosines, strict=True) if p != at]
            near[int(channels[at])] = [(layer, int(channels[p]), c) for p, c in others[:NEAREST]]
        return near

    # ---- pictures and nulls ----------------------------------------------------------------------------------------

    def sprite(self, layer: str, channel: int) -> bytes | None:
        """The unit's encoded sprite; None if it has none. Sprites of the units around it are kept in memory."""
        kept_layer, kept, images = self._sprites
        if kept_layer != layer or channel not in kept:
            size = self.job.picture.units_per_shard
            kept = range(channel // size * size, (channel // size + 1) * size)
            rows = self.run.unit_rows("sprites", layer, ["channel", "image"], channels=kept)
            images = {int(c): bytes(image) for c, image in rows.itertuples(index=False)}
            self._sprites = (layer, kept, images)
        return images.get(channel)

    def null(self, layer: str) -> NullSets | None:
        """The shown score on the layer's null sets, each compared with what is expected at its clarity."""
        if layer not in self._null_sets:
            self._null_sets[layer] = self._fitted(layer) if self.job.calibrate.nulls else None
        return self._null_sets[layer]

    @cached_property
    def _null_rows(self) -> dict[str, pd.DataFrame]:
        """Null sets by layer, read once: they lie in hundreds of files, each with sets of few layers."""
        names = ["layer", "null", "evidence", "space", "set", "score", "value"]
        rows = self.run.read("nulls", names, where={"score": [SHOWN, "clarity"]})
        return {str(layer): of_layer for layer, of_layer in rows.groupby("layer")}

    def _fitted(self, layer: str) -> NullSets | None:
        main = self.job.calibrate.nulls[0]
        rows = self._null_rows.get(parent_and_role(layer)[0] if main == "layer" else "")
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


def _facts(row: dict[Any, Any]) -> Iterator[tuple[str, str]]:
    """What a direction of one's own is called, and what it reads; nothing for a channel."""
    if row["role"] == DIRECTION:
        if name := str(row["direction"]):
            yield "direction", name
        yield "reads", str(row["parent"])


def null_speaks_for(null: str, layer: str, run: Run) -> bool:
    """Whether a null is valid for a layer: nulls drawn from embedded images only for layers that are compared there."""
    spaces = run.layer_table().set_index("layer")["space"]
    return null == "layer" or bool(spaces[layer] == "image")


def elbow_of(rows: UnitRows) -> ElbowCurve:
    """Mean distance between a unit's visualizations as their number grows."""
    distances = rows["mean_distance"].astype(float).tolist()
    return ElbowCurve(distances, int(rows["n_counted"][0]), str(rows["stop"][0]).replace("_", " "))


def _by_channel(rows: pd.DataFrame, order: str) -> dict[int, UnitRows]:
    """Each unit's rows, ordered by a column."""
    rows = rows.sort_values(["channel", order], kind="stable")
    channels, starts = np.unique(rows["channel"].to_numpy(), return_index=True)
    columns = {str(name): rows[name].to_numpy() for name in rows}
    bounds = [*starts.tolist(), len(rows)]
    return {
        channel: {name: column[start:end] for name, column in columns.items()}
        for channel, start, end in zip(channels.tolist(), bounds[:-1], bounds[1:], strict=True)
    }
