"""A unit's evidence, grouped by cluster, with the pictures of it that its sprite holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int64

from polyscan.maps.atlas import Cluster, Panel, Plane, Tile
from polyscan.maps.numbers import number_text
from polyscan.results.clusters import shown_clusters

PARTS = (("semanticity", "S"), ("semanticity_c", "C"), ("semanticity_d", "D"))
ALL = -1
NAMES = 3

UnitRows = Mapping[str, np.ndarray]
"""A unit's rows by column: as data frames, a network's units would take minutes."""
Groups = Mapping[int, UnitRows]
MapRow = Mapping[Any, Any]
Boxes = Mapping[int, tuple[int, int, int, int]]
Labels = Int64[np.ndarray, " n"]


@dataclass(frozen=True)
class LayerEvidence:
    """What a run holds of one layer's units, each by channel.

    Args:
        exemplars: rank, activation and origin.
        clusters: item, cluster, cluster_bic, x and y of the exemplars where they are compared.
        visualizations: index, activation, mean_distance, n_counted and stop.
        visualization_clusters: item and cluster_bic.
        begun: index, n_exemplars and activation of images that began as means of exemplars.
        tiles: evidence, item and box of each picture in the sprite.
        names: cluster, rank, name, kind and similarity.
    """

    exemplars: Groups
    clusters: Groups
    visualizations: Groups
    visualization_clusters: Groups
    begun: Groups
    tiles: Groups
    names: Groups

    def boxes(self, channel: int, evidence: str) -> Boxes:
        """Where its pictures of one kind lie in the sprite, by item."""
        rows = self.tiles.get(channel)
        if rows is None:
            return {}
        columns = (rows[name].tolist() for name in ("evidence", "item", "left", "top", "width", "height"))
        return {
            item: (left, top, width, height)
            for kind, item, left, top, width, height in zip(*columns, strict=True)
            if kind == evidence
        }


def shown_labels(row: MapRow, clusters: UnitRows) -> tuple[Labels, bool]:
    """The exemplars' clusters as they are shown, and whether these are the best ones, which have names."""
    n_clusters = float(row.get("n_clusters", np.nan))
    return shown_clusters(n_clusters, clusters["cluster"], clusters["cluster_bic"]), n_clusters > 1


def by_size(labels: Labels) -> list[tuple[int, int]]:
    """Labels with their sizes, largest first, ties by label: the order in which clusters are shown and lettered."""
    found, sizes = np.unique(labels, return_counts=True)
    return sorted(zip(found.tolist(), sizes.tolist(), strict=True), key=lambda pair: -pair[1])


def exemplar_plane(row: MapRow, read: LayerEvidence) -> Plane | None:
    """Exemplars in two dimensions, with the clusters of the panel; None where they have no place."""
    clusters = read.clusters.get(int(row["channel"]))
    if clusters is None or np.isnan(clusters["x"]).any():
        return None
    places = np.stack([clusters["x"], clusters["y"]], axis=1).astype(np.float64)
    scale = float(np.abs(places).max()) or 1.0
    labels, _ = shown_labels(row, clusters)
    letter = {label: at for at, (label, _) in enumerate(by_size(labels))}
    return Plane(places[:, 0] / scale, places[:, 1] / scale, np.array([letter[label] for label in labels.tolist()]))


def exemplar_panel(row: MapRow, read: LayerEvidence) -> Panel:
    """Exemplars: in one cluster unless the unit is called several; of a unit without a null, BIC's."""
    channel = int(row["channel"])
    exemplars, clusters = read.exemplars[channel], read.clusters.get(channel)
    if clusters is None:
        return Panel("exemplars", len(exemplars["rank"]), (), ())
    labels, is_best = shown_labels(row, clusters)
    boxes = read.boxes(channel, "exemplars")
    seen = [line for line in _lines(exemplars, "rank", "activation", "origin") if line[0] in boxes]
    captions = {rank: number_text(activation) for rank, activation, _ in seen}
    titles = {rank: str(origin) for rank, _, origin in seen}
    names = _names(channel, read, is_best=is_best)
    items = clusters["item"]
    grouped = _clusters(items, labels, boxes=boxes, captions=captions, titles=titles, names=names)
    facts = [(label, number_text(float(row[name]))) for name, label in PARTS if name in row]
    return Panel("exemplars", len(items), facts, grouped)


def visualization_panel(row: MapRow, read: LayerEvidence) -> Panel:
    """Visualizations, in the clusters that BIC prefers."""
    channel = int(row["channel"])
    rows = read.visualizations[channel]
    clusters = read.visualization_clusters.get(channel)
    known = (
        {} if clusters is None else dict(zip(clusters["item"].tolist(), clusters["cluster_bic"].tolist(), strict=True))
    )
    labels = np.array([known.get(index, 0) for index in rows["index"].tolist()], dtype=np.int64)
    n, order = len(labels), np.argsort(-rows["activation"], kind="stable")
    captions = dict(zip(rows["index"].tolist(), map(number_text, rows["activation"].tolist()), strict=True))
    titles = {int(index): f"visualization {index}" for index in rows["index"]}
    boxes = read.boxes(channel, "visualizations")
    items = rows["index"][order]
    grouped = _clusters(items, labels[order], boxes=boxes, captions=captions, titles=titles, names={})
    names = [(f"visualizations_{name}", label) for name, label in PARTS]
    facts = [(label, number_text(float(row[name]))) for name, label in names if name in row]
    winning = row.get("visualizations_winning", np.nan)
    if not np.isnan(winning):
        facts.append(("stronger than the best image", f"{winning * n:.0f} of {n}"))
    return Panel("visualizations", n, facts, grouped)


def begun_panel(channel: int, read: LayerEvidence) -> Panel:
    """Images that began as means of exemplars: seen, and never scored."""
    rows = read.begun[channel]
    boxes = read.boxes(channel, "data_visualizations")
    tiles = [
        Tile(*boxes[index], number_text(activation), f"begun as the mean of {n} exemplars")
        for index, n, activation in _lines(rows, "index", "n_exemplars", "activation")
        if index in boxes
    ]
    count = len(rows["index"])
    return Panel("begun-from-exemplars", count, [("in scores", "never")], [Cluster(count, tiles)])


def _clusters(
    items: Labels,
    labels: Labels,
    *,
    boxes: Boxes,
    captions: Mapping[int, str],
    titles: Mapping[int, str],
    names: Mapping[int, Sequence[tuple[str, str]]],
) -> list[Cluster]:
    """Clusters, largest first, each with its pictures in the items' order."""
    made: list[Cluster] = []
    for label, size in by_size(labels):
        members = [int(item) for item in items[labels == label] if int(item) in boxes]
        tiles = [Tile(*boxes[item], captions[item], titles[item]) for item in members]
        made.append(Cluster(size, tiles, names.get(label, ())))
    return made


def _names(channel: int, read: LayerEvidence, *, is_best: bool) -> dict[int, list[tuple[str, str]]]:
    """Names by cluster: of each one where the unit is called several, else of all exemplars as cluster 0."""
    rows = read.names.get(channel)
    if rows is None:
        return {}
    found: dict[int, list[tuple[str, str]]] = {}
    for cluster, name, kind, similarity in _lines(rows, "cluster", "name", "kind", "similarity"):
        if (cluster == ALL) == is_best:
            continue
        words = f"{similarity:.0%} of them" if kind == "label" else f"cosine {number_text(similarity)}"
        found.setdefault(0 if cluster == ALL else int(cluster), []).append((str(name), words))
    return {cluster: its[:NAMES] for cluster, its in found.items()}


def _lines(rows: UnitRows, *names: str) -> Iterator[tuple[Any, ...]]:
    """These columns, line by line, as plain numbers and words."""
    return zip(*(rows[name].tolist() for name in names), strict=True)
