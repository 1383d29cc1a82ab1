"""One unit for paper: its numbers, where it lies on its null, its elbow, its exemplars in two dimensions, its crops."""

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
EDGE, HEAD, CHARTS, LABEL, CAPTION, FOOT = 0.08, 0.46, 1.72, 0.24, 0.13, 0.06
TILE, APART, MORE_APART = 0.65, 0.06, 0.16
GLYPHS = "●■▲◆▼"
LETTERS = "ABCDEFGHIJ"
HEADINGS = {"visualizations": "visualizations", "begun-from-exemplars": "begun as means of exemplars"}
TINY = 48  # px: pictures up to this size grow pixel by pixel
MISSING = (122, 124, 128)


@dataclass(frozen=True, eq=False)
class UnitSample:
    """One unit and what it is seen against.

    Args:
        card: the unit.
        numbers: label and text of each number in its head line.
        verdict: what is said of it, or empty.
        sprite: the image that holds its pictures; None where it has none.
        null: its layer's null; None where it has none.
    """

    card: UnitCard
    numbers: Sequence[tuple[str, str]]
    verdict: str = ""
    sprite: bytes | None = None
    null: NullSets | None = None


@dataclass(frozen=True)
class PanelRow:
    """One row of pictures: its mark and heading, how many it stands for, and the pictures, in groups set apart."""

    glyph: str
    color: str
    words: str
    size: int
    groups: Sequence[Sequence[Tile]]


def unit_figure(title: str, sample: UnitSample, ending: str) -> bytes:
    """The unit on one sheet.

    Args:
        title: of the network.
        sample: the unit.
        ending: one of `ENDINGS`.

    Raises:
        ValueError: if the ending is none of `ENDINGS`.
    """
    card = sample.card
    rows = list(cluster_rows(card))
    has_charts = bool((card.null and sample.null) or card.elbow or card.plane)
    each = LABEL + TILE + CAPTION
    notes = [] if rows and has_charts else list(card.missing)
    with paper():
        height = HEAD + CHARTS * has_charts + each * len(rows) + 0.16 * len(notes) + FOOT
        figure = blank(height)
        draw_head(figure, title, sample)
        if has_charts:
            draw_charts(figure, card, sample.null, height - HEAD, CHARTS)
        top = height - HEAD - CHARTS * has_charts
        sheet = opened(sample.sprite)
        for at, row in enumerate(rows):
            draw_row(figure, row, sheet, top - at * each, ending)
        for at, note in enumerate(notes):
            y = FOOT + 0.16 * (len(notes) - at - 0.5)
            fitted(written(figure, EDGE, y, note, fontsize=SMALL, color=QUIET), WIDTH - 2 * EDGE)
        return saved(figure, ending)


def draw_head(figure: Figure, title: str, sample: UnitSample) -> None:
    """The unit, its network, what is said of it, and its numbers."""
    width, height = figure.get_size_inches()
    name = written(figure, EDGE, height - 0.16, f"{sample.card.layer}:{sample.card.channel}", fontsize=TITLE)
    name.set(fontweight="bold")
    fitted(name, width * 0.6)
    beside = written(figure, EDGE + width_of(name) + 0.12, height - 0.165, title, fontsize=SMALL, color=QUIET)
    fitted(beside, width - EDGE - (EDGE + width_of(name) + 0.12))
    words = [*([sample.verdict] if sample.verdict else []), *(f"{label} {text}" for label, text in sample.numbers)]
    fitted(written(figure, EDGE, height - 0.345, " · ".join(words)), width - 2 * EDGE)


def cluster_rows(card: UnitCard) -> Iterator[PanelRow]:
    """A row for each cluster of exemplars, which wears its mark, and one for each other kind of evidence."""
    for panel in card.panels:
        groups = [cluster.tiles for cluster in panel.clusters if cluster.tiles]
        if panel.evidence == "exemplars":
            for place, cluster in enumerate(panel.clusters):
                if cluster.tiles:
                    words = exemplar_words(panel, place)
                    glyph, color = GLYPHS[place % 5], CLUSTER_COLORS[place % 5]
                    yield PanelRow(glyph, color, words, cluster.size, [cluster.tiles])
        elif groups:
            words = f"{panel.size} {HEADINGS[panel.evidence]}"
            if len(panel.clusters) > 1:
                words += f" in clusters of {', '.join(str(cluster.size) for cluster in panel.clusters)}"
            yield PanelRow("", INK, words, panel.size, groups)


def exemplar_words(panel: Panel, place: int) -> str:
    """What stands over one cluster of exemplars."""
    cluster = panel.clusters[place]
    names = ", ".join(f"{name} ({fit})" for name, fit in cluster.names)
    if len(panel.clusters) == 1:
        return " · ".join(filter(None, (f"{panel.size} exemplars", names)))
    return " · ".join(
        filter(None, (f"cluster {LETTERS[place % 10]}", f"{cluster.size} of {panel.size} exemplars", names))
    )


def placed(groups: Sequence[Sequence[Tile]]) -> list[tuple[float, Tile]]:
    """Left ends of the pictures that a row has room for, in inches; groups stand further apart."""
    found: list[tuple[float, Tile]] = []
    x = EDGE
    for group in groups:
        for tile in group:
            if x + TILE <= WIDTH - EDGE:
                found.append((x, tile))
            x += TILE + APART
        x += MORE_APART - APART
    return found


def draw_row(figure: Figure, row: PanelRow, sheet: Image.Image | None, top: float, ending: str) -> None:
    """A heading, its pictures strongest first, and under each its activation."""
    x, y = EDGE, top - LABEL / 2 - 0.02
    if row.glyph:
        x += width_of(written(figure, x, y, row.glyph, color=row.color)) + 0.06
    shown = placed(row.groups)
    left = f"; {len(shown)} shown" if len(shown) < row.size else ""
    fitted(written(figure, x, y, row.words + left), WIDTH - EDGE - x)
    for at, tile in shown:
        box = (tile.left, tile.top, tile.left + tile.width, tile.top + tile.height)
        draw_tile(figure, sheet and sheet.crop(box), at, top - LABEL - TILE, ending)
        text = written(figure, at + TILE / 2, top - LABEL - TILE - 0.07, tile.caption, fontsize=5, ha="center")
        text.set(color=QUIET)


def draw_tile(figure: Figure, picture: Image.Image | None, x: float, y: float, ending: str) -> None:
    """One picture in its square, as large as fits; a grey square where there is none."""
    width, height = figure.get_size_inches()
    if picture is None:
        picture = Image.new("RGB", (1, 1), MISSING)
    scale = TILE / max(picture.size)
    across, down = picture.width * scale, picture.height * scale
    if ending == "png" and max(picture.size) > TINY:  # a vector file keeps the pixels that there are
        size = (max(1, round(across * figure.dpi)), max(1, round(down * figure.dpi)))
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    box = ((x + (TILE - across) / 2) / width, (y + (TILE - down) / 2) / height, across / width, down / height)
    axes = figure.add_axes(box)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set(visible=True, color=RULE, linewidth=0.3)
    axes.imshow(np.asarray(picture), interpolation="none", aspect="auto")


def opened(sprite: bytes | None) -> Image.Image | None:
    """The sprite in RGB; None where there is none that can be read."""
    if sprite is None:
        return None
    try:
        with Image.open(io.BytesIO(sprite)) as picture:
            return picture.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
