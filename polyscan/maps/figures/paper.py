"""What all figures drawn by matplotlib share: type, ink, words that are never taken for mathematics, and saving."""

from __future__ import annotations

import io
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from typing import Any, cast

from matplotlib import font_manager, style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

ENDINGS = ("pdf", "svg", "png")
PPI = 300
WIDTH = 7.2  # inches: two columns of most journals
INK, QUIET, RULE, ACCENT = "#1b1f23", "#59626b", "#d5dade", "#1f6583"
BAND, QUARTILES = "#dfe3e7", "#b3bcc4"
CLUSTER_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8a6d00")  # after Okabe & Ito 2008
CLUSTER_MARKS = ("o", "s", "^", "D", "v")
SIZE, SMALL, TITLE = 7.0, 6.0, 9.0  # points

# Type 42 keeps the letters letters in a PDF, and text stays text in an SVG; the salt makes an SVG's ids the same anew.
SETTINGS: dict[str, Any] = {
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "polyscan",
    "font.size": SIZE,
    "axes.edgecolor": QUIET,
    "axes.linewidth": 0.6,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "axes.formatter.useoffset": False,
}
NO_DATE: dict[str, dict[str, Any]] = {
    "pdf": {"CreationDate": None, "Creator": "polyscan", "Producer": None},
    "svg": {"Date": None, "Creator": "polyscan"},
    "png": {"Software": None},
}
# Letters that matplotlib's own type lacks are looked for in the first of these that the machine has.
OTHER_SCRIPTS = ("Noto Sans CJK SC", "Noto Sans CJK JP", "Source Han Sans SC", "WenQuanYi Micro Hei", "Noto Sans")


@cache
def families() -> list[str]:
    """The type, and on this machine what stands in for letters that it lacks."""
    known = set(font_manager.get_font_names())
    return ["DejaVu Sans", *(name for name in OTHER_SCRIPTS if name in known)]


@contextmanager
def paper() -> Generator[None]:
    """The figures' style, whatever the user's own matplotlib settings are."""
    with style.context(["default", {**SETTINGS, "font.sans-serif": families()}]), warnings.catch_warnings():
        # A letter that no type on the machine has is drawn as a box; a log full of that helps nobody.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def blank(height: float, *, width: float = WIDTH, ppi: int = PPI) -> Figure:
    """An empty sheet; inches. Its size in pixels is whole."""
    size = (round(width * ppi) / ppi, round(height * ppi) / ppi)
    figure = Figure(figsize=size, dpi=ppi, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def written(figure: Figure, x: float, y: float, words: str, **how: Any) -> Text:
    """Words at that place of the sheet, in inches from its lower left corner."""
    width, height = figure.get_size_inches()
    settings: dict[str, Any] = {"fontsize": SIZE, "va": "center", "parse_math": False} | how
    return figure.text(x / width, y / height, plain(words), **settings)


def plain(words: str) -> str:
    r"""The words without characters that no page can show, as control characters.

    >>> plain("conv\x00$1$") == "conv\N{REPLACEMENT CHARACTER}$1$"
    True
    """
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in words)


def width_of(text: Text) -> float:
    """How wide the text is drawn, in inches."""
    figure = text.get_figure(root=True)
    assert figure is not None  # it was written on one
    renderer = cast("FigureCanvasAgg", figure.canvas).get_renderer()
    return float(text.get_window_extent(renderer).width) / figure.dpi


def fitted(text: Text, room: float) -> Text:
    """The same text, cut in its middle until it is no wider than `room` inches."""
    words = text.get_text()
    kept = len(words)
    while kept > 1 and width_of(text) > room:
        kept = min(kept - 1, int(kept * room / width_of(text)) + 1)
        head = (kept + 1) // 2
        text.set_text(f"{words[:head]}…{words[len(words) - (kept - head) :]}")
    return text


def saved(figure: Figure, ending: str) -> bytes:
    """The figure's file, the same bytes each time.

    Raises:
        ValueError: if the ending is none of `ENDINGS`.
    """
    if ending not in ENDINGS:
        raise ValueError(f"a figure ends in one of {', '.join(ENDINGS)}, got {ending!r}")
    stream = io.BytesIO()
    figure.savefig(stream, format=ending, dpi=figure.dpi, metadata=NO_DATE[ending])
    return stream.getvalue()
