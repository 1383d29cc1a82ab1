"""What all matplotlib figures share: fonts, colours, texts that are never parsed as mathematics, and saving."""

from __future__ import annotations

import io
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from typing import Any, cast

from matplotlib import font_manager
from matplotlib import style as matplotlib_style
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

# Text stays text in a PDF (type 42) and in an SVG; with the salt an SVG has the same ids each time.
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
# Letters that matplotlib's own font lacks are taken from the first of these fonts that is installed.
OTHER_SCRIPTS = ("Noto Sans CJK SC", "Noto Sans CJK JP", "Source Han Sans SC", "WenQuanYi Micro Hei", "Noto Sans")


@cache
def families() -> list[str]:
    """The font, and the installed fonts for letters that it lacks."""
    known = set(font_manager.get_font_names())
    return ["DejaVu Sans", *(name for name in OTHER_SCRIPTS if name in known)]


@contextmanager
def paper() -> Generator[None]:
    """Applies the style of the figures, independent of the user's matplotlib settings."""
    with matplotlib_style.context(["default", {**SETTINGS, "font.sans-serif": families()}]), warnings.catch_warnings():
        # A letter that no installed font has is drawn as a box; a warning for each letter would not help.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def blank(height: float, *, width: float = WIDTH, ppi: int = PPI) -> Figure:
    """An empty figure of this size in inches, rounded to whole pixels."""
    size = (round(width * ppi) / ppi, round(height * ppi) / ppi)
    figure = Figure(figsize=size, dpi=ppi, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def written(figure: Figure, x: float, y: float, words: str, **style: Any) -> Text:
    """Writes a text at a point of the figure, in inches from its lower left corner."""
    width, height = figure.get_size_inches()
    settings: dict[str, Any] = {"fontsize": SIZE, "va": "center", "parse_math": False} | style
    return figure.text(x / width, y / height, plain(words), **settings)


def plain(words: str) -> str:
    r"""The text with each unprintable character, such as a control character, replaced.

    >>> plain("conv\x00$1$") == "conv\N{REPLACEMENT CHARACTER}$1$"
    True
    """
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in words)


def width_of(text: Text) -> float:
    """Width of the drawn text in inches."""
    figure = text.get_figure(root=True)
    assert figure is not None  # it was written on one
    renderer = cast("FigureCanvasAgg", figure.canvas).get_renderer()
    return float(text.get_window_extent(renderer).width) / figure.dpi


def fitted(text: Text, room: float) -> Text:
    """The same text, shortened in its middle until it is no wider than `room` inches."""
    words = text.get_text()
    length = len(words)
    while length > 1 and width_of(text) > room:
        length = min(length - 1, int(length * room / width_of(text)) + 1)
        head = (length + 1) // 2
        text.set_text(f"{words[:head]}…{words[len(words) - (length - head) :]}")
    return text


def saved(figure: Figure, ending: str) -> bytes:
    """The bytes of the figure's file, the same each time.

    Raises:
        ValueError: if the ending is not in `ENDINGS`.
    """
    if ending not in ENDINGS:
        raise ValueError(f"a figure ends in one of {', '.join(ENDINGS)}, got {ending!r}")
    stream = io.BytesIO()
    figure.savefig(stream, format=ending, dpi=figure.dpi, metadata=NO_DATE[ending])
    return stream.getvalue()
