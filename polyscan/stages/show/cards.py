"""The units that `show` draws with pictures: a layer's top ones, their evidence grouped by cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pandas as pd

from polyscan.job import Job
from polyscan.maps.atlas import Cluster, Panel, Tile, UnitCard
from polyscan.run import Run
from polyscan.run.evidence import EvidenceReader
from polyscan.stages.show.verdicts import VERDICTS

FACTS = (
    ("verdict", "verdict"),
    ("n_clusters", "clusters"),
    ("names", "names"),
    ("nearest_unit", "nearest unit"),
    ("nearest_cosine", "its cosine"),
    ("gap", "gap"),
    ("p", "p"),
    ("q", "q"),
    ("dip_p", "dip p"),
    ("psi", "PSI"),
    ("clarity", "clarity"),
    ("semanticity", "semanticity"),
    ("sparsity", "sparsity"),
)
PARTS = (("semanticity", "S"), ("semanticity_c", "C"), ("semanticity_d", "D"))


class Gallery:
    """Cards of a run's units.

    Args:
        job: says how many units and pictures.
        run: holds them.
        frame: the map.
        by: the column that ranks a layer's units.
    """

    def __init__(self, job: Job, run: Run, frame: pd.DataFrame, *, by: str) -> None:
        self.job = job
        self.run = run
        self.frame = frame
        self.by = by
        self.evidence = EvidenceReader(job, run)
        self.top = self._top_units()
        self.paths = run.read("images", ["image", "path", "label_name"]).set_index("image")
        self._thumbnails = self._wanted_thumbnails()

    def cards(self, layer: str) -> list[UnitCard]:
        """The layer's top units, strongest first."""
        top = self.top[self.top["layer"] == layer]
        if top.empty:
            return []
        channels = set(top["channel"])

        def mine(table: str, columns: Sequence[str]) -> pd.DataFrame:
            found = self.run.read(table, ["channel", *columns], where=("layer", layer))
            return found[found["channel"].isin(channels)]

        clusters = mine("clusters", ["evidence", "space", "item", "cluster", "cluster_bic"])
        clusters = clusters[
            (clusters["evidence"] != "exemplars") | (clusters["space"] == self.evidence.main_space(layer))
        ]
        exemplars = mine("exemplars", ["rank", "image", "activation", "crop"])
        visualizations = mine("visualizations", ["index", "activation", "stop", "image"])
        begun = mine("data_visualizations", ["index", "n_exemplars", "activation", "image"])
        return [self._card(row, clusters, exemplars, visualizations, begun) for _, row in top.iterrows()]

    def _top_units(self) -> pd.DataFrame:
        rows = self.frame[~self.frame["is_dead"]].dropna(subset=[self.by])
        # Those called several first, then by the column itself.
        order = [name for name in (self.by, "clarity") if name in rows]  # where all units are dead there is neither
        if "verdict" in rows:
            rows = rows.assign(_is_several=rows["verdict"].str.startswith("several"))
            order = ["_is_several", *order]
        rows = rows.sort_values(order, ascending=[name == "clarity" for name in order], kind="stable")
        return rows.groupby("layer", sort=False).head(self.job.show.top_per_layer)

    def _wanted_thumbnails(self) -> dict[int, bytes]:
        """Thumbnails of the top units' exemplars by crop, read in one go."""
        exemplars = self.run.read(
            "exemplars", ["layer", "channel", "crop"], where=("layer", list(self.top["layer"].unique()))
        )
        wanted = exemplars.merge(self.top[["layer", "channel"]], on=["layer", "channel"])["crop"].unique().tolist()
        rows = self.run.read("thumbnails", where=("item", wanted))
        return dict(zip(rows["item"].tolist(), rows["image"], strict=True))

    def _card(
        self,
        row: pd.Series,
        clusters: pd.DataFrame,
        exemplars: pd.DataFrame,
        visualizations: pd.DataFrame,
        begun: pd.DataFrame,
    ) -> UnitCard:
        channel = int(row["channel"])

        def mine(rows: pd.DataFrame) -> pd.DataFrame:
            return rows[rows["channel"] == channel]

        own = _shown_clusters(row, mine(clusters))
        panels = [self._exemplar_panel(row, mine(exemplars).set_index("rank").sort_index(), own)]
        if len(found := mine(visualizations)):
            panels.append(self._visualization_panel(row, found.set_index("index").sort_index(), own))
        if len(found := mine(begun)):
            panels.append(_begun_panel(found.sort_values("index", kind="stable")))
        facts = [(label, _text(row[name])) for name, label in FACTS if name in row]
        return UnitCard(str(row["layer"]), channel, facts, panels)

    def _exemplar_panel(self, row: pd.Series, exemplars: pd.DataFrame, clusters: pd.Series) -> Panel:
        labels = (
            clusters.xs("exemplars", level="evidence")
            if "exemplars" in clusters.index.get_level_values(0)
            else clusters[:0]
        )
        rows = exemplars.loc[exemplars.index.intersection(labels.index)]

        def tile(rank: int) -> Tile | None:
            picture = self._thumbnails.get(int(rows.loc[rank, "crop"]))  # pyright: ignore[reportArgumentType]
            origin = self.paths.loc[int(rows.loc[rank, "image"])]  # pyright: ignore[reportArgumentType]
            title = " · ".join(filter(None, (str(origin["path"]), str(origin["label_name"]))))
            return Tile(picture, _number(rows.loc[rank, "activation"]), title) if picture else None

        facts = [(label, _number(row[name])) for name, label in PARTS if name in row]
        return Panel("exemplars", len(rows), facts, list(self._clusters(labels.loc[rows.index], tile)))

    def _visualization_panel(self, row: pd.Series, rows: pd.DataFrame, clusters: pd.Series) -> Panel:
        labels = clusters.xs("visualizations", level="evidence")

        def tile(index: int) -> Tile | None:
            stored = rows.loc[index]
            return Tile(bytes(stored["image"]), _number(stored["activation"]), f"visualization {index}")

        facts = [
            (label, _number(row[f"visualizations_{name}"])) for name, label in PARTS if f"visualizations_{name}" in row
        ]
        facts.append(("stop", str(rows["stop"].iloc[0]).replace("_", " ")))
        facts.append(("beat the best image", f"{_number(row['visualizations_winning'] * len(rows))} of {len(rows)}"))
        return Panel("visualizations", len(rows), facts, list(self._clusters(labels, tile)))

    def _clusters(self, labels: pd.Series, tile: Callable[[int], Tile | None]) -> Iterator[Cluster]:
        """Clusters, largest first, each with its strongest pictures."""
        sizes = labels.value_counts(sort=False).sort_index(kind="stable").sort_values(ascending=False, kind="stable")
        for cluster, size in sizes.items():
            members = labels.index[labels == cluster][: self.job.show.tiles]
            tiles = [made for item in members if (made := tile(int(item))) is not None]
            yield Cluster(int(size), tiles)


def _begun_panel(rows: pd.DataFrame) -> Panel:
    """Images that began as means of exemplars: seen, and never scored."""
    tiles: list[Tile] = []
    for _, row in rows.iterrows():
        words = f"begun as the mean of {row['n_exemplars']} exemplars"
        tiles.append(Tile(bytes(row["image"]), f"{_number(row['activation'])} of {row['n_exemplars']}", words))
    facts = [("under each", "activation, of how many exemplars it began"), ("in scores", "never")]
    return Panel("begun-from-exemplars", len(rows), facts, [Cluster(len(rows), tiles)])


def _shown_clusters(row: pd.Series, clusters: pd.DataFrame) -> pd.Series:
    """The cluster of each item by (evidence, item): one for a unit that is not called several; BIC's without a null."""
    keyed = clusters.set_index(["evidence", "item"])
    shown = keyed["cluster_bic"].copy()
    if "n_clusters" in row and not np.isnan(row["n_clusters"]):
        is_main = keyed.index.get_level_values("evidence") == "exemplars"
        shown[is_main] = keyed["cluster"][is_main] if row["n_clusters"] > 1 else 0
    return shown


def _text(value: object) -> str:
    if not isinstance(value, str):
        return _number(value)
    return (value.replace("_", " ") if value in VERDICTS else value) or "none"


def _number(value: object) -> str:
    number = float(value)  # type: ignore[arg-type]
    if np.isnan(number):
        return "none"
    return f"{number:.0f}" if number == round(number) and abs(number) < 1e6 else f"{number:.3g}"
