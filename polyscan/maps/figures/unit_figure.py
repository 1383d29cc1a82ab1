"""One unit as a figure: its numbers, its score against its null, its elbow, its exemplars and its pictures."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from polyscan.maps.atlas import NullSets, Panel, Tile, UnitCard
from polyscan.maps.figures.paper import (
    CLUSTER_COLORS,
    INK,
    QUIET,
    RULE,
    SMALL,
    TITLE,
    WIDTH,
    blank,
    fitted,
    paper,
    saved,
    width_of,
    written,
)
from polyscan.maps.figures.unit_charts import draw_charts

# Inches.
EDGE, HEAD, CHARTS, LABEL, CAPTION, NOTE, FOOT = 0.08, 0.46, 1.72, 0.24, 0.13, 0.16, 0.06
TILE, APART, MORE_APART = 0.65, 0.06, 0.16
GLYPHS = "●■▲◆▼"
LETTERS = "ABCDEFGHIJ"
HEADINGS = {
    "deflated": "what the main meaning leaves unexplained",
    "swaps": "clusters pasted into other images, before and after",
    "visualizations": "visualizations",
    "begun-from-exemplars": "visualizations started from means of exemplars",
}
TINY = 48  # px; smaller pictures are enlarged with visible pixels
MISSING = (122, 124, 128)


@dataclass(frozen=True, eq=False)
class UnitSample:
    """One unit with the null of its layer.

    Args:
        card: the unit.
        numbers: label and text of each number at the top of the figure.
        verdict: its verdict, or "".
        sprite: the image with its pictures; None if it has no pictures.
        null: the null of its layer; None without a null.
    """

    card: UnitCard
    numbers: Sequence[tuple[str, str]]
    verdict: str = ""
    sprite: bytes | None = None
    null: NullSets | None = None


@dataclass(frozen=True)
class PanelRow:
    """One row of pictures: its mark and heading, the size of its cluster or panel, and its pictures in groups."""

    glyph: str
    color: str
    heading: str
    size: int
    groups: Sequence[Sequence[Tile]]


def unit_figure(title: str, sample: UnitSample, ending: str) -> bytes:
    """One unit in one figure.

    Args:
        title: title of the network.
        sample: the unit.
        ending: one of `ENDINGS`.

    Raises:
        ValueError: if the ending is not in `ENDINGS`.
    """
    card = sample.card
    rows = list(cluster_rows(card))
    has_charts = bool((card.null and sample.null) or card.elbow or card.plane)
    row_height = LABEL + TILE + CAPTION
    notes = [] if rows and has_charts else list(card.missing)
    with paper():
        height = HEAD + CHARTS * has_charts + row_height * len(rows) + NOTE * len(notes) + FOOT
        figure = blank(height)
        draw_head(figure, title, sample)
        if has_charts:
            draw_charts(figure, card, sample.null, height - HEAD, CHARTS)
        top = height - HEAD - CHARTS * has_charts
        sprite = decoded_sprite(sample.sprite)
        for place, row in enumerate(rows):
            draw_row(figure, row, sprite, top - place * row_height, ending)
        draw_notes(figure, notes)
        return saved(figure, ending)


def draw_notes(figure: Figure, notes: Sequence[str]) -> None:
    """Writes the notes at the lower edge, one per line."""
    for place, note in enumerate(notes):
        y = FOOT + NOTE * (len(notes) - place - 0.5)
        fitted(written(figure, EDGE, y, note, fontsize=SMALL, color=QUIET), WIDTH - 2 * EDGE)


def draw_head(figure: Figure, title: str, sample: UnitSample) -> None:
    """The names of the unit and of the network, the verdict and the numbers."""
    width, height = figure.get_size_inches()
    name = written(figure, EDGE, height - 0.16, f"{sample.card.layer}:{sample.card.channel}", fontsize=TITLE)
    name.set(fontweight="bold")
    fitted(name, width * 0.6)
    left = EDGE + width_of(name) + 0.12
    fitted(written(figure, left, height - 0.165, title, fontsize=SMALL, color=QUIET), width - EDGE - left)
    parts = [*([sample.verdict] if sample.verdict else []), *(f"{label} {text}" for label, text in sample.numbers)]
    fitted(written(figure, EDGE, height - 0.345, " · ".join(parts)), width - 2 * EDGE)


def cluster_rows(card: UnitCard) -> Iterator[PanelRow]:
    """A row for each cluster of exemplars, with its mark, and a row for each other kind of evidence."""
    for panel in card.panels:
        groups = [cluster.tiles for cluster in panel.clusters if cluster.tiles]
        if panel.evidence == "exemplars":
            for place, cluster in enumerate(panel.clusters):
                if cluster.tiles:
                    heading = exemplar_heading(panel, place)
                    glyph, color = GLYPHS[place % 5], CLUSTER_COLORS[place % 5]
                    yield PanelRow(glyph, color, heading, cluster.size, [cluster.tiles])
        elif groups:
            heading = f"{panel.size} {HEADINGS[panel.evidence]}"
            if len(panel.clusters) > 1:
                heading += f" in clusters of {', '.join(str(cluster.size) for cluster in panel.clusters)}"
            yield PanelRow("", INK, heading, panel.size, groups)


def exemplar_heading(panel: Panel, place: int) -> str:
    """The heading of one cluster of exemplars."""
    cluster = panel.clusters[place]
    names = ", ".join(f"{name} ({fit})" for name, fit in cluster.names)
    if len(panel.clusters) == 1:
        return " · ".join(filter(None, (f"{panel.size} exemplars", names)))
    return " · ".join(
        filter(None, (f"cluster {LETTERS[place % 10]}", f"{cluster.size} of {panel.size} exemplars", names))
    )


def tiles_with_room(groups: Sequence[Sequence[Tile]]) -> list[tuple[float, Tile]]:
    """The pictures that fit into a row, each with its left end in inches; groups have larger gaps between them."""
    tiles: list[tuple[float, Tile]] = []
    x = EDGE
    for group in groups:
        for tile in group:
            if x + TILE <= WIDTH - EDGE:
                tiles.append((x, tile))
            x += TILE + APART
        x += MORE_APART - APART
    return tiles


def draw_row(figure: Figure, row: PanelRow, sprite: Image.Image | None, top: float, ending: str) -> None:
    """Draws a heading and its pictures, strongest first, with the activation below each."""
    x, y = EDGE, top - LABEL / 2 - 0.02
    if row.glyph:
        x += width_of(written(figure, x, y, row.glyph, color=row.color)) + 0.06
    shown = tiles_with_room(row.groups)
    count = f"; {len(shown)} shown" if len(shown) < row.size else ""
    fitted(written(figure, x, y, row.heading + count), WIDTH - EDGE - x)
    for left, tile in shown:
        box = (tile.left, tile.top, tile.left + tile.width, tile.top + tile.height)
        draw_tile(figure, sprite and sprite.crop(box), left, top - LABEL - TILE, ending)
        text = written(figure, left + TILE / 2, top - LABEL - TILE - 0.07, tile.caption, fontsize=5, ha="center")
        text.set(color=QUIET)


def draw_tile(figure: Figure, picture: Image.Image | None, x: float, y: float, ending: str) -> None:
    """Draws one picture as large as fits into its square, or a grey square if there is no picture."""
    width, height = figure.get_size_inches()
    if picture is None:
        picture = Image.new("RGB", (1, 1), MISSING)
    scale = TILE / max(picture.size)
    across, down = picture.width * scale, picture.height * scale
    if ending == "png" and max(picture.size) > TINY:  # a vector file keeps the original pixels
        size = (max(1, round(across * figure.dpi)), max(1, round(down * figure.dpi)))
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    box = ((x + (TILE - across) / 2) / width, (y + (TILE - down) / 2) / height, across / width, down / height)
    axes = figure.add_axes(box)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set(visible=True, color=RULE, linewidth=0.3)
    axes.imshow(np.asarray(picture), interpolation="none", aspect="auto")


def decoded_sprite(sprite: bytes | None) -> Image.Image | None:
    """The sprite in RGB; None if there is no sprite or it cannot be decoded."""
    if sprite is None:
        return None
    try:
        with Image.open(io.BytesIO(sprite)) as picture:
            return picture.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
