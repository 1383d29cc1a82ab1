"""A unit's evidence grouped by cluster, with the pictures in its sprite."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from string import ascii_uppercase
from typing import Any

import numpy as np
from jaxtyping import Int64

from polyscan.maps.atlas import Cluster, Panel, Plane, Tile
from polyscan.maps.numbers import number_text
from polyscan.report.swap_panel import swap_panel
from polyscan.results.clusters import shown_clusters

PARTS = (("semanticity", "S"), ("semanticity_c", "C"), ("semanticity_d", "D"))
ALL = -1
NAMES = 3
NO_SWAPS = {name: np.empty(0, object) for name in ("evidence", "cluster", "condition", "effect", "low", "high")}
SECOND_HALF = 1
NAMED = 0.05
NAME = ("name", "kind", "similarity", "p")
NO_BETTER = "no better than random images"

UnitRows = Mapping[str, np.ndarray]
"""A unit's rows by column; not data frames, which would take minutes for all units of a network."""
Groups = Mapping[int, UnitRows]
MapRow = Mapping[Any, Any]
Boxes = Mapping[int, tuple[int, int, int, int]]
Labels = Int64[np.ndarray, " n"]


@dataclass(frozen=True)
class LayerEvidence:
    """The evidence of one layer's units, each kind by channel.

    Args:
        exemplars: rank, activation and origin.
        clusters: item, cluster, cluster_bic, x and y of the exemplars in the space where they are compared.
        visualizations: index, activation, mean_distance, n_counted and stop.
        visualization_clusters: item and cluster_bic.
        second: rank, activation, unexplained and origin of the images that main readouts leave unexplained.
        begun: index, n_exemplars and activation of images that were started from means of exemplars.
        tiles: evidence, item and box of each picture in the sprite.
        names: evidence, cluster, rank, name, kind, similarity and p.
        causes: clusters whose patches were swapped, with q.
        swaps: their effects by condition.
    """

    exemplars: Groups
    clusters: Groups
    visualizations: Groups
    visualization_clusters: Groups
    second: Groups
    begun: Groups
    tiles: Groups
    names: Groups
    causes: Groups = field(default_factory=dict[int, UnitRows])
    swaps: Groups = field(default_factory=dict[int, UnitRows])

    def boxes(self, channel: int, evidence: str) -> Boxes:
        """Boxes of a unit's pictures of one kind in its sprite, by item."""
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
    """The exemplars' clusters as they are shown, and whether these are the best by silhouette, which have names."""
    n_clusters = float(row.get("n_clusters", np.nan))
    return shown_clusters(n_clusters, clusters["cluster"], clusters["cluster_bic"]), not np.isnan(n_clusters)


def by_size(labels: Labels) -> list[tuple[int, int]]:
    """Labels with their sizes, largest first, ties by label: the order in which clusters are shown and lettered."""
    known, sizes = np.unique(labels, return_counts=True)
    return sorted(zip(known.tolist(), sizes.tolist(), strict=True), key=lambda pair: -pair[1])


def exemplar_plane(row: MapRow, evidence: LayerEvidence) -> Plane | None:
    """Exemplars in two dimensions, with the clusters of the panel; None if they have no positions."""
    clusters = evidence.clusters.get(int(row["channel"]))
    if clusters is None or np.isnan(clusters["x"]).any():
        return None
    positions = np.stack([clusters["x"], clusters["y"]], axis=1).astype(np.float64)
    scale = float(np.abs(positions).max()) or 1.0
    labels, _ = shown_labels(row, clusters)
    letter = {label: at for at, (label, _) in enumerate(by_size(labels))}
    letters = np.array([letter[label] for label in labels.tolist()])
    return Plane(positions[:, 0] / scale, positions[:, 1] / scale, letters)


def panels_of(row: MapRow, evidence: LayerEvidence) -> list[Panel]:
    """The panels of a live unit: exemplars and, if it has any, what is left unexplained, and visualizations."""
    channel = int(row["channel"])
    panels = [exemplar_panel(row, evidence)]
    if channel in evidence.second:
        panels.append(second_panel(row, evidence))
    if channel in evidence.causes:
        boxes, letters = evidence.boxes(channel, "swaps"), _letters(row, evidence)
        panels.append(swap_panel(evidence.causes[channel], evidence.swaps.get(channel, NO_SWAPS), boxes, letters))
    if channel in evidence.visualizations:
        panels.append(visualization_panel(row, evidence))
    if channel in evidence.begun:
        panels.append(begun_panel(channel, evidence))
    return panels


def _letters(row: MapRow, evidence: LayerEvidence) -> dict[int, str]:
    """The letter of each of the best clusters, largest first, if these are the ones that are shown."""
    clusters = evidence.clusters.get(int(row["channel"]))
    labels, is_best = (np.empty(0, np.int64), False) if clusters is None else shown_labels(row, clusters)
    return {label: ascii_uppercase[place] for place, (label, _) in enumerate(by_size(labels))} if is_best else {}


def exemplar_panel(row: MapRow, evidence: LayerEvidence) -> Panel:
    """Exemplars in their best clusters, whatever the verdict; in the clusters of BIC if the unit has no null."""
    channel = int(row["channel"])
    exemplars, clusters = evidence.exemplars[channel], evidence.clusters.get(channel)
    if clusters is None:
        return Panel("exemplars", len(exemplars["rank"]), (), ())
    labels, is_best = shown_labels(row, clusters)
    boxes = evidence.boxes(channel, "exemplars")
    lines = [line for line in _lines(exemplars, "rank", "activation", "origin") if line[0] in boxes]
    captions = {rank: number_text(activation) for rank, activation, _ in lines}
    titles = {rank: str(origin) for rank, _, origin in lines}
    names = _names(channel, evidence, is_best=is_best)
    items = clusters["item"]
    grouped = _clusters(items, labels, boxes=boxes, captions=captions, titles=titles, names=names)
    facts = [(label, number_text(float(row[name]))) for name, label in PARTS if name in row]
    if artefact := str(row.get("artefact", "")):
        facts.append(("its clusters differ by", ", ".join(filter(None, (artefact, str(row["artefact_mark"]))))))
    return Panel("exemplars", len(items), facts, grouped)


def second_panel(row: MapRow, evidence: LayerEvidence) -> Panel:
    """The images that the unit's main meaning explains least, with the second test's numbers."""
    channel = int(row["channel"])
    rows = evidence.second[channel]
    boxes = evidence.boxes(channel, "deflated")
    tiles = [
        Tile(*boxes[rank], number_text(activation), str(origin))
        for rank, activation, origin in _lines(rows, "rank", "activation", "origin")
        if rank in boxes
    ]
    numbers = (
        ("strength beside the main meaning", "second_strength"),
        ("separation from it", "second_separation"),
        ("p", "second_p"),
        ("q", "second_q"),
    )
    facts = [("verdict", str(row["second_verdict"]).replace("_", " "))] if row.get("second_verdict") else []
    facts += [(label, number_text(float(row[name]))) for label, name in numbers if name in row]
    if names := _second_names(channel, evidence):
        facts.append(("names", names))
    if artefact := str(row.get("second_artefact") or ""):
        facts.append(("its halves differ by", ", ".join(filter(None, (artefact, str(row["second_artefact_mark"]))))))
    return Panel("deflated", len(rows["rank"]), facts, [Cluster(len(rows["rank"]), tiles)])


def visualization_panel(row: MapRow, evidence: LayerEvidence) -> Panel:
    """Visualizations, in the clusters that BIC prefers."""
    channel = int(row["channel"])
    rows = evidence.visualizations[channel]
    labels = _visualization_labels(channel, evidence)
    order = np.argsort(-rows["activation"], kind="stable")
    captions = dict(zip(rows["index"].tolist(), map(number_text, rows["activation"].tolist()), strict=True))
    titles = {int(index): f"visualization {index}" for index in rows["index"]}
    boxes = evidence.boxes(channel, "visualizations")
    items = rows["index"][order]
    grouped = _clusters(items, labels[order], boxes=boxes, captions=captions, titles=titles, names={})
    return Panel("visualizations", len(labels), _visualization_facts(row, len(labels)), grouped)


def _visualization_labels(channel: int, evidence: LayerEvidence) -> Labels:
    """The cluster of each visualization; 0 for one that was not clustered."""
    clusters = evidence.visualization_clusters.get(channel)
    known: dict[int, int] = {}
    if clusters is not None:
        known = dict(zip(clusters["item"].tolist(), clusters["cluster_bic"].tolist(), strict=True))
    return np.array([known.get(index, 0) for index in evidence.visualizations[channel]["index"].tolist()], np.int64)


def _visualization_facts(row: MapRow, n: int) -> list[tuple[str, str]]:
    names = [(f"visualizations_{name}", label) for name, label in PARTS]
    facts = [(label, number_text(float(row[name]))) for name, label in names if name in row]
    winning = row.get("visualizations_winning", np.nan)
    if not np.isnan(winning):
        facts.append(("stronger than the best image", f"{winning * n:.0f} of {n}"))
    return facts


def begun_panel(channel: int, evidence: LayerEvidence) -> Panel:
    """Images that were started from means of exemplars: shown, and never scored."""
    rows = evidence.begun[channel]
    boxes = evidence.boxes(channel, "data_visualizations")
    tiles = [
        Tile(*boxes[index], number_text(activation), f"started from the mean of {n} exemplars")
        for index, n, activation in _lines(rows, "index", "n_exemplars", "activation")
        if index in boxes
    ]
    count = len(rows["index"])
    return Panel("begun-from-exemplars", count, [("used in scores", "never")], [Cluster(count, tiles)])


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
    clusters: list[Cluster] = []
    for label, size in by_size(labels):
        members = [int(item) for item in items[labels == label] if int(item) in boxes]
        tiles = [Tile(*boxes[item], captions[item], titles[item]) for item in members]
        clusters.append(Cluster(size, tiles, names.get(label, ())))
    return clusters


def _names(channel: int, evidence: LayerEvidence, *, is_best: bool) -> dict[int, list[tuple[str, str]]]:
    """Names by cluster for the best clusters, else names of all exemplars as cluster 0."""
    rows = evidence.names.get(channel)
    if rows is None:
        return {}
    names: dict[int, list[tuple[str, str]]] = {}
    for evidence_kind, cluster, *name in _lines(rows, "evidence", "cluster", *NAME):
        if evidence_kind == "exemplars" and (cluster == ALL) != is_best:
            names.setdefault(0 if cluster == ALL else int(cluster), []).append(_named(*name))
    return {cluster: best[:NAMES] for cluster, best in names.items()}


def _second_names(channel: int, evidence: LayerEvidence) -> str:
    """Names of the images that the main meaning leaves unexplained; "" if there are none."""
    rows = evidence.names.get(channel)
    lines = () if rows is None else _lines(rows, "evidence", "cluster", *NAME)
    named = [_named(*name) for kind, cluster, *name in lines if kind == "deflated" and cluster == SECOND_HALF]
    return "; ".join(f"{name} ({fit})" for name, fit in named[:NAMES])


def _named(name: str, kind: str, similarity: float, p: float) -> tuple[str, str]:
    """A name, and how well it fits; said if chance gives one as good."""
    fit = f"{similarity:.0%} of them" if kind == "label" else f"cosine {number_text(similarity)}"
    return str(name), f"{fit}, {NO_BETTER}" if p > NAMED else fit


def _lines(rows: UnitRows, *names: str) -> Iterator[tuple[Any, ...]]:
    """These columns, row by row, as plain numbers and strings."""
    return zip(*(rows[name].tolist() for name in names), strict=True)
